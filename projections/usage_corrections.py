"""What became of usage records that were wrong: every correction of each, and the voided ones.

A record that is matched or waits stands in its own table with what it says now, so that whoever
counts, rates or lists records need not know of corrections. A voided one has left that table.
"""

from collections.abc import Iterator, Sequence
from heapq import merge

import msgspec
from msgspec.structs import replace

from domain.customers import Customer
from domain.decider import Event, Recorded
from domain.meters import Meter
from domain.usage_corrections import Correction, UsageAmended, UsageVoided
from projections import current, usage_blocks, usage_records
from projections.tables import Table, Views
from projections.usage_blocks import HOUR_US, ROWS_PER_EVENT, Matched
from projections.usage_records import (
    BEGINNING,
    Listed,
    Place,
    Wanted,
    parse_properties,
    properties_text,
)

CORRECTIONS = Table(
    "usage_corrections",
    "place INTEGER, position INTEGER, voided INTEGER, value TEXT, properties TEXT, reason TEXT, "
    "actor TEXT, recorded_at_us INTEGER",
    key="place, position",
)
VOIDED = Table(
    "usage_voided",
    "place INTEGER PRIMARY KEY, timestamp_us INTEGER, event_name TEXT, customer TEXT, "
    "customer_ref INTEGER, value TEXT, properties TEXT",
    key="place",
    indexes=["timestamp_us", "customer_ref", "customer"],
)
TABLES = (CORRECTIONS, VOIDED)


class Noted(msgspec.Struct, frozen=True):
    """One correction of a record: what it said from then on, or that it was voided."""

    position: int
    voided: bool
    value: str | None
    properties: dict[str, str]
    reason: str | None
    actor: str | None
    recorded_at_us: int


class Counted(msgspec.Struct, frozen=True):
    """A matched record before its correction and after it, and whose meters count it.

    A voided record has no content afterwards.
    """

    event_name: str
    event_ref: int
    before: Matched
    after: Matched | None = None

    @property
    def customer_ref(self) -> int:
        """The customer whose buckets hold it."""
        return self.before.customer_ref

    @property
    def hour(self) -> int:
        """The hour whose buckets hold it."""
        return self.before.timestamp_us // HOUR_US


# ------------------------------------------------------------------------------------- writing


def apply(views: Views, recorded: Recorded, event: Correction) -> Counted | None:
    """Note a correction and change the record; return what was counted, and what is now.

    A record that waits is counted nowhere.
    """
    counted = _counted(views, event)
    content: tuple[str | None, str | None] = (None, None)
    if isinstance(event, UsageAmended):
        content = (event.value, properties_text(event.properties))
        if counted is not None:
            amended = {"value": event.value, "properties": event.properties}
            counted = replace(counted, after=replace(counted.before, **amended))
        else:
            sql = "UPDATE usage_unmatched SET value=?, properties=? WHERE position=? AND row=?"
            views.execute(sql, [*content, event.position, event.row])
    else:
        _void(views, event, counted)
    if counted is not None:
        usage_blocks.change(views, counted.before, counted.after)
    envelope = recorded.envelope
    noted = (
        _place(event),
        recorded.position,
        isinstance(event, UsageVoided),
        *content,
        event.reason,
        envelope.actor,
        envelope.recorded_at_us,
    )
    views.insert("usage_corrections", [noted])
    return counted


def about(views: Views, event: Event) -> list[str]:
    """The customer and the meters whose numbers a correction changes: it is their history too."""
    counted = _counted(views, event) if isinstance(event, Correction) else None
    if counted is None:
        return []
    customer = current.at(views, Customer, counted.customer_ref)
    meters = usage_records.meters_over(views, counted.event_name)
    return [*([customer.id] if customer else []), *(one.meter.id for one in meters)]


def _place(event: Correction) -> int:
    return event.position * ROWS_PER_EVENT + event.row


def _counted(views: Views, event: Correction) -> Counted | None:
    """The record as it is counted before its correction."""
    found = usage_blocks.at(views, _place(event))
    if found is None:
        return None
    event_ref, record = found
    meter = current.at(views, Meter, event_ref)
    assert meter is not None, f"no meter was created at {event_ref}"
    return Counted(meter.event_name, event_ref, record)


def _void(views: Views, event: Correction, counted: Counted | None) -> None:
    """The record is kept among the voided, and waits no longer."""
    if counted is None:
        views.execute(
            "INSERT INTO usage_voided SELECT ?, timestamp_us, event_name, customer, NULL, value, "
            "properties FROM usage_unmatched WHERE position=? AND row=?",
            (_place(event), event.position, event.row),
        )
        usage_records.release_unmatched(views, [(event.position, event.row)])
        return
    record = counted.before
    row = (
        record.in_ledger,
        record.timestamp_us,
        counted.event_name,
        None,
        record.customer_ref,
        record.value,
        properties_text(record.properties),
    )
    views.insert("usage_voided", [row])


