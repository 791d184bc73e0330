"""What a request works with: the ledger, who asks, and the ways to read and to change."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import strawberry
from strawberry.dataloader import DataLoader

from app.commands import Command
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

    def __post_init__(self) -> None:
        # Not cached: a mutation later in the same request may change an object. Those asked for at
        # the same time, such as the customers of a page of subscriptions, are read together.
        self._objects: DataLoader[tuple[type[Any], str], Any] = DataLoader(
            self._load_objects, cache=False
        )

    async def read(self, function: Callable[[Views], T]) -> T:
        """Read the views as they are at one moment."""

        def run() -> T:
            with self.ledger.snapshot() as views:
                return function(views)

        return await asyncio.to_thread(run)

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

    async def _load_objects(self, keys: Sequence[tuple[type[Any], str]]) -> list[Any]:
        def look_up(views: Views) -> list[Any]:
            found = {key: current.get(views, *key) for key in dict.fromkeys(keys)}
            return [found[key] for key in keys]

        return await self.read(look_up)


Info: TypeAlias = strawberry.Info[Context, None]


def existing(views: Views, type: type[current.State], id: str, argument: str) -> current.Found:
    """The object that an argument names, and where it was created. Raises `Rejected` NOT_FOUND."""
    found = current.find(views, type, id) if id.isascii() else None
    if found is None:
        message = f"there is no {current.KIND_OF[type].name} {id}"
        raise Rejected(Code.NOT_FOUND, (argument,), message)
    return found
