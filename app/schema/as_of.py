"""Asking what was known at an earlier position of the ledger, or at an earlier time."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

import strawberry

from app.ledger import Ledger
from app.schema.context import Info
from app.schema.scalars import BigIntText, InstantText
from domain.decider import Code, Path, Rejected
from domain.periods import parse_instant, to_us
from projections import as_of
from projections.tables import Views

T = TypeVar("T")

PATH: Path = ("asOf",)


@strawberry.input(
    one_of=True,
    description="A moment of the ledger: what was recorded by then is known, and nothing else.",
)
class AsOf:
    """A moment of the ledger, by its position or by the clock at which facts were recorded."""

    position: BigIntText | None = strawberry.field(
        default=strawberry.UNSET, description="Everything up to this position is known."
    )
    time: InstantText | None = strawberry.field(
        default=strawberry.UNSET,
        description="Everything that was recorded by this instant is known.",
    )

    def place(self, ledger: Ledger) -> int:
        """The position that is meant. Raises `Rejected` for one that the ledger does not have."""
        head = ledger.store.head()[0]
        if self.time:
            at_us = to_us(parse_instant(self.time, (*PATH, "time")))
            position = ledger.position_at(at_us)
            if not position:
                message = "nothing was recorded by then"
                raise Rejected(Code.INVALID_VALUE, (*PATH, "time"), message)
            return position
        position = int(self.position or 0)
        if not 1 <= position <= head:
            message = f"the ledger has the positions 1 to {head}"
            raise Rejected(Code.INVALID_VALUE, (*PATH, "position"), message)
        return position


async def place_of(info: Info, given: AsOf | None) -> int | None:
    """The position that an argument means; None when it was left out. Raises `Rejected`."""
    return await asyncio.to_thread(given.place, info.context.ledger) if given else None


def read_then(
    ledger: Ledger,
    now: Views,
    customer_id: str,
    position: int | None,
    function: Callable[[Views], T],
    *,
    meters: Sequence[str] = (),
    since_us: int = as_of.FAR_US,
) -> T:
    """What a function reads off the views of one customer as of a position, or of now."""
    if position is None:
        return function(now)
    event_at = ledger.store.at
    with as_of.known(
        now, event_at, customer_id, position, meters=meters, since_us=since_us
    ) as then:
        return function(then)
