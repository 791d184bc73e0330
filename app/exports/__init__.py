"""A ledger in the words of other programs: its log as lines, its tables, its journal."""

import app.commands  # noqa: F401 - every event type is registered once every command is known
