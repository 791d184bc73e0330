"""Why a test does not run on PostgreSQL, or only in the long form, `make test-postgres`.

Whatever opens a ledger runs on both, unless it is marked. What is in the long form was chosen by
what it costs there: all of it takes PostgreSQL as long as all that is left for `make test`.
"""

import pytest

_only, _long = pytest.mark.files_only, pytest.mark.in_long_form

COMMANDS = _only("commands that move ledgers: tests/contract tries them on PostgreSQL")
TOUCHED = _only("touches what a file holds; tests/contract touches rows of PostgreSQL")
VIEWS = _only("about files of views: lost, damaged, put in the place of others")
KILLED = _only("copies files that a killed process left; tests/contract kills on PostgreSQL")
DOCS = _only("runs commands as they are written in a page, which names files")
HELD = _only("about a ledger that one process alone holds; in PostgreSQL several share it")
FAILED = _only("lets a write fail as it does in files; tests/contract cuts off the server")
SIZES = _only("the sizes of files; in PostgreSQL they are not measured")

HTTP = _long("what HTTP and GraphQL make of a request, whatever keeps the ledger")
CAMPAIGN = _long("a campaign of random or many cases, and dear")
