"""An invoice explained for people, as text or as data, while a server holds the ledger or not."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from app import explained
from app.clock import SystemClock
from app.exports.standing_views import standing_views
from app.local_time import local_text, period_text
from app.opening import open_store
from app.schema.scalars import as_json
from app.sent_records import Sent, SentRecords
from app.store import Store
from domain.invoices import Invoice
from domain.ledgers import LedgerState
from domain.money import format_decimal, format_money
from domain.periods import format_instant, from_us
from domain.statements import IssuedLine
from domain.subscriptions import Subscription
from projections import current, invoice_previews, statements
from projections.explanations import Again, Explaining, Invoiced, Parts
from projections.places import Place
from projections.tables import Views
from projections.usage_records import BEGINNING, Listed

_NUMBER_DIGITS = 6


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What is explained: an invoice as it is called, where it stands, and what it says."""

    name: str
    id: str | None
    status: str
    invoiced: Invoiced


class Explainer:
    """Explains one invoice of a ledger that is open for reading."""

    def __init__(self, views: Views, store: Store, named: str) -> None:
        self.subject = _subject(views, named)
        self.explaining = Explaining(views, store.at, self.subject.invoiced)
        self._sent = SentRecords(store)

    def line_numbers(self, only: int | None) -> Sequence[int]:
        """The numbers of the lines to explain, from 1. Raises `ValueError` for one too many."""
        count = len(self.explaining.statement.lines)
        if only is None:
            return range(1, count + 1)
        if not 1 <= only <= count:
            raise ValueError(f"{self.subject.name} has the lines 1 to {count}")
        return [only]

    def records(self, number: int) -> Iterator[tuple[Listed, Sent]]:
        """The usage records that a line counted, as they were known, and as they were sent."""
        with self.explaining.counted(number - 1) as read:
            for record in read(BEGINNING):
                yield record, self._sent.at(record.position, record.row)

    def as_text(self, only: int | None, *, records: bool) -> Iterator[str]:
        """The explanation, line by line, as a bookkeeper would write it."""
        return map(printable, self._text(only, records=records))

    def _text(self, only: int | None, *, records: bool) -> Iterator[str]:
        yield from self._head()
        numbers = self.line_numbers(only)
        for number in numbers:
            yield ""
            yield from self._line(number)
            if records:
                yield from self._records(number)
        yield ""
        yield from self._foot()

    def as_data(self, only: int | None, *, records: bool) -> dict[str, Any]:
        """The same as JSON."""
        said, subject = self.explaining.statement, self.subject
        return {
            "invoice": subject.id,
            "name": subject.name,
            "status": subject.status,
            "customerId": said.customer_id,
            "subscriptionId": said.subscription_id,
            "currency": said.currency,
            "total": format_money(said.total, said.currency),
            "position": said.position,
            "contentHash": said.content_hash,
            "lines": [self._data(number, records=records) for number in self.line_numbers(only)],
        }

    # -------------------------------------------------------------------------------------- text

    def _head(self) -> Iterator[str]:
        said, subject = self.explaining.statement, self.subject
        id = f" ({subject.id})" if subject.id else ""
        to, zone = said.billed_to, said.billed_to.time_zone
        yield f"{subject.name}{id}, {subject.status}"
        yield f"To {to.name} ({said.customer_id}) for {said.subscription_id}"
        yield f"Period {period_text(said.period, zone)}; dates are those of {zone}"
        yield f"As known at position {said.position} of the ledger; content {said.content_hash}"

    def _line(self, number: int) -> Iterator[str]:
        said = self.explaining.statement
        zone, currency = said.billed_to.time_zone, said.currency
        line = said.lines[number - 1]
        yield (
            f"{number}. {line.kind} {line.description}, {period_text(line.period, zone)}: "
            f"{format_money(line.amount, currency)} {currency}"
        )
        yield from _steps(line)
        for sentence in self._sentences(number, *self._explained(number)):
            yield f"   {sentence}"

    def _records(self, number: int) -> Iterator[str]:
        zone = self.explaining.statement.billed_to.time_zone
        for record, sent in self.records(number):
            at = local_text(from_us(record.timestamp_us), zone)
            yield f"   - {at} {sent.record.id}: {explained.says(record)}"
            yield f"     {explained.place(record)}, event {sent.hash.hex()}"

    def _foot(self) -> Iterator[str]:
        said = self.explaining.statement
        amounts = " + ".join(format_money(line.amount, said.currency) for line in said.lines)
        total = format_money(said.total, said.currency)
        yield f"Total {total} {said.currency}" + (f" = {amounts}" if said.lines else "")

    # -------------------------------------------------------------------------------------- data

    def _data(self, number: int, *, records: bool) -> dict[str, Any]:
        line = self.explaining.statement.lines[number - 1]
        currency = self.explaining.statement.currency
        parts, again = self._explained(number)
        data: dict[str, Any] = {
            "number": number,
            **as_json(line),
            "amount": format_money(line.amount, currency),
            "madeAt": parts.made_at,
            "priceAt": parts.price_at,
            "meters": as_json(parts.meters),
            "shares": as_json(parts.shares),
            "charged": as_json(parts.charged),
            "again": as_json(again),
            "causes": [_place(one) for one in self.explaining.causes(number - 1)],
            "sentences": [*self._sentences(number, parts, again)],
        }
        if records:
            data["records"] = [_record(*one) for one in self.records(number)]
        return data

    def _explained(self, number: int) -> tuple[Parts, Again]:
        return self.explaining.parts(number - 1), self.explaining.again(number - 1)

    def _sentences(self, number: int, parts: Parts, again: Again) -> Iterator[str]:
        said = self.explaining.statement
        zone, currency = said.billed_to.time_zone, said.currency
        yield from explained.of_parts(parts, currency, zone)
        yield from explained.of_causes(self.explaining.causes(number - 1), zone)
        yield from explained.of_again(again, parts, currency, zone)


