"""What came late and waits for an adjustment, and what was used and is written off.

Both are listed by billed period, in the order in which their invoices were issued.
"""

from collections.abc import Iterator, Sequence

import msgspec

from domain.customers import Customer
from domain.meters import Meter
from projections import billed_usage, current, usage_blocks, usage_records
from projections.billed_usage import BilledPeriod, Closed
from projections.meter_summaries import Question
from projections.tables import Views
from projections.usage_blocks import ROWS_PER_EVENT, Matched
from projections.usage_records import (
    BEGINNING,
    Listed,
    Place,
    Wanted,
    parse_properties,
)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Whose billed periods are asked for; what is left out means any."""

    customer_ref: int | None = None
    subscription_id: str | None = None

    @property
    def where(self) -> tuple[str, list[object]]:
        """The condition that finds them."""
        given = {"customer_ref": self.customer_ref, "subscription_id": self.subscription_id}
        wanted = {name: value for name, value in given.items() if value is not None}
        return "".join(f" AND {name}=?" for name in wanted), [*wanted.values()]


WAITING = "waits=1"
"""What finds the billed periods that wait for an adjustment."""
WRITTEN_OFF = (
    f"(closed IN ('{Closed.DISCARDED}', '{Closed.VOIDED}') OR closed='{Closed.REPORTED}'"
    " AND EXISTS (SELECT 1 FROM late_usage WHERE billed_ref=ref))"
)
"""What finds those of which usage is written off."""


def listed(
    views: Views,
    condition: str,
    asked: Asked,
    *,
    after: int | None = None,
    before: int | None = None,
    limit: int,
    backwards: bool = False,
) -> list[BilledPeriod]:
    """Billed periods between two references, both exclusive; `backwards` has the last first."""
    where, parameters = asked.where
    for bound, reference in ((">", after), ("<", before)):
        if reference is not None:
            where += f" AND ref{bound}?"
            parameters.append(reference)
    order = "DESC" if backwards else "ASC"
    return billed_usage.select(
        views, f"{condition}{where} ORDER BY ref {order} LIMIT ?", [*parameters, limit]
    )


def count(views: Views, condition: str, asked: Asked) -> int:
    """How many there are in all."""
    where, parameters = asked.where
    sql = f"SELECT COUNT(*) FROM billed_usage WHERE {condition}{where}"
    row = views.row(sql, parameters)
    return int(row[0]) if row else 0


def causes(
    views: Views, billed: BilledPeriod, invoice_id: str | None, after: Place = BEGINNING
) -> Iterator[Listed]:
    """The records for which an invoice adjusts a billed period, or for which it waits."""
    return _late(views, "billed_ref=? AND invoice_id IS ?", (billed.ref, invoice_id), after)


def written_off(views: Views, billed: BilledPeriod, after: Place = BEGINNING) -> Iterator[Listed]:
    """The records of a billed period that nobody will pay for, in time order."""
    if billed.closed is Closed.REPORTED:
        yield from _late(views, "billed_ref=?", (billed.ref,), after)
        return
    adjusted = set(places(views, billed, adjusted=True))
    asked = question(views, billed)
    for record in usage_records.listed(views, _records_of(views, billed, asked), after):
        place = record.position * ROWS_PER_EVENT + record.row
        if place not in adjusted and asked.takes(record):
            yield record


def places(views: Views, billed: BilledPeriod, *, adjusted: bool) -> list[int]:
    """Where the records stand that came late for a billed period, adjusted by now or not."""
    known = "IS NOT NULL" if adjusted else "IS NULL"
    rows = views.rows(
        f"SELECT DISTINCT place FROM late_usage WHERE billed_ref=? AND invoice_id {known}",
        (billed.ref,),
    )
    return [place for (place,) in rows]


def question(views: Views, billed: BilledPeriod) -> Question:
    """Which records a billed period is made of."""
    meter = current.at(views, Meter, billed.event_ref)
    assert meter is not None, f"a meter was created at {billed.event_ref}"
    meters = usage_records.meters_over(views, meter.event_name)
    return billed_usage.question(views, meters, billed.price_id, billed.customer_ref)


def _records_of(views: Views, billed: BilledPeriod, asked: Question) -> Wanted:
    customer = current.at(views, Customer, billed.customer_ref)
    assert customer is not None, f"a customer was created at {billed.customer_ref}"
    return Wanted(
        meter=asked.meters[0],
        customer=current.find(views, Customer, customer.id),
        start_us=billed.since_us,
        end_us=billed.end_us,
        waiting=False,
    )


def _late(views: Views, where: str, parameters: Sequence[object], after: Place) -> Iterator[Listed]:
    """Records that came late, voided ones among them, in time order."""
    rows = views.rows(f"SELECT DISTINCT place FROM late_usage WHERE {where}", parameters)
    found = [*usage_blocks.at_places(views, (place for (place,) in rows))]
    found += [
        Matched(ref, at_us, position, row, value, parse_properties(properties))
        for ref, at_us, position, row, value, properties in views.rows(
            f"SELECT customer_ref, timestamp_us, place / {ROWS_PER_EVENT},"
            f" place % {ROWS_PER_EVENT}, value, properties FROM usage_voided"
            f" WHERE place IN (SELECT place FROM late_usage WHERE {where})",
            parameters,
        )
    ]
    listed = (Listed(*msgspec.structs.astuple(record), waiting=False) for record in found)
    after_it = (record for record in listed if record.place > after)
    return iter(sorted(after_it, key=lambda record: record.place))
