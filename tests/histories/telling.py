"""Tell a history to a real ledger, step by step, and hold it to what every history keeps.

What only shows while it happens is looked at here: a change comes to what its preview said, and
what is due is done once. What the log shows afterwards is in `checks.py`.
"""

import logging
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from app import worker
from app.commands import imagined_change
from app.jobs import CommandJob
from app.ledger import Ledger
from domain.decider import Rejected
from domain.invoices import Invoice, Status
from domain.periods import parse_instant, to_us
from domain.rating import Bill, LineKind
from domain.subscription_changes import Command
from domain.subscription_holds import ResumeCollection, UnparkSubscription
from domain.subscriptions import Subscription
from projections import current, due_work, invoice_previews
from projections.invoice_previews import Preview
from projections.tables import Views
from tests.histories import checks
from tests.histories.checks import Broken
from tests.histories.steps import BEGIN, Case
from tests.scenarios import changes
from tests.scenarios.sentences import Untold
from tests.scenarios.story import Story

MEMORY = Path("/dev/shm")
"""Where a disk is in memory, if there is such a place: these ledgers need not last."""

CHANGES = re.compile(r"(\S+) change (\S+): (.+)")
ENDS = re.compile(rf"(\S+) cancel (\S+) {changes.END}")
USES = re.compile(r"(\S+) use \S+ \S+ by ([^ ,]+)(?:, at (\S+))?")
CORRECTS = re.compile(r"(\S+) (?:void|amend) use (\d+).*")


def tell(case: Case, *, late: bool = False) -> Counter[str]:
    """Tell a history and check it; how often what happened. Raises whatever went wrong."""
    folder = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="tallybook-", dir=folder) as directory, failures():
        grace = timedelta(hours=case.grace)
        with Ledger(Path(directory), test_clock_at=BEGIN, grace=grace) as ledger:
            telling = _Telling(ledger, late)
            for step in case.steps:
                telling.step(step)
            telling.finish()
            return telling.happened + checks.check(ledger)


@contextmanager
def failures() -> Iterator[None]:
    """Raise when the worker says that it could not do what was due."""
    said: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.addFilter(_keeping(said))
    log = logging.getLogger("tallybook.worker")
    log.addHandler(handler)
    was, log.propagate = log.propagate, False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = was
        if said:
            cause = said[0].exc_info[1] if said[0].exc_info else None
            raise Broken(said[0].getMessage()) from cause


def _keeping(said: list[logging.LogRecord]) -> Callable[[logging.LogRecord], bool]:
    """A filter that keeps what it is asked about."""

    def keep(record: logging.LogRecord) -> bool:
        said.append(record)
        return False

    return keep


