"""A log in memory and the views folded from it, live and rebuilt: what these tests read."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

from domain.aggregation import Aggregation
from domain.customers import CustomerCreated
from domain.decider import Envelope, Event, Recorded
from domain.meters import Meter, MeterCreated, MeterRevised
from domain.periods import EPOCH, to_us
from domain.usage import UsageRecord, UsageRecorded
from domain.usage_corrections import UsageAmended, UsageVoided
from projections import current, engine
from projections.engine import Engine
from projections.meter_summaries import Question
from projections.places import Place, Where
from projections.tables import Views
from projections.usage_records import MeterRef, customer_ref, meters_over

START = datetime(2026, 1, 1, tzinfo=UTC)


def used(
    value: str | None,
    at: datetime | timedelta = START,
    properties: dict[str, str] | None = None,
    *,
    by: str = "al",
) -> UsageRecord:
    """A record of `tokens`; the time may be counted from the start of 2026."""
    instant = START + at if isinstance(at, timedelta) else at
    return UsageRecord("", "default", "tokens", by, to_us(instant), value, properties or {})


class Book:
    """What happened so far, and the views as they were kept while it did."""

    def __init__(self, folder: Path, place: Place | None = None) -> None:
        self.log: list[Recorded] = []
        self.live = Engine(place or folder / "views.db")
        self._check = folder / "check.db"
        self._place = place
        self._together = False

    def close(self) -> None:
        """Close the views."""
        self.live.close()

    def happened(self, stream_id: str, event: Event, recorded_at: datetime = EPOCH) -> int:
        """Append a fact to the log and fold it; return its position."""
        version = 1 + sum(one.stream_id == stream_id for one in self.log)
        envelope = Envelope(to_us(recorded_at))
        recorded = Recorded(len(self.log) + 1, stream_id, version, envelope, event)
        self.log.append(recorded)
        with nullcontext() if self._together else self.live.database.transaction():
            self.live.apply([recorded])
        return recorded.position

    @contextmanager
    def together(self) -> Iterator[None]:
        """What happens in the block is one transaction."""
        with self.live.database.transaction():
            self._together = True
            try:
                yield
            finally:
                self._together = False

    def meter(
        self,
        id: str = "met_1",
        aggregation: Aggregation = Aggregation.SUM,
        *,
        over: str = "tokens",
        value: str = "value",
        by: Sequence[str] = (),
        carries_over: bool = False,
    ) -> str:
        """A meter, by default one that sums the value of `tokens`; return its id."""
        created = MeterCreated(
            id=id,
            name=id,
            event_name=over,
            aggregation=aggregation,
            value_property=value,
            dimensions=tuple(by),
            created_at=START,
            carries_over=carries_over,
        )
        self.happened(id, created)
        return id

    def revise(
        self,
        since: datetime | timedelta,
        aggregation: Aggregation = Aggregation.SUM,
        *,
        id: str = "met_1",
        value: str = "value",
        by: Sequence[str] = (),
        carries_over: bool = False,
    ) -> None:
        """A meter measures otherwise from an instant, or from so long after the start of 2026."""
        revised = MeterRevised(
            id=id,
            number=2
            + sum(isinstance(e.event, MeterRevised) and e.event.id == id for e in self.log),
            effective_at=START + since if isinstance(since, timedelta) else since,
            aggregation=aggregation,
            value_property=value,
            dimensions=tuple(by),
            carries_over=carries_over,
            revised_at=START,
        )
        self.happened(id, revised)

    def customer(self, id: str = "cus_1", external_id: str | None = "al") -> str:
        """A customer; return its id."""
        created = CustomerCreated(
            id=id,
            name=id,
            email=None,
            description=None,
            external_id=external_id,
            time_zone="UTC",
            created_at=START,
        )
        self.happened(id, created)
        return id

    def usage(self, *records: UsageRecord) -> int:
        """One batch of usage records; return its position."""
        return self.happened(f"ub_{len(self.log)}", UsageRecorded.of(records))

    def void(self, position: int, row: int = 0) -> int:
        """The record at this place does not count; return the position of the correction."""
        voided = UsageVoided(
            source="default",
            id="",
            position=position,
            row=row,
            reason="sent twice",
            voided_at=START,
        )
        return self.happened(self.log[position - 1].stream_id, voided)

    def amend(
        self,
        position: int,
        row: int = 0,
        *,
        value: str | None,
        properties: dict[str, str] | None = None,
    ) -> int:
        """The record at this place says something else; return the position of the correction."""
        amended = UsageAmended(
            source="default",
            id="",
            position=position,
            row=row,
            value=value,
            properties=properties or {},
            reason=None,
            amended_at=START,
        )
        return self.happened(self.log[position - 1].stream_id, amended)

    def everywhere(self) -> Iterator[Views]:
        """The live views, then the same rebuilt from nothing, which hold the same to the byte."""
        with self.live.database.snapshot() as views:
            yield views
        aside: Where
        if self._place is not None:
            aside = engine.rebuild(self._place, lambda after: self.log[after:])
        else:
            aside = engine.rebuild(self._check, lambda after: self.log[after:])
        with closing(Engine(aside)) as rebuilt:
            assert list(rebuilt.database.dump()) == list(self.live.database.dump())
            with rebuilt.database.snapshot() as views:
                yield views


def question(
    views: Views,
    meter_id: str,
    customer: str = "al",
    *,
    only: dict[str, Sequence[str]] | None = None,
    group_by: Sequence[str] = (),
) -> Question:
    """What a customer used on a meter."""
    found = current.find(views, Meter, meter_id)
    who = customer_ref(views, customer)
    assert found is not None
    assert who is not None
    return Question(
        meter=MeterRef(found.position, found.state),
        meters=meters_over(views, found.state.event_name),
        customer_ref=who,
        filter=only or {},
        group_by=group_by,
    )


def unmatched(views: Views) -> list[tuple[str, str, str | None]]:
    """The records that wait: (event name, customer, value)."""
    rows: Iterable[tuple[str, str, str | None]] = views.rows(
        "SELECT event_name, customer, value FROM usage_unmatched ORDER BY position, row"
    )
    return list(rows)
