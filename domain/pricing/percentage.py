"""Percentage: a part of the metered amount, and amounts and limits for each usage record.

The rate is a percentage: `1.5` is 1.5 % of the amount, so a payment of 200.00 costs 3.00.

>>> from domain.money import format_decimal
>>> [step] = Percentage(rate=Decimal("1.5")).charge(Fraction(200))
>>> step.description, format_decimal(step.amount)
('1.5% of 200', '3')

With an amount, an allowance or limits for single records, the records are priced one by one in time
order. Free records and a free amount together end with whichever is used up first; the record that
goes beyond the free amount is charged for what lies beyond. Three payments, the first one free:

>>> card = Percentage(rate=Decimal("2.9"), fixed_amount=Decimal("0.30"), free_records=1)
>>> for step in card.charge_records([Fraction(50), Fraction(100), Fraction(20)]):
...     print(step.description, "=", format_decimal(step.amount))
2.9% of 120 (170 after 50 free) = 3.48
2 records at 0.3 each (3 after 1 free) = 0.6

A record with a negative amount, such as a refund, gives back the percentage of what was charged.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from fractions import Fraction

from domain.decider import Code, Path, Rejected
from domain.money import check_amount, format_decimal, percent
from domain.pricing.model import Model
from domain.pricing.step import Step, counted, total


class Percentage(Model, frozen=True, tag_field="model", tag="percentage"):
    """Charge a part of an amount, for example 2.9 % and 0.30 USD of each payment."""

    rate: Decimal
    fixed_amount: Decimal = Decimal(0)
    free_records: int | None = None
    free_amount: Decimal | None = None
    minimum_per_record: Decimal | None = None
    maximum_per_record: Decimal | None = None

    @property
    def needs_records(self) -> bool:
        """Whether anything is asked of single records; a free amount needs only their total."""
        limits = (self.minimum_per_record, self.maximum_per_record)
        return bool(self.fixed_amount or self.free_records) or limits != (None, None)

    def check(self, path: Path) -> None:
        """Refuse negative values and limits that exclude each other. Raises `Rejected`."""
        path = (*path, "percentage")
        check_amount(self.rate, (*path, "rate"))
        check_amount(self.fixed_amount, (*path, "fixedAmount"))
        if self.free_records is not None and self.free_records < 0:
            message = "The number of free records must not be negative."
            raise Rejected(Code.INVALID_VALUE, (*path, "freeRecords"), message)
        minimum, maximum = self.minimum_per_record, self.maximum_per_record
        for value, field in (
            (self.free_amount, "freeAmount"),
            (minimum, "minimumPerRecord"),
            (maximum, "maximumPerRecord"),
        ):
            if value is not None:
                check_amount(value, (*path, field))
        if minimum is not None and maximum is not None and maximum < minimum:
            message = f"The maximum must not be below the minimum of {format_decimal(minimum)}."
            raise Rejected(Code.INVALID_VALUE, (*path, "maximumPerRecord"), message)

    def charge(self, quantity: Fraction) -> tuple[Step, ...]:
        """The amount as if it were that of a single record; nothing was used without an amount."""
        return self.charge_records([quantity] if quantity else [])

    def charge_records(self, records: Sequence[Fraction]) -> tuple[Step, ...]:
        """The percentage of all amounts, the fixed amounts, and what the limits change."""
        priced = list(self._beyond_allowance(records))
        charged = [beyond for beyond, free in priced if not free]
        amount = sum(records, Fraction(0))
        paid = sum((beyond for beyond, _ in priced), Fraction(0))
        steps = [
            Step(
                description=f"{format_decimal(self.rate)}% of {_after_free(paid, amount, '')}",
                quantity=paid,
                unit_amount=percent(self.rate),
                amount=paid * percent(self.rate),
            ),
            *self._fixed(len(charged), len(records)),
            *self._limits(charged),
        ]
        below = total(tuple(steps))
        if below < 0:  # refunds gave back more than a maximum had let be charged
            steps.append(Step(description="not below 0", amount=-below))
        return tuple(steps)

    def _beyond_allowance(self, records: Sequence[Fraction]) -> Iterator[tuple[Fraction, bool]]:
        """Of each record, how much lies beyond the allowance, and whether the record is free.

        What lies beyond is counted on the running total, so that all parts add up to the whole.
        """
        free_records, limit = self.free_records or 0, Fraction(self.free_amount or 0)
        limited, allowed = bool(limit), bool(limit or free_records)
        running = before = Fraction(0)
        for number, value in enumerate(records, start=1):
            running += value
            by_number = number <= free_records
            used = min(running, limit) if limited or not by_number else running
            paid = running - used
            yield paid - before, allowed and (by_number or not free_records) and not paid
            before = paid
            if number == free_records:
                limit = used

    def _fixed(self, charged: int, count: int) -> Iterator[Step]:
        """The fixed amount of every record that is not free."""
        if self.fixed_amount:
            each = Fraction(self.fixed_amount)
            records = Fraction(charged)
            words = _after_free(records, Fraction(count), f" at {format_decimal(each)} each")
            yield Step(
                description=words,
                quantity=records,
                unit_amount=each,
                amount=records * each,
            )

    def _limits(self, charged: Sequence[Fraction]) -> Iterator[Step]:
        """What the minimum adds to the records below it, and the maximum takes from those above."""
        rate, fixed = percent(self.rate), Fraction(self.fixed_amount)
        amounts = [beyond * rate + fixed for beyond in charged]
        if self.minimum_per_record is not None:
            least = Fraction(self.minimum_per_record)
            yield from _limited([least - one for one in amounts if one < least], "raised", least)
        if self.maximum_per_record is not None:
            most = Fraction(self.maximum_per_record)
            yield from _limited([most - one for one in amounts if one > most], "lowered", most)


def _after_free(charged: Fraction, whole: Fraction, each: str) -> str:
    """What is charged, of records where `each` has one costs so much, and what was free before."""
    shown = f"{counted(charged, 'record')}{each}" if each else format_decimal(charged)
    if charged == whole:
        return shown
    return f"{shown} ({format_decimal(whole)} after {format_decimal(whole - charged)} free)"


def _limited(changes: Sequence[Fraction], verb: str, limit: Fraction) -> Iterator[Step]:
    """The step of the records that a limit changes, if there are any."""
    if changes:
        side = "minimum" if verb == "raised" else "maximum"
        records = counted(Fraction(len(changes)), "record")
        yield Step(
            description=f"{records} {verb} to the {side} of {format_decimal(limit)} each",
            amount=sum(changes, Fraction(0)),
        )
