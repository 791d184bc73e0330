"""The book itself: what a ledger is called, and whose clock it keeps.

Life cycle: opened, or forked from another one; then, if it keeps a test clock, as every fork does,
the clock is advanced any number of times.
"""

from datetime import datetime, timedelta
from typing import ClassVar

import msgspec

from domain.decider import Code, Event, Path, Rejected, registered
from domain.periods import format_instant
from domain.text import check_text

MOST_ADVANCE = timedelta(days=3_653)
"""How far a test clock is moved at most in one go: ten years."""

_TO: Path = ("input", "to")


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a fork leaves another ledger: its id, the last position of it, and the hash there."""

    ledger_id: str
    position: int
    hash: str


# -------------------------------------------------------------------------------------- events


@registered
class LedgerOpened(Event, frozen=True, kw_only=True):
    """A ledger was begun; with `test_clock_at` it keeps a test clock instead of the system's."""

    topic: ClassVar[str] = "ledger.opened/1"
    id: str
    name: str
    test_clock_at: datetime | None
    opened_at: datetime


@registered
class ClockAdvanced(Event, frozen=True, kw_only=True):
    """The test clock was moved on."""

    topic: ClassVar[str] = "ledger.clock_advanced/1"
    id: str
    to: datetime


@registered
class LedgerForked(Event, frozen=True, kw_only=True):
    """A ledger goes on from a copy of another one, under an id and with a test clock of its own."""

    topic: ClassVar[str] = "ledger.forked/1"
    id: str
    name: str
    origin: Origin
    clock_at: datetime


# --------------------------------------------------------------------------------------- state


class LedgerState(msgspec.Struct, frozen=True, kw_only=True):
    """A ledger as it stands.

    `test_clock_at` is where its test clock stood at first, `clock_at` where it stands now; both are
    None for a ledger that keeps the system's clock. `forked_from` is None unless it is a fork.
    """

    id: str
    name: str
    test_clock_at: datetime | None
    clock_at: datetime | None
    opened_at: datetime
    forked_from: Origin | None = None


def evolve(state: LedgerState | None, event: Event) -> LedgerState | None:
    """The ledger after one more fact."""
    match event:
        case LedgerOpened():
            return LedgerState(
                id=event.id,
                name=event.name,
                test_clock_at=event.test_clock_at,
                clock_at=event.test_clock_at,
                opened_at=event.opened_at,
            )
        case LedgerForked():
            return LedgerState(
                id=event.id,
                name=event.name,
                test_clock_at=event.clock_at,
                clock_at=event.clock_at,
                opened_at=event.clock_at,
                forked_from=event.origin,
            )
        case ClockAdvanced() if state is not None:
            return msgspec.structs.replace(state, clock_at=event.to)
        case _:
            return state


# ------------------------------------------------------------------------------------ commands


class OpenLedger(msgspec.Struct, frozen=True, kw_only=True):
    """Begin a ledger; the first event of every log."""

    name: str
    test_clock_at: datetime | None = None


class ForkLedger(msgspec.Struct, frozen=True, kw_only=True):
    """Go on from a position of another ledger: a ledger to try anything with.

    Its test clock begins where that one stood, or at a later instant.
    """

    position: int
    hash: str
    clock_at: datetime | None = None


class AdvanceClock(msgspec.Struct, frozen=True, kw_only=True):
    """Move the test clock on."""

    to: datetime


Command = OpenLedger | ForkLedger | AdvanceClock


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What deciding needs from outside: the id of the ledger and the time.

    Of a fork: its own id, and when the last fact of the other ledger was recorded.
    """

    id: str
    at: datetime


def decide(state: LedgerState | None, command: Command, facts: Facts) -> list[Event]:
    """Begin the ledger once, fork from it, or move its test clock forwards."""
    match command:
        case OpenLedger():
            return [] if state else [_opened(command, facts)]
        case ForkLedger():
            made = state is not None and state.id == facts.id
            return [] if made else [_forked(state, command, facts)]
        case AdvanceClock(to=to):
            clock_at = state.clock_at if state else None
            _check_advance(clock_at, to)
            return [] if to == clock_at else [ClockAdvanced(id=facts.id, to=to)]


def _opened(command: OpenLedger, facts: Facts) -> LedgerOpened:
    return LedgerOpened(
        id=facts.id,
        name=check_text(command.name, ("name",)),
        test_clock_at=command.test_clock_at,
        opened_at=facts.at,
    )


def _forked(state: LedgerState | None, command: ForkLedger, facts: Facts) -> LedgerForked:
    """A fork goes on where the other ledger stood, never before that."""
    if state is None:
        raise Rejected(Code.NOT_FOUND, ("position",), "there is no ledger to fork from")
    clock_at = command.clock_at or facts.at
    if clock_at < facts.at:
        message = f"the ledger stood at {format_instant(facts.at)}, and time never goes back"
        raise Rejected(Code.INVALID_VALUE, ("at",), message)
    origin = Origin(ledger_id=state.id, position=command.position, hash=command.hash)
    return LedgerForked(id=facts.id, name=state.name, origin=origin, clock_at=clock_at)


def _check_advance(clock_at: datetime | None, to: datetime) -> None:
    """Only a test clock is moved, never backwards, and not too far at once."""
    if clock_at is None:
        message = "this ledger keeps the system's clock, which nobody moves"
        raise Rejected(Code.FORBIDDEN, ("input",), message)
    if to < clock_at:
        message = f"the clock stands at {format_instant(clock_at)} and never goes back"
        raise Rejected(Code.INVALID_VALUE, _TO, message)
    if to - clock_at > MOST_ADVANCE:
        message = f"the clock is moved at most {MOST_ADVANCE.days} days at once"
        raise Rejected(Code.LIMIT_EXCEEDED, _TO, message)
