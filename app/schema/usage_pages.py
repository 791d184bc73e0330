"""Pages of usage records in the order of time, whatever is shown of each."""

import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TypeVar

from app.schema.connections import Connection, bad_cursor, connection, limit_of
from projections.tables import Views
from projections.usage_records import BEGINNING, Listed, Place

N = TypeVar("N")

_PLACE = re.compile(r"u([0-9]{1,18})\.([0-9]{1,18})\.([0-9]{1,9})")


def page_of(
    show: Callable[[Listed], N],
    records: Callable[[Place], Iterator[Listed]],
    first: int | None,
    after: str | None,
    count: Callable[[Views], int],
    *,
    customer: str | None = None,
) -> Connection[N]:
    """A page of what `show` makes of usage records; `records` reads them in the order of time.

    `customer` is whose they are, if that is known. Raises `Rejected` naming the argument that is
    wrong.
    """
    limit = limit_of(first, "first")
    place = _place(after)
    found = list(islice(records(place), limit + 1))
    earliest = next(records(BEGINNING), None) if after is not None else None
    return connection(
        [(_cursor(one), show(one)) for one in found[:limit]],
        has_next=len(found) > limit,
        has_previous=earliest is not None and earliest.place <= place,
        count=count,
        customer=customer,
    )


def _cursor(record: Listed) -> str:
    return "u" + ".".join(str(part) for part in record.place)


def _place(cursor: str | None) -> Place:
    if cursor is None:
        return BEGINNING
    match = _PLACE.fullmatch(cursor)
    if match is None:
        raise bad_cursor("after")
    return int(match[1]), int(match[2]), int(match[3])