# ------------------------------------------------------------------------------------- reading


def of(views: Views, position: int, row: int) -> list[Noted]:
    """Every correction of the record at a place of the ledger, the first one first."""
    rows = views.rows(
        "SELECT position, voided, value, properties, reason, actor, recorded_at_us "
        "FROM usage_corrections WHERE place=? ORDER BY position",
        [position * ROWS_PER_EVENT + row],
    )
    return [
        Noted(at, bool(voided), value, parse_properties(properties), reason, actor, recorded_at_us)
        for at, voided, value, properties, reason, actor, recorded_at_us in rows
    ]


def last(views: Views, position: int, row: int) -> int | None:
    """The position of the last correction of the record at a place of the ledger."""
    sql = "SELECT MAX(position) FROM usage_corrections WHERE place=?"
    found = views.row(sql, [position * ROWS_PER_EVENT + row])
    return found[0] if found else None


def count_in(views: Views, position: int) -> int:
    """How many corrections the batch at a position has had, of all its records."""
    places = (position * ROWS_PER_EVENT, (position + 1) * ROWS_PER_EVENT)
    row = views.row("SELECT COUNT(*) FROM usage_corrections WHERE place>=? AND place<?", places)
    return int(row[0]) if row else 0


class Standing(msgspec.Struct, frozen=True):
    """What has become of a record: what it says now, and whose it is, if that is known."""

    customer_ref: int | None
    value: str | None
    properties: dict[str, str]
    waiting: bool = False
    voided: bool = False
    corrected: bool = False


def standing(views: Views, position: int) -> dict[int, Standing]:
    """What has become of each record of the batch at a position, by its row."""
    places = (position * ROWS_PER_EVENT, (position + 1) * ROWS_PER_EVENT)
    corrected = views.rows(
        "SELECT DISTINCT place FROM usage_corrections WHERE place>=? AND place<?", places
    )
    known = {place for (place,) in corrected}
    rows = views.rows(
        "SELECT place, customer_ref, value, properties, 0, 1 FROM usage_voided"
        " WHERE place>=? AND place<? UNION ALL"
        f" SELECT position*{ROWS_PER_EVENT}+row, NULL, value, properties, 1, 0"
        " FROM usage_unmatched WHERE position=?",
        (*places, position),
    )
    others = {
        place - places[0]: Standing(
            ref, value, parse_properties(text), bool(waiting), bool(voided), place in known
        )
        for place, ref, value, text, waiting, voided in rows
    }
    return others | {
        one.row: Standing(
            one.customer_ref, one.value, one.properties, corrected=one.in_ledger in known
        )
        for block in usage_blocks.of_event(views, position)
        for one in block.records
    }


# ------------------------------------------------------------------------------------- listing


def listed(
    views: Views, wanted: Wanted, after: Place = BEGINNING, *, voided: bool = True
) -> Iterator[Listed]:
    """Usage records in the order of time, voided ones among them."""
    others = usage_records.listed(views, wanted, after)
    if not voided:
        return others
    return merge(others, _voided(views, wanted, after), key=lambda record: record.place)


def count(views: Views, wanted: Wanted, *, voided: bool = True) -> int:
    """How many usage records these are."""
    others = usage_records.count(views, wanted)
    if not voided:
        return others
    where, parameters = _where_voided(wanted, BEGINNING)
    row = views.row(f"SELECT COUNT(*) FROM usage_voided WHERE {where}", parameters)
    return others + (int(row[0]) if row else 0)


def _voided(views: Views, wanted: Wanted, after: Place) -> Iterator[Listed]:
    where, parameters = _where_voided(wanted, after)
    for customer, timestamp_us, place, value, properties in views.scan(
        "SELECT customer_ref, timestamp_us, place, value, properties FROM usage_voided "
        f"WHERE {where} ORDER BY timestamp_us, place",
        parameters,
    ):
        position, row = divmod(place, ROWS_PER_EVENT)
        known = parse_properties(properties)
        ref = customer or 0
        yield Listed(ref, timestamp_us, position, row, value, known, waiting=False)


def _where_voided(wanted: Wanted, after: Place) -> tuple[str, Sequence[object]]:
    """The condition that finds the voided records."""
    since, position, row = after
    where = "timestamp_us>=? AND timestamp_us<? AND (timestamp_us, place)>(?,?)"
    parameters: list[object] = [wanted.start_us, wanted.end_us]
    parameters += [since, position * ROWS_PER_EVENT + row]
    if wanted.meter is not None:
        where += " AND event_name=?"
        parameters.append(wanted.meter.meter.event_name)
    if wanted.customer is not None:
        # One that was voided while it waited is known by what its sender called the customer.
        where += " AND (customer_ref=? OR customer IN (?,?))"
        ids = (wanted.customer.state.id, wanted.customer.state.external_id)
        parameters += [wanted.customer.position, *ids]
    return where, parameters
