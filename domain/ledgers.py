"""The book itself: what a ledger is called, and whose clock it keeps.

Life cycle: opened.
"""

from datetime import datetime
from typing import ClassVar

import msgspec

from domain.decider import Event, registered
from domain.text import check_text

# -------------------------------------------------------------------------------------- events


@registered
class LedgerOpened(Event, frozen=True, kw_only=True):
    """A ledger was begun; with `test_clock_at` it keeps a test clock instead of the system's."""

    topic: ClassVar[str] = "ledger.opened/1"
    id: str
    name: str
    test_clock_at: datetime | None
    opened_at: datetime


# --------------------------------------------------------------------------------------- state


class LedgerState(msgspec.Struct, frozen=True, kw_only=True):
    """A ledger as it stands."""

    id: str
    name: str
    test_clock_at: datetime | None
    opened_at: datetime


def evolve(state: LedgerState | None, event: Event) -> LedgerState | None:
    """The ledger after one more fact."""
    match event:
        case LedgerOpened():
            return LedgerState(
                id=event.id,
                name=event.name,
                test_clock_at=event.test_clock_at,
                opened_at=event.opened_at,
            )
        case _:
            return state


# ------------------------------------------------------------------------------------ commands


class OpenLedger(msgspec.Struct, frozen=True, kw_only=True):
    """Begin a ledger; the first event of every log."""

    name: str
    test_clock_at: datetime | None = None


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What deciding needs from outside: the new id and the time."""

    id: str
    at: datetime


def decide(state: LedgerState | None, command: OpenLedger, facts: Facts) -> list[Event]:
    """Begin the ledger once."""
    if state is not None:
        return []
    return [
        LedgerOpened(
            id=facts.id,
            name=check_text(command.name, ("name",)),
            test_clock_at=command.test_clock_at,
            opened_at=facts.at,
        )
    ]
