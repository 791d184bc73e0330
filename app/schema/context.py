"""What a request works with: the ledger, who asks, and the ways to read and to change."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

import strawberry
from graphql import GraphQLError
from strawberry.dataloader import DataLoader
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


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What a command came to: the object it is about, or why it was refused."""

    state: T | None
    user_errors: list[UserError]
    position: BigIntText


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
        # Not cached: a mutation later in the same request may change an object. Those asked for at
        # the same time, such as the customers of a page of subscriptions, are read together.
        self._objects: DataLoader[tuple[type[Any], str], Any] = DataLoader(
            self._load_objects, cache=False
        )
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
        # Our own ids are ASCII, and half of a surrogate pair could not even be looked up.
        state: S | None = await self._objects.load((type, id)) if id.isascii() else None
        return state

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
