"""Lists a page at a time: what stands in a page, and the cursors that lead to the next one.

A cursor is a place in the order of the list, so that a page never shifts when the list grows.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Generic, Protocol, TypeAlias, TypeVar

import strawberry

from app.schema.context import Info
from app.schema.fields import resolver
from domain.decider import Code, Rejected
from domain.text import check_text
from projections import current
from projections.tables import Views

if TYPE_CHECKING:
    from app.schema.ledger_events import LedgerEvent

PAGE_DEFAULT = 20
PAGE_LIMIT = 100

_POSITION = re.compile(r"p([0-9]{1,18})")

T = TypeVar("T")
N = TypeVar("N")
S = TypeVar("S", bound=current.State)

First: TypeAlias = Annotated[
    int | None,
    strawberry.argument(description="How many from the start, 1 to 100; 20 when left out."),
]
After: TypeAlias = Annotated[
    str | None, strawberry.argument(description="Only what comes after this cursor.")
]
Last: TypeAlias = Annotated[
    int | None, strawberry.argument(description="How many from the end, 1 to 100, in list order.")
]
Before: TypeAlias = Annotated[
    str | None, strawberry.argument(description="Only what comes before this cursor.")
]

Types: TypeAlias = Annotated[
    list[str] | None,
    strawberry.argument(description="Only facts of these kinds, such as price.created."),
]


@strawberry.interface(description="Anything that has an id and can be asked for by it.")
class Node:
    """Anything that has an id and can be asked for by it."""

    id: strawberry.ID = strawberry.field(
        description="The object's own id; its prefix says what kind of object it is."
    )

    @resolver(
        description="What happened to it, and to what belongs to it, in the order recorded: of a "
        "customer also the facts about its subscriptions and invoices. A preview has no history."
    )
    async def history(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        types: Types = None,
    ) -> "Connection[Annotated[LedgerEvent, strawberry.lazy('app.schema.ledger_events')]]":
        # A fact is shown in pages, and every object shows its facts: one has to import the other
        # late.
        from app.schema.ledger_events import Asked, event_page

        page = Page.of(first, after, last, before)
        return await event_page(info, page, Asked.of(info, subject_id=self.id, types=types))


@strawberry.type(description="Where a page stands in its list.")
class PageInfo:
    """Where a page stands in its list."""

    has_next_page: bool = strawberry.field(description="Whether more follows this page.")
    has_previous_page: bool = strawberry.field(
        description="Whether something comes before this page."
    )
    start_cursor: str | None = strawberry.field(
        description="The cursor of the first entry, for `before`; null on an empty page."
    )
    end_cursor: str | None = strawberry.field(
        description="The cursor of the last entry, for `after`; null on an empty page."
    )


@strawberry.type(description="One entry of a page with its place in the list.")
class Edge(Generic[T]):
    """One entry of a page with its place in the list."""

    cursor: str = strawberry.field(description="The place of the entry, for `after` or `before`.")
    node: T = strawberry.field(description="The entry itself.")


@strawberry.type(description="A page of a list.")
class Connection(Generic[T]):
    """A page of a list."""

    edges: list[Edge[T]] = strawberry.field(description="The entries with their cursors.")
    page_info: PageInfo = strawberry.field(description="Where the page stands in the list.")
    count: strawberry.Private[Callable[[Views], int]]
    customer: strawberry.Private[str | None]
    bounded: strawberry.Private[bool]

    @resolver(description="The entries without their cursors.")
    def nodes(self) -> list[T]:
        return [edge.node for edge in self.edges]

    @resolver(description="How many entries the whole list has; counted only when asked.")
    async def total_count(self, info: Info) -> int:
        return await info.context.read(self.count, customer=self.customer, bounded=self.bounded)


def connection(
    entries: list[tuple[str, N]],
    *,
    has_next: bool,
    has_previous: bool,
    count: Callable[[Views], int],
    customer: str | None = None,
    bounded: bool = False,
) -> Connection[N]:
    """A page of entries, each with its cursor; `customer` and `bounded` as in `Context.read`."""
    edges = [Edge(cursor=cursor, node=node) for cursor, node in entries]
    info = PageInfo(
        has_next_page=has_next,
        has_previous_page=has_previous,
        start_cursor=edges[0].cursor if edges else None,
        end_cursor=edges[-1].cursor if edges else None,
    )
    return Connection(edges=edges, page_info=info, count=count, customer=customer, bounded=bounded)


def limit_of(size: int | None, argument: str) -> int:
    """How many entries a page has. Raises `Rejected` outside of 1 to 100."""
    if size is None:
        return PAGE_DEFAULT
    if not 1 <= size <= PAGE_LIMIT:
        message = f"{argument} must be between 1 and {PAGE_LIMIT}"
        raise Rejected(Code.INVALID_VALUE, (argument,), message)
    return size


def bad_cursor(argument: str) -> Rejected:
    """The refusal of a text that is no cursor of this list."""
    message = f"{argument} must be a cursor that this list gave out"
    return Rejected(Code.INVALID_VALUE, (argument,), message)


@dataclass(frozen=True)
class Page:
    """Which page of a list in the order of ledger positions is asked for; both bounds exclusive."""

    after: int | None
    before: int | None
    limit: int
    backwards: bool

    @classmethod
    def of(
        cls, first: int | None, after: str | None, last: int | None, before: str | None
    ) -> "Page":
        """The page that the arguments mean. Raises `Rejected` naming the argument that is wrong."""
        if first is not None and last is not None:
            message = "give either first or last, not both"
            raise Rejected(Code.INVALID_VALUE, ("last",), message)
        return cls(
            after=_position(after, "after"),
            before=_position(before, "before"),
            limit=limit_of(first, "first") if last is None else limit_of(last, "last"),
            backwards=last is not None,
        )


def cursor_at(position: int) -> str:
    """The cursor of what stands at a ledger position."""
    return f"p{position}"


def _position(cursor: str | None, argument: str) -> int | None:
    if cursor is None:
        return None
    match = _POSITION.fullmatch(cursor)
    if match is None:
        raise bad_cursor(argument)
    return int(match[1])


class Fetch(Protocol[T]):
    """Reads entries in the order of positions; `backwards` gives the last ones first."""

    def __call__(
        self, *, after: int | None, before: int | None, limit: int, backwards: bool
    ) -> list[T]:
        """At most `limit` entries between two positions, both exclusive."""
        ...


@dataclass(frozen=True)
class Slice(Generic[T]):
    """The entries of a page, and whether there are others on either side."""

    entries: list[T]
    has_next: bool
    has_previous: bool


def taken(fetch: Fetch[T], page: Page) -> Slice[T]:
    """Read a page; one entry more than it holds tells whether there are others."""
    found = fetch(
        after=page.after, before=page.before, limit=page.limit + 1, backwards=page.backwards
    )
    more = len(found) > page.limit
    entries = found[: page.limit]
    if page.backwards:
        entries.reverse()
    follows = page.before is not None and bool(
        fetch(after=page.before - 1, before=None, limit=1, backwards=False)
    )
    precedes = page.after is not None and bool(
        fetch(after=None, before=page.after + 1, limit=1, backwards=True)
    )
    return Slice(
        entries,
        has_next=follows or (more and not page.backwards),
        has_previous=precedes or (more and page.backwards),
    )


async def objects(
    info: Info,
    kind: type[S],
    show: Callable[[S], N],
    page: Page,
    *,
    customer: str | None = None,
    **keys: str | None,
) -> Connection[N]:
    """A page of the objects of a type in the order of their creation, found by these keys.

    A key is named as its argument is; None asks for any. `customer` is whose they are, if that is
    known.
    """
    stored: type[Any] = kind
    wanted = {name: check_text(key, (name,)) for name, key in keys.items() if key is not None}

    def look_up(views: Views) -> Slice[current.Found]:
        return taken(partial(current.select, views, stored, wanted), page)

    found = await info.context.read(look_up, customer=customer, usage=False)
    return connection(
        [(cursor_at(one.position), show(one.state)) for one in found.entries],
        has_next=found.has_next,
        has_previous=found.has_previous,
        count=lambda views: current.count(views, stored, wanted),
        customer=customer,
    )
