"""Say yes or no to a request, and write down what a yes means: the shape of every decision.

Life cycle: command + state + facts -> events, or `Rejected`; events -> state by `fold`.

An aggregate file (`meters.py`, `prices.py`, ...) holds, in this order: its events, its state and
`evolve` (it refuses nothing, because what happened has happened), its commands, and `decide`.
`decide` may refuse; it returns `[]` when what is asked for is already true. Ids, the time and
anything looked up elsewhere are handed in as facts, so that deciding twice gives the same answer.
"""

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, ClassVar, TypeVar

import msgspec

Path = tuple[str, ...]
"""Where in the input a value stands, for example `("input", "pricing", "tiers", "1", "upTo")`."""


class Code(StrEnum):
    """The stable reasons for a refusal, as clients see them."""

    INVALID_VALUE = "INVALID_VALUE"
    REQUIRED = "REQUIRED"
    NOT_FOUND = "NOT_FOUND"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    CONFLICT = "CONFLICT"
    IDEMPOTENCY_KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"
    WRONG_STATE = "WRONG_STATE"
    WRONG_CURRENCY = "WRONG_CURRENCY"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    FORBIDDEN = "FORBIDDEN"


class Rejected(Exception):
    """A request that was understood and refused: a stable code, a path into the input, a reason."""

    def __init__(self, code: Code, path: Path, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.path = path
        self.message = message

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Rejected):
            return NotImplemented
        return (self.code, self.path, self.message) == (other.code, other.path, other.message)

    def __hash__(self) -> int:
        return hash((self.code, self.path, self.message))

    def __repr__(self) -> str:
        return f"Rejected({self.code}, {'.'.join(self.path)}, {self.message!r})"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A fact in the ledger. Its `topic` is a stored name with a version, never a class path.

    `parts` are what it says to whoever reads it, where it is not stored as it is read.
    """

    topic: ClassVar[str]
    parts: ClassVar[tuple[str, ...]] = ()


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    """What is known about a fact beside the fact itself: when, by whom and why it was recorded.

    `caused_by` is the position of the event that led to this one, if one did.
    """

    recorded_at_us: int
    actor: str | None = None
    idempotency_key: str | None = None
    caused_by: int | None = None


class Recorded(msgspec.Struct, frozen=True):
    """A fact at its place in the ledger."""

    position: int
    stream_id: str
    stream_version: int
    envelope: Envelope
    event: Event


EVENTS: dict[str, type[Event]] = {}
"""Every current event type by its topic, for example `meter.created/1`."""

Upcaster = Callable[[dict[str, Any]], tuple[str, dict[str, Any]]]
"""Turns the data of a retired event version into (next topic, its data)."""

UPCASTERS: dict[str, Upcaster] = {}
"""Retired topics, each with the one step that brings its data to the next version."""

E = TypeVar("E", bound=type[Event])
S = TypeVar("S")


def registered(cls: E) -> E:
    """Make an event type known under its topic, so that logs naming it open for ever."""
    if cls.topic in EVENTS or cls.topic in UPCASTERS:
        raise ValueError(f"event topic {cls.topic} is registered twice")
    EVENTS[cls.topic] = cls
    return cls


def upcasts(topic: str) -> Callable[[Upcaster], Upcaster]:
    """Register the step that replaces the retired `topic` by its next version when it is read."""

    def keep(step: Upcaster) -> Upcaster:
        if topic in EVENTS or topic in UPCASTERS:
            raise ValueError(f"event topic {topic} is registered twice")
        UPCASTERS[topic] = step
        return step

    return keep


def existing(state: S | None, kind: str, id: str) -> S:
    """The state of the object that a command names. Raises `Rejected` NOT_FOUND at its id."""
    if state is None:
        raise Rejected(Code.NOT_FOUND, ("input", f"{kind}Id"), f"there is no {kind} {id}")
    return state


def fold(evolve: Callable[[S | None, Event], S | None], events: Iterable[Event]) -> S | None:
    """The state that a stream of facts adds up to, or None when there are none."""
    state: S | None = None
    for event in events:
        state = evolve(state, event)
    return state
