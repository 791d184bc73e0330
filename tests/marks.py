"""Why a test does not run on PostgreSQL, or only in the long form, `make test-postgres`.

Whatever opens a ledger runs on both, unless it is marked or in `DEAR_THERE`. What is in the long
form was chosen by what it costs there.
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

_NAMES = (
    "adjusted_invoices advance cli client client_spool control_commands ingest invoice_page"
    " live_updates server shutdown webhook_restarts webhooks what_if schema_as_of schema_backtests"
    " schema_changes schema_clock schema_explanations schema_imagined schema_late_usage"
    " schema_ledger_events schema_lists schema_objects_as_of schema_prices schema_revisions"
    " schema_subscription_changes schema_trials"
).split()
DEAR_THERE = tuple(f"tests/app/test_{name}.py" for name in _NAMES)
"""Files that take PostgreSQL more than a second of CPU, and are no story, no view and no way to
write: they are asked of it in the long form. A new file runs on both."""
LONG = "more than a second of CPU on PostgreSQL, and in the long form there"
