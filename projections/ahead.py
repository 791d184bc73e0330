"""Folding batches of usage ahead of their turn, so that several processes can replay one ledger.

What a run of batches adds to the views hardly depends on what stands there: on the meters and
customers alone. So a run can be folded against an older moment of the views, by another process,
and added when its turn comes. If by then a meter or a customer that it saw has changed, or some of
it comes late, it is folded again in its place: the outcome is always that of folding in order.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from domain.decider import Recorded
from domain.usage import UsageRecorded
from projections import history
from projections.buckets import DimensionRefs, Folding, Labels
from projections.tables import Row, Views
from projections.usage_days import Days, Hour
from projections.usage_fold import UsageFold
from projections.usage_records import ALWAYS_US, Matching, MeterRef

T = TypeVar("T")

_DIMENSIONS = 3
"""The column of a bucket in which its combination of dimension values stands."""


class Run(msgspec.Struct, frozen=True):
    """What batches of usage that follow one another add to the views, and what that rests on."""

    position: int
    """That of the last batch."""
    meters: dict[str, tuple[MeterRef, ...]]
    customers: dict[str, int | None]
    earliest_us: int
    """The time of the first record."""
    rows: dict[tuple[str, str], list[Row]]
    """Rows to insert, by table and what to do on conflict."""
    hours: dict[int, dict[Hour, list[int]]]
    labels: dict[int, list[Labels]]
    """For each meter the combinations of dimension values, numbered from 1 in this order."""


class Part(NamedTuple):
    """A stretch of the ledger, after one position and up to another one."""

    after: int
    until: int
    is_usage: bool
    """Whether there is nothing but usage in it, and enough to be worth folding ahead."""
    turns: bool
    """Whether there are facts in it about meters or customers, which usage after it rests on."""


class Workers(Protocol[T]):
    """Other processes that do something with parts of the ledger."""

    @property
    def most(self) -> int:
        """How many parts are looked at ahead."""

    def submit(self, part: Part) -> "Future[T]":
        """Have it done with a part, when somebody has the time."""


class Others(Workers["Run | None"], Protocol):
    """Other processes that fold ahead, by `fold`."""

    def parts(self, after: int) -> Iterable[Part]:
        """The ledger after a position, part by part."""


def handed_over(
    others: "Workers[T]", parts: Iterable[Part]
) -> "Iterator[tuple[Part, Future[T] | None]]":
    """The parts in order, each with what others make of it if it is usage.

    Some of those that come next are in other hands already, but none beyond a part that turns.
    """
    waiting: deque[tuple[Part, Future[T] | None]] = deque()
    coming = iter(parts)
    part = next(coming, None)
    while part or waiting:
        while part and len(waiting) < others.most and not any(one.turns for one, _ in waiting):
            waiting.append((part, others.submit(part) if part.is_usage else None))
            part = next(coming, None)
        yield waiting.popleft()


class Unfit(Exception):
    """These batches cannot be folded ahead: they need what stands in the views."""


class _Gathered(Views):
    """Reads an older moment of the views, and keeps what would be written."""

    def __init__(self, views: Views) -> None:
        self._connection = views._connection
        self.gathered: defaultdict[tuple[str, str], list[Row]] = defaultdict(list)

    def insert(self, table: str, rows: Sequence[Row], on_conflict: str = "") -> None:
        self.gathered[table, on_conflict].extend(rows)

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> None:
        raise Unfit(sql)


class _OwnDays(Days):
    """Days to which only this run adds."""

    def write(self, views: Views) -> None:
        raise Unfit("more days than are handed over at once")


class _OwnNumbers(DimensionRefs):
    """Numbers of dimension values that mean something in this run only."""

    def __init__(self) -> None:
        super().__init__()
        self.labels: defaultdict[int, list[Labels]] = defaultdict(list)

    def _number(self, views: Views, meter_ref: int, labels: Labels) -> int:
        self.labels[meter_ref].append(labels)
        return len(self.labels[meter_ref])


def fold(views: Views, batches: Iterable[Recorded]) -> Run | None:
    """Fold batches of usage against a moment of the views; None when they have to wait."""
    gathered, days, numbers = _Gathered(views), _OwnDays(), _OwnNumbers()
    usage = UsageFold(Folding(days, numbers), Matching(keeps_all=True))
    position, earliest_us = 0, ALWAYS_US
    for one in batches:
        position = one.position
        assert isinstance(one.event, UsageRecorded), f"no usage stands at {position}"
        history.apply_batch(gathered, one)
        try:
            usage.match_batch(gathered, position, one.event)
        except Unfit:
            return None
        earliest_us = min(earliest_us, one.event.earliest_us)
    if gathered.gathered["usage_unmatched", ""]:
        return None
    meters, customers = usage.matching.known
    return Run(
        position=position,
        meters=meters,
        customers=customers,
        earliest_us=earliest_us,
        rows=dict(gathered.gathered),
        hours=days.taken(),
        labels=dict(numbers.labels),
    )


def add(views: Views, usage: UsageFold, run: Run) -> bool:
    """Add a run to the views, unless what it rests on is no longer so; return whether it was."""
    if not _holds(views, usage, run):
        return False
    numbers = {
        meter_ref: [0, *(usage.folding.dimensions.ref(views, meter_ref, one) for one in labels)]
        for meter_ref, labels in run.labels.items()
    }
    for (table, on_conflict), rows in run.rows.items():
        is_bucket = table.endswith("_uniques")
        views.insert(
            table, [_numbered(row, numbers) for row in rows] if is_bucket else rows, on_conflict
        )
    for meter_ref, hours in run.hours.items():
        known = numbers.get(meter_ref, [0])
        renumbered = {(hour, whose, known[own]): one for (hour, whose, own), one in hours.items()}
        usage.folding.days.merge(meter_ref, renumbered)
    usage.folding.write(views)
    views.set_meta("position", run.position)
    return True


def _holds(views: Views, usage: UsageFold, run: Run) -> bool:
    """Whether its meters and customers are still these, and nothing of it can come late."""
    if any(usage.matching.meters(views, name) != meters for name, meters in run.meters.items()):
        return False
    known = usage.matching.customers(views, run.customers)
    if any(known[key] != ref for key, ref in run.customers.items()):
        return False
    refs = {ref for ref in run.customers.values() if ref is not None}
    until = usage.billed_until.of(views, refs)
    return run.earliest_us >= max((until[ref] for ref in refs), default=0)


def _numbered(row: Row, numbers: dict[int, list[int]]) -> Row:
    """The row of a bucket with the number that its dimension values have in the views."""
    meter_ref, own = row[0], row[_DIMENSIONS]
    return (*row[:_DIMENSIONS], numbers.get(meter_ref, [0])[own], *row[_DIMENSIONS + 1 :])
