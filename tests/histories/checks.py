"""What the log of every history shows, whatever happened in it.

The log is folded once more, fact by fact: before each invoice is issued, its draft says what is
going to be issued. At the end the views are the live ones, byte by byte, and the money adds up.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import closing
from decimal import Decimal

from app.ledger import Ledger
from domain.decider import Recorded
from domain.invoices import Invoice, InvoiceDrafted, InvoiceFinalized, Status
from domain.periods import from_us
from domain.settlements import CreditNoteCreated, InvoiceVoided, PaymentRecorded
from domain.subscriptions import Subscription
from projections import current, invoice_previews, invoices, statements
from projections.engine import Engine
from projections.tables import Views
from tests import explained
from tests.histories import naive


class Broken(Exception):
    """A history does not keep what it should; the message says what."""


def check(ledger: Ledger) -> Counter[str]:
    """Hold the log of a ledger to everything; how much there was to hold to it."""
    log = list(ledger.store.read())
    seen: Counter[str] = Counter()
    with closing(Engine(ledger.directory / "again.db")) as again:
        with again.database.transaction() as views:
            for recorded in log:
                _before(views, recorded)
                again.apply([recorded])
                _after(views, recorded)
                seen[recorded.event.topic] += 1
        if list(again.database.dump()) != list(ledger.engine.database.dump()):
            raise Broken("the views folded again are not the live ones")
        with again.database.snapshot() as views:
            issued = _issued(views)
            _numbers(issued)
            _money(views, log, issued)
            _previews(views, ledger)
    return seen + explained.explain(ledger) + naive.check(log)


def _before(views: Views, recorded: Recorded) -> None:
    """A draft says what is issued next; a preview says what is drafted next."""
    match recorded.event:
        case InvoiceFinalized() as event:
            draft = current.get(views, Invoice, event.id)
            assert draft is not None
            at = from_us(recorded.envelope.recorded_at_us)
            says = statements.of_invoice(views, draft, at)
            for name in ("lines", "total", "subtotal", "content_hash", "position", "period"):
                if getattr(says, name) != getattr(event, name):
                    raise Broken(f"{event.number}: {name} was not that of its draft")
            if event.total != sum((line.amount for line in event.lines), Decimal(0)):
                raise Broken(f"{event.number} does not add up")
        case InvoiceDrafted() as event:
            views.set_meta("previewed", _hash_of(views, event))


def _after(views: Views, recorded: Recorded) -> None:
    """What was previewed is on the draft, the one-off items that it took included."""
    match recorded.event:
        case InvoiceDrafted() as event:
            draft = current.get(views, Invoice, event.id)
            assert draft is not None
            says = statements.of_invoice(views, draft, event.at)
            if says.content_hash != views.meta("previewed"):
                raise Broken(f"the draft for {event.at} is not what its preview was")


def _hash_of(views: Views, event: InvoiceDrafted) -> str:
    subscription = current.get(views, Subscription, event.subscription_id)
    assert subscription is not None
    found = invoice_previews.preview(views, subscription, now=event.drafted_at, at=event.at)
    assert found is not None
    return found.content_hash


def _issued(views: Views) -> list[Invoice]:
    found = current.select(views, Invoice, {}, limit=100_000)
    return [one.state for one in found if one.state.statement is not None]


def _numbers(issued: Sequence[Invoice]) -> None:
    """Invoices are numbered from 1 without a gap, in the order in which they were issued."""
    numbered = sorted(issued, key=lambda one: one.number or 0)
    if [one.number for one in numbered] != list(range(1, len(issued) + 1)):
        raise Broken(f"the numbers are {[one.number for one in numbered]}")
    times = [one.finalized_at for one in numbered if one.finalized_at]
    if times != sorted(times):
        raise Broken("the numbers are not in the order of issue")


def _money(views: Views, log: Sequence[Recorded], issued: Sequence[Invoice]) -> None:
    """For each customer and currency: invoiced = due + paid + credited - what we owe them."""
    held: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    left: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    void = {one.id for one in issued if one.status is Status.VOID}
    for event in (recorded.event for recorded in log):
        match event:
            case InvoiceFinalized():
                key = event.customer_id, event.currency
                held[key] += event.to_balance - event.balance_applied
                left[key] += event.total if event.id not in void else 0
            case PaymentRecorded():
                key = event.customer_id, event.currency
                held[key] += event.to_balance
                left[key] -= event.amount
            case CreditNoteCreated():
                key = event.customer_id, event.currency
                held[key] += event.to_balance
                left[key] -= event.total if event.id not in void else 0
            case InvoiceVoided():
                key = event.customer_id, event.currency
                held[key] += event.to_balance
            case _:
                continue
        if held[key] < 0:
            raise Broken(f"the balance of {key} is {held[key]}")
    for one in issued:
        left[one.customer_id, one.currency] -= one.amount_due
        if one.amount_due < 0 or (one.status is Status.PAID) != (
            one.amount_due == 0 and one.status is not Status.VOID
        ):
            raise Broken(f"{one.number} is {one.status} with {one.amount_due} due")
    for key, amount in left.items():
        if amount != -held[key] or invoices.balance(views, *key) != held[key]:
            raise Broken(f"{key}: {amount} is not accounted for, the balance is {held[key]}")


def _previews(views: Views, ledger: Ledger) -> None:
    """Whatever comes next can be previewed."""
    now = ledger.clock.now()
    for one in current.select(views, Subscription, {}, limit=1_000):
        invoice_previews.preview(views, one.state, now=now)
