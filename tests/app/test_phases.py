"""What extensions do around the phases of a request, as Strawberry's own runner lets them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import strawberry
from strawberry.extensions import SchemaExtension
from strawberry.extensions.runner import SchemaExtensionsRunner

from app.schema.phases import Phases


class Telling(SchemaExtension):
    """Tells when it is asked, and what it is told."""

    told: list[str]
    fails_at = ""

    def tell(self, what: str) -> None:
        """Note it, or fail at it."""
        self.told.append(f"{type(self).__name__} {what}")
        if what == self.fails_at:
            raise ValueError(what)

    def around(self, phase: str) -> Iterator[None]:
        """Tell of a phase."""
        self.tell(f"before {phase}")
        try:
            yield
        except Exception as error:
            self.tell(f"{error!r} in {phase}")
            raise
        self.tell(f"after {phase}")


class First(Telling):
    def on_operation(self) -> Iterator[None]:
        yield from self.around("operation")

    async def on_execute(self) -> AsyncIterator[None]:
        await asyncio.sleep(0)
        self.tell("before execution")
        try:
            yield
        except ValueError as error:
            raise KeyError("another") from error
        finally:
            await asyncio.sleep(0)
            self.tell("after execution")


class Second(Telling):
    def on_operation(self) -> Iterator[None]:
        yield from self.around("operation")

    def on_parse(self) -> Iterator[None]:
        yield from self.around("parsing")

    def on_execute(self) -> Iterator[None]:
        yield from self.around("execution")

    def get_results(self) -> dict[str, Any]:
        return {"second": True}


@strawberry.type
class Query:
    @strawberry.field
    async def one(self) -> int:
        return 1


class Slow(strawberry.Schema):
    """A schema that goes through its phases as Strawberry does."""

    def process_errors(self, *_: object) -> None:
        """Leave them as they are, and log none."""


class Quick(Slow):
    """A schema that goes through its phases as ours does."""

    def create_extensions_runner(self, *args: Any) -> SchemaExtensionsRunner:
        return Phases(*args)


class Bystander(SchemaExtension):
    """Does nothing."""


POINTS = [
    f"{when} {phase}"
    for when in ("before", "after")
    for phase in ("operation", "parsing", "execution")
]


@pytest.mark.parametrize("query", ["{ one }", "{ one", "{ two }", ""])
@pytest.mark.parametrize("first", ["", *POINTS])
@pytest.mark.parametrize("second", ["", *POINTS])
def test_extensions_are_asked_as_by_strawberry(query: str, first: str, second: str) -> None:
    def outcome(kind: type[strawberry.Schema]) -> tuple[list[str], str]:
        told: list[str] = []
        more = {"told": told}
        one = type("One", (First,), {**more, "fails_at": first})
        two = type("Two", (Second,), {**more, "fails_at": second})
        schema = kind(Query, extensions=[one, Bystander, two])
        try:
            result: object = asyncio.run(schema.execute(query))
        except Exception as error:  # noqa: BLE001  # whatever it is, it must be the same
            result = error
        return told, repr(result)

    assert outcome(Quick) == outcome(Slow)
