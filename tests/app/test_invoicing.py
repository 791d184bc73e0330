"""Invoices through the writer: what was previewed is issued, numbered, and kept for ever."""

from datetime import UTC, datetime

import pytest

from app import invoicing
from app.commands import Done
from app.jobs import CommandJob
from app.ledger import Ledger
from domain.decider import Rejected
from domain.invoices import Invoice, InvoiceFinalized, Reason, Status
from domain.periods import Period
from domain.subscriptions import Subscription
from projections import current, invoice_previews, invoices, statements
from tests.scenarios.story import Story

FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)
MARCH = datetime(2026, 3, 1, tzinfo=UTC)

TOKENS = """
2026-01-01 product "Alpaca.ai"
2026-01-01 meter alpaca-tokens: sum of alpaca-tokens
2026-01-01 customer alpaca-lover
"""

TOLD = """
2026-01-01 price usage: graduated USD, per month, on alpaca-tokens, 0 up to 1000, then 0.04
2026-01-01 price licence: 100 USD, per month
2026-01-01 subscribe alpaca-lover to licence x 1, usage
2026-01-10 use 3000 alpaca-tokens by alpaca-lover
"""


@pytest.fixture
def story(ledger: Ledger) -> Story:
    """The reference story up to its usage."""
    told = Story(ledger)
    told.tell(TOKENS + TOLD)
    return told


@pytest.fixture
def told(story: Story) -> Ledger:
    """The ledger that knows it."""
    return story.ledger


def only(ledger: Ledger) -> Subscription:
    """The one subscription of the ledger."""
    with ledger.snapshot() as views:
        (found,) = current.select(views, Subscription, {}, limit=2)
    state: Subscription = found.state
    return state


def draft(ledger: Ledger, at: datetime, key: str = "draft") -> Done | None:
    """Draft the invoice of an instant."""
    id = only(ledger).id
    job = CommandJob(lambda group: invoicing.draft(group, id, at, Reason.RENEWAL, key), None)
    return ledger.writer.submit(job).result()


def finalize(ledger: Ledger, id: str, key: str) -> Done:
    """Issue a draft."""
    return ledger.writer.submit(
        CommandJob(lambda group: invoicing.finalize(group, id, key), None)
    ).result()


def invoice(ledger: Ledger, id: str) -> Invoice:
    """The invoice as it stands."""
    with ledger.snapshot() as views:
        found = current.get(views, Invoice, id)
    assert found is not None
    return found


def issue(ledger: Ledger, at: datetime) -> Invoice:
    """Draft and issue what is due at an instant."""
    drafted = draft(ledger, at, f"draft {at}")
    assert drafted is not None
    finalize(ledger, drafted.subject, f"finalize {at}")
    return invoice(ledger, drafted.subject)


def test_what_was_previewed_is_issued(told: Ledger) -> None:
    drafted = draft(told, FEBRUARY)
    assert drafted is not None
    with told.snapshot() as views:
        preview = invoice_previews.preview(views, only(told), now=FEBRUARY, at=FEBRUARY)
        assert preview is not None
        said = statements.statement(views, preview, drafted.subject)
    done = finalize(told, drafted.subject, "finalize")
    issued = invoice(told, drafted.subject)
    assert issued.status is Status.OPEN
    assert issued.statement == said
    assert said.position == drafted.position == done.position - 1
    assert said.content_hash == preview.content_hash
    assert [str(line.amount) for line in said.lines] == ["80.00", "100.00"]
    assert [line.description for line in said.lines] == ["Alpaca.ai (usage)", "Alpaca.ai (licence)"]


def test_a_draft_shows_what_came_late_and_an_issued_invoice_does_not(
    told: Ledger, story: Story
) -> None:
    drafted = draft(told, FEBRUARY)
    assert drafted is not None
    story.tell("2026-01-31 use 1000 alpaca-tokens by alpaca-lover")
    with told.snapshot() as views:
        live = statements.of_invoice(views, invoice(told, drafted.subject), FEBRUARY)
    assert str(live.total) == "220.00"
    finalize(told, drafted.subject, "finalize")
    story.tell("2026-01-31 use 5000 alpaca-tokens by alpaca-lover")
    with told.snapshot() as views:
        frozen = statements.of_invoice(views, invoice(told, drafted.subject), FEBRUARY)
    assert frozen.total == live.total
    assert frozen.lines == live.lines


def test_the_same_order_is_carried_out_once(told: Ledger) -> None:
    first = draft(told, FEBRUARY)
    head = told.store.head()
    assert draft(told, FEBRUARY) == first
    assert told.store.head() == head
    with pytest.raises(Rejected, match="is invoiced at 2026-02-01T00:00:00Z already"):
        draft(told, FEBRUARY, "another key")
    assert first is not None
    done = finalize(told, first.subject, "finalize")
    head = told.store.head()
    assert finalize(told, first.subject, "finalize") == done
    assert finalize(told, first.subject, "another key").position == done.position
    assert told.store.head() == head


def test_nothing_due_is_not_drafted(ledger: Ledger) -> None:
    Story(ledger).tell(f"""{TOKENS}
2026-01-01 price usage: 1 USD, per month, on alpaca-tokens
2026-01-01 subscribe alpaca-lover to usage
""")
    head = ledger.store.head()
    opening = only(ledger).start_at
    assert draft(ledger, opening) is None
    assert draft(ledger, opening) is None
    assert ledger.store.head() == head


def test_numbers_have_no_gaps_whatever_is_issued_first(told: Ledger) -> None:
    february, march = draft(told, FEBRUARY, "1"), draft(told, MARCH, "2")
    assert february is not None
    assert march is not None
    finalize(told, march.subject, "3")
    finalize(told, february.subject, "4")
    numbers = [invoice(told, done.subject).printed_number for done in (february, march)]
    assert numbers == ["000003", "000002"]  # the first was issued at the start
    with told.snapshot() as views:
        by_number = current.owner(views, Invoice, "number", "000003")
        assert by_number == february.subject
        assert current.count(views, Invoice, {"status": "OPEN", "number": "000002"}) == 1
        assert current.count(views, Invoice, {"status": "DRAFT"}) == 0


def test_the_lines_that_were_billed_are_found_by_item_and_period(told: Ledger) -> None:
    issued = issue(told, FEBRUARY)
    issue(told, MARCH)
    licence, usage = only(told).items
    with told.snapshot() as views:
        found = list(
            invoices.billed(
                views, only(told).id, usage.id, Period(datetime(2026, 1, 5, tzinfo=UTC), FEBRUARY)
            )
        )
        coming = Period(FEBRUARY, MARCH)
        licences = list(invoices.billed(views, only(told).id, licence.id, coming))
    assert [(one.invoice.id, str(one.line.amount)) for one in found] == [(issued.id, "80.00")]
    assert [(one.invoice.id, one.line.period) for one in licences] == [(issued.id, coming)]


def test_an_issued_invoice_is_stored_as_it_is_shown(told: Ledger) -> None:
    issued = issue(told, FEBRUARY)
    stored = [one.event for one in told.store.read() if one.stream_id == issued.id]
    event = stored[-1]
    assert isinstance(event, InvoiceFinalized)
    assert issued.statement is not None
    assert event.lines == issued.statement.lines
