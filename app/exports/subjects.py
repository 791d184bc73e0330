"""The tables that a ledger is exported as."""

from enum import StrEnum


class Subject(StrEnum):
    """What a table lists."""

    USAGE = "usage"
    INVOICES = "invoices"
    LINES = "lines"
    CUSTOMERS = "customers"