class _Telling:
    """A history as far as it is told."""

    def __init__(self, ledger: Ledger, late: bool) -> None:
        self.ledger = ledger
        self.story = Story(ledger)
        self.happened: Counter[str] = Counter()
        self._late = late
        self._used: list[tuple[str, datetime]] = []

    def step(self, step: str) -> None:
        """One step, unless it is refused, or about something that is not there."""
        verb = step.split()[1]
        try:
            if found := CHANGES.fullmatch(step) or ENDS.fullmatch(step):
                self._move_to(found[1])
                self._change(step, *found.groups()[1:])
            elif not self._is_late(step):
                self.story.tell(step)
        except Rejected as refusal:
            self.happened[f"{verb} refused {refusal.code}"] += 1
        except Untold:
            self.happened[f"{verb} untold"] += 1
        else:
            self.happened[verb] += 1

    def finish(self) -> None:
        """Let drafts be issued, and see that nothing is left to do, however often it is asked."""
        for _ in range(50):
            self._let_go_on()
            with self.ledger.snapshot() as views:
                drafts = [
                    one.state.finalizes_at
                    for one in current.select(views, Invoice, {}, limit=10_000)
                    if one.state.status is Status.DRAFT
                ]
            if not drafts:
                break
            self.ledger.advance_now(max(*drafts, self.ledger.clock.now()))
        else:
            raise Broken("there is always a draft")
        self._nothing_is_due()

    def _let_go_on(self) -> None:
        """Nothing is held back for ever."""
        with self.ledger.snapshot() as views:
            found = current.select(views, Subscription, {}, limit=1_000)
        for state in (one.state for one in found):
            if state.parked is not None:
                self.ledger.execute_now(UnparkSubscription(subscription_id=state.id))
                self.happened["unparked at last"] += 1
            if state.paused_at is not None:
                self.ledger.execute_now(ResumeCollection(subscription_id=state.id))
                self.happened["resumed at last"] += 1

    def _nothing_is_due(self) -> None:
        now_us = to_us(self.ledger.clock.now())
        with self.ledger.snapshot() as views:
            position, due = views.checkpoint(), due_work.first(views, now_us)
        if due is not None:
            raise Broken(f"still due: {due}")
        job = CommandJob(lambda group: worker.run_due(group, group.now_us, None), None)
        portion = self.ledger.writer.submit(job).result()
        with self.ledger.snapshot() as views:
            if portion.invoices or views.checkpoint() != position:
                raise Broken("doing what is due once more did something")

    def _move_to(self, date: str) -> None:
        at = self.story.instant(date)
        if at > self.ledger.clock.now():
            self.ledger.advance_now(at)

    # ------------------------------------------------------------------------------------- changes

    def _change(self, step: str, name: str, *terms: str | None) -> None:
        """A change or an end, which comes to what its preview said."""
        now = self.ledger.clock.now()
        with self.ledger.snapshot() as views:
            before = self.story.subscription(views, name)
            command: Command
            if len(terms) == 1:
                command = changes.change_command(self.story, name, terms[0] or "")
            else:
                command = changes.cancel_command(self.story, name, terms[0] or "", terms[1])
            imagined = imagined_change(views, command, now)
            same = (imagined.changes, imagined.end) == (before.changes, before.end)
            expected = None if same else changes.billed(views, command, now)
        self.story.tell(step)
        with self.ledger.snapshot() as views:
            after = self.story.subscription(views, name)
            if (after.changes, after.end) != (imagined.changes, imagined.end):
                raise Broken(f"{step}: another change than its preview had")
            if expected is not None:
                self._compare(views, step, expected)

    def _compare(self, views: Views, step: str, expected: Preview) -> None:
        """The invoice that a change is billed on, issued or to come, is what was expected."""
        subscription = expected.subscription
        at = expected.bill.at
        for one in current.select(
            views, Invoice, {"customerId": subscription.customer_id}, limit=999
        ):
            invoice: Invoice = one.state
            if (invoice.subscription_id, invoice.at) != (subscription.id, at):
                continue
            if invoice.statement is not None and invoice.finalized_at == self.ledger.clock.now():
                found = [(one.kind, one.period, one.amount) for one in invoice.statement.lines]
                if found != _essence(expected.bill):
                    raise Broken(f"{step}: {found} was issued, not {_essence(expected.bill)}")
                self.happened["preview issued"] += 1
            return
        state = current.get(views, Subscription, subscription.id)
        assert state is not None
        preview = invoice_previews.preview(views, state, now=self.ledger.clock.now(), at=at)
        if preview is None or _essence(preview.bill) != _essence(expected.bill):
            raise Broken(f"{step}: {preview} will be issued, not {expected}")
        self.happened["preview kept"] += 1

    # --------------------------------------------------------------------------------------- usage

    def _is_late(self, step: str) -> bool:
        """Whether a step is about usage of a time that is billed, unless that is wanted."""
        if found := USES.fullmatch(step):
            self._move_to(found[1])
            used = found[2], parse_instant(found[3] or found[1], ("at",))
            if not self._late and self._billed(*used):
                return True
            self._used.append(used)
        elif (found := CORRECTS.fullmatch(step)) and not self._late:
            self._move_to(found[1])
            number = int(found[2])
            return number <= len(self._used) and self._billed(*self._used[number - 1])
        return False

    def _billed(self, customer: str, at: datetime) -> bool:
        """Whether an invoice has the usage of a customer at an instant already."""
        keys = {"customerId": self.story.ids.get(customer, "")}
        with self.ledger.snapshot() as views:
            return any(
                line.kind is LineKind.USAGE and line.period.start <= at < line.period.end
                for one in current.select(views, Invoice, keys, limit=10_000)
                if one.state.statement is not None
                for line in one.state.statement.lines
            )


def _essence(bill: Bill) -> Sequence[object]:
    """What a bill says, but for the ids of items that a change adds."""
    return [(line.kind, line.period, line.amount) for line in bill.lines]
