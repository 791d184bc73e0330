"""What a request works with: the ledger, who asks, and the ways to read and to change."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar, cast

import strawberry
from graphql import GraphQLError
from strawberry.extensions import SchemaExtension

from app.callers import ANYBODY, Caller
from app.commands import Command
from app.lanes import Lanes
from app.ledger import Ledger
from app.schema.errors import UserError
from app.schema.scalars import BigIntText, big_int
from domain.decider import Code, Rejected
from projections import current
from projections.tables import Views

T = TypeVar("T")
S = TypeVar("S", bound=current.State)

_ROUNDS = 2
"""Rounds of the event loop in which whoever asks for an object too is at the same time."""


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What a command came to: the object it is about, or why it was refused."""

    state: T | None
    user_errors: list[UserError]
    position: BigIntText


class _Together:
    """Objects that are asked for at the same time: they are read at once for all who ask."""

    def __init__(self, key: tuple[type[Any], str]) -> None:
        self.keys = [key]
        self.waiting: list[asyncio.Future[Any]] = []
        """Who asks for each but the first."""
        self.reading: asyncio.Task[Any] | None = None

    def also(self, key: tuple[type[Any], str]) -> "asyncio.Future[Any]":
        """Ask for one more."""
        self.keys.append(key)
        self.waiting.append(asyncio.get_running_loop().create_future())
        return self.waiting[-1]


@dataclass
class Context:
    """One request's ledger and who asks; what it reads is read off the event loop."""

    ledger: Ledger
    actor: str | None = None
    caller: Caller = ANYBODY
    """What the request may do."""
    streams: bool = False
    """Whether many answers can be given, one after the other."""
    lanes: Lanes | None = None
    """The lanes it reads in; None for whoever reads at once."""

    def __post_init__(self) -> None:
        self._together: _Together | None = None
        self._then: dict[str, Context] = {}

    # ------------------------------------------------------------------------------ which moment

    until: int | None = field(default=None, init=False)
    """The last position that is known; None when everything is."""

    def now(self) -> datetime:
        """The present instant of the ledger."""
        return self.ledger.clock.now()

    async def head(self) -> tuple[int, bytes]:
        """The newest position that is known, and the chain's hash there."""
        return await asyncio.to_thread(self.ledger.store.head)

    def beneath(self, root: str) -> "Context":
        """The context of everything beneath one field of the operation."""
        return self._then.get(root, self)

    def go_back(self, root: str, then: "Context") -> None:
        """Let everything beneath one field of the operation be asked in another context."""
        self._then[root] = then

    def refused(self, errors: Iterable[GraphQLError]) -> None:
        """Count the top-level errors of the answer."""
        for error in errors:
            code = str((error.extensions or {}).get("code"))
            self.ledger.writer.measures.graphql_errors.labels(code).inc()

    def close(self) -> None:
        """Let go of whatever was opened for the request."""
        for then in self._then.values():
            then.close()

    # ---------------------------------------------------------------------------------- reading

    async def read(
        self,
        function: Callable[[Views], T],
        *,
        customer: str | None = None,
        usage: bool = True,
        bounded: bool = False,
    ) -> T:
        """Read the views as they are at one moment.

        For a moment that is past it matters whose views they are: of which `customer`, and whether
        they are asked about its `usage`. A function that is `bounded` looks at no later fact even
        in the views of now.
        """

        def run() -> T:
            with self.ledger.snapshot() as views:
                return function(views)

        return await self.off_the_loop(run)

    async def off_the_loop(self, function: Callable[[], T]) -> T:
        """Call what takes its time in a thread."""
        if self.lanes is None:
            return await asyncio.to_thread(function)
        return await self.lanes.take(function)

    async def find(self, type: type[S], id: str) -> S | None:
        """The object of this type with this id, if there is one."""
        if not id.isascii():
            return None  # as our own are; half of a surrogate pair could not even be looked up
        # Not kept: a mutation later in the same request may change an object. Those asked for at
        # the same time, such as the customers of a page of subscriptions, are read together.
        if self._together is not None:
            return cast("S | None", await self._together.also((type, id)))
        together = self._together = _Together((type, id))
        try:
            for _ in range(_ROUNDS):
                await asyncio.sleep(0)
        finally:
            self._together = None
            if together.waiting:  # who asked first may give up, and the others not
                together.reading = asyncio.create_task(self._read_for(together))
        if together.reading is None:
            (found,) = await self._load_objects(together.keys)
        else:
            found = await asyncio.shield(together.reading)
        if isinstance(found, Exception):
            raise found
        return cast("S | None", found)

    async def _read_for(self, together: _Together) -> Any:
        """Read objects, and tell everybody who asked; what is to be told to the first, too."""
        try:
            first, *others = await self._load_objects(together.keys)
        except Exception as error:  # noqa: BLE001  # whatever it is, all who asked are told
            first, others = error, [error] * len(together.waiting)
        for waiting, found in zip(together.waiting, others, strict=True):
            if waiting.done():
                continue
            if isinstance(found, Exception):
                waiting.set_exception(found)
            else:
                waiting.set_result(found)
        return first

    async def get(self, type: type[S], id: str) -> S:
        """The object of this type that another one names."""
        state = await self.find(type, id)
        assert state is not None, f"{id} is named but was never created"
        return state

    async def _load_objects(self, keys: Sequence[tuple[type[Any], str]]) -> list[Any]:
        def look_up(views: Views) -> list[Any]:
            found = {key: current.get(views, *key) for key in dict.fromkeys(keys)}
            return [found[key] for key in keys]

        return await self.read(look_up)

    # --------------------------------------------------------------------------------- changing

    async def execute(
        self, type: type[S], command: Callable[[], Command], key: str | None
    ) -> Outcome[S]:
        """Make the command from its input and carry it out; a refusal is an outcome too."""
        try:
            done = await self.ledger.execute(command(), key=key, actor=self.actor)
        except Rejected as refusal:
            return Outcome(None, [UserError.of(refusal)], await self.position())
        return Outcome(await self.get(type, done.subject), [], big_int(done.position))

    async def position(self) -> BigIntText:
        """The ledger position that a query sees now."""
        return big_int(await self.read(Views.checkpoint))


class Info(strawberry.Info[Context, None]):
    """What a resolver is told. Its context is that of the moment its root field is asked about."""

    @property
    def context(self) -> Context:
        """The request's context, beneath this field."""
        return super().context.beneath(self.root)

    @property
    def root(self) -> str:
        """The name in the answer of the field of the operation that this one is beneath."""
        path = self.path
        while path.prev is not None:
            path = path.prev
        return str(path.key)


class Closing(SchemaExtension):
    """Lets go of what a request has opened when it is answered."""

    def on_operation(self) -> Iterator[None]:
        """Around the whole operation, however it ends."""
        context = self.execution_context.context
        try:
            yield
        except BaseException:
            if isinstance(context, Context):
                # Past a deadline a thread may still be reading there; nobody waits for it but this.
                asyncio.get_running_loop().run_in_executor(None, context.close)
            raise
        if isinstance(context, Context):
            context.close()


def existing(views: Views, type: type[current.State], id: str, argument: str) -> current.Found:
    """The object that an argument names, and where it was created. Raises `Rejected` NOT_FOUND."""
    found = current.find(views, type, id) if id.isascii() else None
    if found is None:
        message = f"there is no {current.KIND_OF[type].name} {id}"
        raise Rejected(Code.NOT_FOUND, (argument,), message)
    return found
