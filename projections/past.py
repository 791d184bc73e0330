"""What objects were at an earlier position: each folded again from its own facts, which are few.

Whoever explains an invoice asks for a handful of objects, so no views are folded for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from domain.decider import Recorded
from domain.meters import Meter
from domain.prices import Price
from projections import current, history
from projections.as_of import EventAt
from projections.current import State
from projections.tables import Views

T = TypeVar("T", bound=State)

_REVISED: Mapping[type[Any], str] = {Price: "price.superseded", Meter: "meter.revised"}
"""The kind of fact that makes a later version of an object."""


@dataclass(frozen=True)
class Known:
    """What is known at a position of the ledger: the views of then or later, and its facts."""

    views: Views
    event_at: EventAt
    position: int

    def get(self, type: type[T], id: str) -> T | None:
        """An object as it was; None when it was not there yet."""
        found = current.find(self.views, type, id)
        return self.then(type, found) if found else None

    def then(self, type: type[T], found: current.Found) -> T | None:
        """An object that is there now, as it was."""
        if found.position > self.position:
            return None
        own = history.own(self.views, found, self.position)
        state: T | None = found.state
        if len(own) == found.version:  # nothing happened to it since
            return state
        state = None
        for place in own:
            state = current.KIND_OF[type].evolve(state, self.fact(place).event)
        return state

    def fact(self, position: int) -> Recorded:
        """The fact at a position that has one."""
        recorded = self.event_at(position)
        assert recorded is not None, f"nothing stands at {position}"
        return recorded

    def version_at(self, type: type[T], id: str, number: int) -> int:
        """Where a version of a price or of a meter was recorded; they are numbered in order."""
        found = current.find(self.views, type, id)
        assert found is not None, f"{id} has a version {number}"
        return found.position if number == 1 else self.nth(id, _REVISED[type], number - 1)

    def nth(self, subject: str, kind: str, number: int) -> int:
        """Where the fact of a kind with this number about an object stands."""
        return history.positions(self.views, subject, [kind], limit=number)[-1]

    def last(self, subject: str, kinds: list[str]) -> int | None:
        """Where the last fact of these kinds about an object stands, up to the position."""
        before = self.position + 1
        found = history.positions(
            self.views, subject, kinds, before=before, limit=1, backwards=True
        )
        return found[0] if found else None

    def changed_since(self, subject: str, kinds: list[str]) -> list[int]:
        """Where the facts of these kinds about an object stand that came after the position."""
        return history.positions(self.views, subject, kinds, after=self.position, limit=-1)