@contextmanager
def explainer(directory: Path, named: str, place: Place | None = None) -> Iterator[Explainer]:
    """Explains the invoice with an id or number, or the next one of a subscription.

    Raises `ValueError` when there is none.
    """
    with (
        standing_views(directory, place) as views,
        closing(open_store(directory, place, exclusive=False)) as store,
    ):
        yield Explainer(views, store, named)


def printable(text: str) -> str:
    """A text that leaves a terminal alone, whatever somebody wrote in a name.

    >>> printable("Alpaca\x1b[2J")
    'Alpaca?[2J'
    """
    return "".join(one if one.isprintable() else "?" for one in text)


def _subject(views: Views, named: str) -> Subject:
    now = _now(views)
    if named.startswith("sub_"):
        return _preview(views, named, now)
    invoice = current.get(views, Invoice, named) or _numbered(views, named)
    if invoice is None:
        raise ValueError(f"there is no invoice {named}")
    number = invoice.printed_number
    return Subject(
        name=f"Invoice {number}" if number else "Draft of an invoice",
        id=invoice.id,
        status=invoice.status,
        invoiced=Invoiced.of(invoice, statements.of_invoice(views, invoice, now)),
    )


def _numbered(views: Views, number: str) -> Invoice | None:
    """The invoice with a number, be it printed as on the invoice or without its zeros."""
    keys = {"number": number.rjust(_NUMBER_DIGITS, "0")}
    found = current.select(views, Invoice, keys, limit=1)
    return found[0].state if found else None


def _preview(views: Views, id: str, now: datetime) -> Subject:
    subscription = current.get(views, Subscription, id)
    if subscription is None:
        raise ValueError(f"there is no subscription {id}")
    preview = invoice_previews.preview(views, subscription, now=now)
    if preview is None:
        raise ValueError(f"{id} has no next invoice")
    said = statements.statement(views, preview, "preview")
    return Subject(
        name=f"Next invoice of {id}",
        id=None,
        status=f"PREVIEW for {format_instant(preview.bill.at)}",
        invoiced=Invoiced.previewed(preview, said),
    )


def _now(views: Views) -> datetime:
    """What time it is for the ledger."""
    state: LedgerState = current.select(views, LedgerState, {}, limit=1)[0].state
    return state.clock_at or SystemClock().now()


def _steps(line: IssuedLine) -> Iterator[str]:
    """The steps in two columns, the amounts one below the other."""
    amounts = [format_decimal(step.amount) for step in line.steps]
    left = max((len(step.description) for step in line.steps), default=0)
    right = max(map(len, amounts), default=0)
    for step, amount in zip(line.steps, amounts, strict=True):
        yield f"     {step.description:<{left}}  {amount:>{right}}"


def _record(record: Listed, sent: Sent) -> dict[str, Any]:
    return {
        "id": sent.record.id,
        "source": sent.record.source,
        "timestamp": format_instant(from_us(record.timestamp_us)),
        "value": record.value,
        "properties": record.properties,
        **_place(record),
        "hash": sent.hash.hex(),
    }


def _place(record: Listed) -> dict[str, Any]:
    return {"position": record.position, "row": record.row}
