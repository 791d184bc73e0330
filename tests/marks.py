"""Why a test does not run on PostgreSQL, or fewer of its cases do than `make test-postgres` tries.

Whatever opens a ledger runs on both, unless it is marked. Of what was chosen by its cost there
`make test` tries less: the first case of each test, or some examples of a campaign.
"""

import pytest

_only = pytest.mark.files_only

COMMANDS = _only("commands that move ledgers: tests/contract tries them on PostgreSQL")
TOUCHED = _only("touches what a file holds; tests/contract touches rows of PostgreSQL")
VIEWS = _only("about files of views: lost, damaged, put in the place of others")
KILLED = _only("copies files that a killed process left; tests/contract kills on PostgreSQL")
DOCS = _only("runs commands as they are written in a page, which names files")
HELD = _only("about a ledger that one process alone holds; in PostgreSQL several share it")
FAILED = _only("lets a write fail as it does in files; tests/contract cuts off the server")
SIZES = _only("the sizes of files; in PostgreSQL they are not measured")

ABOUT_CASES = _only("what the cases of a campaign have in them, which is the same on both")
BENCHMARKS = _only("benchmarks say themselves which stores they are about")

HTTP = pytest.mark.first_case("what HTTP and GraphQL make of a request, whatever keeps the ledger")
CAMPAIGN = pytest.mark.campaign("random cases, and dear")
"""Some of its examples are tried on PostgreSQL, and the first of its other cases."""

_NAMES = (
    "adjusted_invoices advance cli client client_spool control_commands ingest invoice_page"
    " live_updates server shutdown webhook_restarts webhooks what_if schema_as_of schema_backtests"
    " schema_changes schema_clock schema_explanations schema_imagined schema_late_usage"
    " schema_ledger_events schema_lists schema_objects_as_of schema_prices schema_revisions"
    " schema_subscription_changes schema_trials"
).split()
DEAR_THERE = tuple(f"tests/app/test_{name}.py" for name in _NAMES)
"""Files that take PostgreSQL more than a second of CPU, and are no story, no view and no way to
write: the first case of each test is tried on it. Of a new file every one is."""
