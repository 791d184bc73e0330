"""Asking what was known at an earlier position of the ledger, or at an earlier time."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from threading import Lock
from typing import Annotated, Any, NamedTuple, TypeAlias, TypeVar

import strawberry

from app import facts
from app.ledger import Ledger
from app.schema.context import Context, Info
from app.schema.scalars import BigIntText, InstantText
from domain.decider import Code, Path, Rejected, fold
from domain.periods import from_us, parse_instant, to_us
from projections import as_of, current
from projections.tables import Views

T = TypeVar("T")
S = TypeVar("S", bound=current.State)

PATH: Path = ("asOf",)


class Moment(NamedTuple):
    """The last position that was known at an earlier moment, and what time it was."""

    position: int
    now: datetime


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

    def moment(self, ledger: Ledger) -> Moment:
        """The moment that is meant. Raises `Rejected` for one that the ledger does not have."""
        if self.time:
            instant = parse_instant(self.time, (*PATH, "time"))
            position = ledger.position_at(to_us(instant))
            if not position:
                message = "nothing was recorded by then"
                raise Rejected(Code.INVALID_VALUE, (*PATH, "time"), message)
            return Moment(position, min(instant, ledger.clock.now()))
        position, head = int(self.position or 0), ledger.store.head()[0]
        if not 1 <= position <= head:
            message = f"the ledger has the positions 1 to {head}"
            raise Rejected(Code.INVALID_VALUE, (*PATH, "position"), message)
        return Moment(position, from_us(facts.recorded_at_us(ledger.store, position)))


AsKnown: TypeAlias = Annotated[
    AsOf | None,
    strawberry.argument(
        description="What was known of it then, and of everything asked beneath it; null when it "
        "was not known. Left out, what is known now."
    ),
]


class Then(Context):
    """A request's ledger as it was known at an earlier moment.

    An object is the fold of its own stream up to the position. What is read off views, is read off
    small ones of one customer (`projections/as_of.py`), made when they are first asked for.
    """

    def __init__(self, now: Context, moment: Moment) -> None:
        super().__init__(now.ledger, now.actor, lanes=now.lanes)
        self.until = moment.position
        self._moment = moment
        self._views: dict[tuple[str, bool], Views] = {}
        self._open = ExitStack()
        self._lock = Lock()  # the small views have a single connection

    def now(self) -> datetime:
        """What time it was."""
        return self._moment.now

    async def head(self) -> tuple[int, bytes]:
        """The newest position that was known, and the chain's hash there."""
        position = self._moment.position
        hash = await asyncio.to_thread(self.ledger.store.hash_at, position)
        assert hash is not None, f"the ledger has no position {position}"
        return position, hash

    async def read(
        self,
        function: Callable[[Views], T],
        *,
        customer: str | None = None,
        usage: bool = True,
        bounded: bool = False,
    ) -> T:
        """Read the views of a customer as they were then. Raises `Rejected` when nobody says whose.

        Without `usage` they need not say what was used.
        """
        if bounded:
            return await super().read(function)
        if customer is None:
            message = "something in here can only be asked about now, without asOf"
            raise Rejected(Code.INVALID_VALUE, PATH, message)

        def run() -> T:
            with self._lock:
                return function(self._views_of(customer, usage))

        return await self.off_the_loop(run)

    def close(self) -> None:
        """Let go of the small views."""
        with self._lock:
            self._views.clear()
            self._open.close()

    def _views_of(self, customer: str, usage: bool) -> Views:
        found = self._views.get((customer, True)) or self._views.get((customer, usage))
        if found is None:
            position, event_at = self._moment.position, self.ledger.store.at
            with self.ledger.snapshot() as now:
                known = as_of.known(now, event_at, customer, position, usage=usage)
                found = self._views[customer, usage] = self._open.enter_context(known)
        return found

    async def _load_objects(self, keys: Sequence[tuple[type[Any], str]]) -> list[Any]:
        def look_up() -> list[Any]:
            found = {key: self._folded(*key) for key in dict.fromkeys(keys)}
            return [found[key] for key in keys]

        return await self.off_the_loop(look_up)

    def _folded(self, type: type[Any], id: str) -> Any:
        """The object of a type with an id, by its own facts alone."""
        kind = current.KIND_OF[type]
        if id.partition("_")[0] != kind.prefix:
            return None
        recorded = facts.stream(self.ledger.store, id, self._moment.position)
        return fold(kind.evolve, (one.event for one in recorded))


async def go_back(info: Info, given: AsOf | None) -> None:
    """Let everything beneath the root field be asked as of a moment, if one is given.

    Raises `Rejected` for a moment that the ledger does not have.
    """
    if given is not None:
        now = info.context
        moment = await asyncio.to_thread(given.moment, now.ledger)
        now.go_back(info.root, Then(now, moment))


async def found(info: Info, type: type[S], id: str, given: AsOf | None) -> S | None:
    """The object with this id as known at a moment, or now; everything beneath it, too."""
    await go_back(info, given)
    return await info.context.find(type, id)


def stream_until(ledger: Ledger, position: int) -> as_of.Stream:
    """Reads the stream of an object up to a position."""
    return partial(facts.stream, ledger.store, until=position)


def read_then(
    ledger: Ledger,
    now: Views,
    customer_id: str,
    moment: Moment | None,
    function: Callable[[Views], T],
    *,
    meters: Sequence[str],
    since_us: int,
) -> T:
    """What a function reads off the views of one customer as of a moment, or of now."""
    if moment is None:
        return function(now)
    event_at, position = ledger.store.at, moment.position
    with as_of.known(
        now, event_at, customer_id, position, meters=meters, since_us=since_us
    ) as then:
        return function(then)
