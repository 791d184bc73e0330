"""What the log of every history shows, whatever happened in it.

The log is folded once more, fact by fact, as it grows: before an invoice is issued, its draft says
what is going to be issued. The views are the live ones at each step, and the money adds up.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path

from app.ledger import Ledger
from domain.decider import Recorded
from domain.invoices import Invoice, InvoiceDrafted, InvoiceFinalized, Status
from domain.periods import from_us
from domain.settlements import CreditNoteCreated, InvoiceVoided, PaymentRecorded
from domain.subscriptions import Subscription
from projections import current, invoice_previews, invoices, statements
from projections.differences import first_difference
from projections.engine import TABLES, Engine, rebuild, remove
from projections.tables import Views
from tests import explained
from tests.histories import naive, usage_checks
from tests.histories.sent import Broken


class Auditor:
    """Somebody who reads the log as it grows, folds it once more, and keeps naive books."""

    def __init__(self, folder: Path) -> None:
        self.books = naive.Books()
        self.seen: Counter[str] = Counter()
        self._log: list[Recorded] = []
        self._again = Engine(folder / "again.db")

    def close(self) -> None:
        """Let go of the views."""
        self._again.close()

    def look(self, ledger: Ledger) -> None:
        """Hold what came to the log, and what the views say by now, to everything."""
        new = list(ledger.store.read(len(self._log)))
        with self._again.database.transaction() as views:
            for recorded in new:
                _before(views, recorded)
                self._again.apply([recorded])
                self.books.read(recorded)
                _after(views, recorded)
                self.seen[recorded.event.topic] += 1
        self._log += new
        with ledger.snapshot() as live, self._again.database.snapshot() as again:
            if found := first_difference(live, again, TABLES):
                raise Broken(f"the views folded again are not the live ones: {found}")
            self.seen += usage_checks.check(live, self.books, ledger.clock.now())

    def check(self, ledger: Ledger) -> None:
        """Hold the whole log to everything that it shows by now."""
        self.look(ledger)
        with self._again.database.snapshot() as views:
            issued = _issued(views)
            _numbers(issued)
            _money(views, self._log, issued)
        self.seen += naive.check_times(self.books)

    def check_settled(self, ledger: Ledger) -> None:
        """When all has ended, nothing waits that was to be billed, and all of it is."""
        self.seen += self.books.check_settled() + explained.explain(ledger)
        with ledger.snapshot() as live:
            self.seen += usage_checks.check_settled(live, self.books)

    def check_rebuilt(self, ledger: Ledger) -> None:
        """Views folded all at once are the live ones, byte by byte."""
        aside = rebuild(ledger.directory / "check.db", ledger.store.read)
        with closing(Engine(aside)) as rebuilt:
            if list(rebuilt.database.dump()) != list(ledger.engine.database.dump()):
                raise Broken("the views folded all at once are not the live ones")
        remove(aside)


def check(ledger: Ledger) -> Counter[str]:
    """Hold a ledger to everything; how much there was to hold to it."""
    with closing(Auditor(ledger.directory)) as auditor:
        auditor.check(ledger)
        auditor.check_rebuilt(ledger)
        return auditor.seen + explained.explain(ledger)


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
