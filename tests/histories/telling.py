"""Tell a history to a real ledger, step by step, and hold it to what every history keeps.

What only shows while it happens is looked at here: a change comes to what its preview said, and
what is due is done once. What log and views show after each step is in `checks.py`.
"""

import logging
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import cast

from app.commands import imagined_change
from app.ledger import Ledger
from app.logs import TextLines
from domain.decider import Rejected
from domain.invoices import Invoice, Status
from domain.periods import to_us
from domain.rating import Bill
from domain.subscription_changes import CancelForm, CancelSubscription, Command
from domain.subscription_holds import ResumeCollection, UnparkSubscription
from domain.subscriptions import Subscription
from projections import current, due_work, invoice_previews
from projections.invoice_previews import Preview
from projections.tables import Views
from tests.histories import touched
from tests.histories.checks import Auditor
from tests.histories.mortal import Mortal
from tests.histories.sent import Broken
from tests.histories.steps import Case
from tests.scenarios import changes
from tests.scenarios.sentences import Untold
from tests.scenarios.story import Story

MEMORY = Path("/dev/shm")
"""Where a disk is in memory, if there is such a place: these ledgers need not last."""

CHANGES = re.compile(r"(\S+) change (\S+): (.+)")
ENDS = re.compile(rf"(\S+) cancel (\S+) {changes.END}")
DOOMS = re.compile(r"\S+ (kill|fail) at (\w+) (\d+)")


def tell(case: Case) -> Counter[str]:
    """Tell a history and check it; how often what happened. Raises whatever went wrong."""
    memory = MEMORY if MEMORY.is_dir() else None
    with (
        tempfile.TemporaryDirectory(prefix="tallybook-", dir=memory) as directory,
        failures(),
        Mortal(Path(directory), timedelta(hours=case.grace)) as mortal,
        closing(Auditor(Path(directory))) as auditor,
    ):
        telling = _Telling(mortal, auditor)
        for step in case.steps:
            try:
                telling.step(step)
            except Exception as error:
                error.add_note(f"at: {step}")
                raise
        telling.finish()
        touched.check(mortal.ledger, case.seed)
        telling.happened["touched and found"] += 1
        return telling.happened + auditor.seen


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
            raise Broken(TextLines().format(said[0]).splitlines()[0]) from cause


def _keeping(said: list[logging.LogRecord]) -> Callable[[logging.LogRecord], bool]:
    """A filter that keeps what it is asked about."""

    def keep(record: logging.LogRecord) -> bool:
        said.append(record)
        return False

    return keep


class _Telling:
    """A history as far as it is told."""

    def __init__(self, mortal: Mortal, auditor: Auditor) -> None:
        self.mortal = mortal
        self.story = Story(cast(Ledger, mortal))
        self.happened: Counter[str] = Counter()
        self._auditor = auditor

    def step(self, step: str) -> None:
        """One step, unless it is refused, or about something that is not there."""
        verb = step.split()[1]
        try:
            if found := DOOMS.fullmatch(step):
                self.mortal.doom(found[1], found[2], int(found[3]))
            elif found := CHANGES.fullmatch(step) or ENDS.fullmatch(step):
                self._move_to(found[1])
                self._change(step, *found.groups()[1:])
            else:
                self.story.tell(step)
        except Rejected as refusal:
            self.happened[f"{verb} refused {refusal.code}"] += 1
        except Untold:
            self.happened[f"{verb} untold"] += 1
        else:
            self.happened[verb] += 1
        self._look()

    def _look(self) -> None:
        """Everything fits together, and what was answered is where the answer said."""
        self._auditor.look(self.mortal.ledger)
        said = {identity: at for identity, (_, at) in self.mortal.sent.known.items()}
        if said != self._auditor.books.used.places:
            raise Broken(f"answered: {said}; written: {self._auditor.books.used.places}")

    def finish(self) -> None:
        """Let drafts be issued; then let everything end, so that nothing waits any more."""
        self.mortal.spare()
        self._settle()
        self._auditor.check(self.mortal.ledger)
        self._end_all()
        self._settle()
        self._auditor.check(self.mortal.ledger)
        self._auditor.check_rebuilt(self.mortal.ledger)
        self._auditor.check_settled(self.mortal.ledger)
        self.happened["killed"] += self.mortal.deaths
        self.happened["failed"] += self.mortal.failures

    def _settle(self) -> None:
        """Let drafts be issued, and see that nothing is left to do, however often it is asked."""
        for _ in range(50):
            self._let_go_on()
            with self.mortal.snapshot() as views:
                drafts = [
                    one.state.finalizes_at
                    for one in current.select(views, Invoice, {}, limit=10_000)
                    if one.state.status is Status.DRAFT
                ]
            if not drafts:
                break
            self.mortal.advance_now(max(*drafts, self.mortal.clock.now()))
        else:
            raise Broken("there is always a draft")
        self._nothing_is_due()

    def _end_all(self) -> None:
        """Every subscription ends, as soon as it may."""
        with self.mortal.snapshot() as views:
            found = current.select(views, Subscription, {}, limit=1_000)
        for state in (one.state for one in found):
            last = [change.at for change in state.changes[-1:]]
            at = max(state.start_at, self.mortal.clock.now(), *last)
            with suppress(Rejected):  # it has ended
                self.mortal.execute_now(
                    CancelSubscription(subscription_id=state.id, form=CancelForm.AT, at=at)
                )
        with self.mortal.snapshot() as views:
            found = current.select(views, Subscription, {}, limit=1_000)
        ends = [one.state.end.bill_at for one in found if one.state.end]
        self.mortal.advance_now(max([self.mortal.clock.now(), *ends]))

    def _let_go_on(self) -> None:
        """Nothing is held back for ever."""
        with self.mortal.snapshot() as views:
            found = current.select(views, Subscription, {}, limit=1_000)
        for state in (one.state for one in found):
            if state.parked is not None:
                self.mortal.execute_now(UnparkSubscription(subscription_id=state.id))
                self.happened["unparked at last"] += 1
            if state.paused_at is not None:
                self.mortal.execute_now(ResumeCollection(subscription_id=state.id))
                self.happened["resumed at last"] += 1

    def _nothing_is_due(self) -> None:
        now_us = to_us(self.mortal.clock.now())
        with self.mortal.snapshot() as views:
            position, due = views.checkpoint(), due_work.first(views, now_us)
        if due is not None:
            raise Broken(f"still due: {due}")
        portion = self.mortal.do_what_is_due()
        with self.mortal.snapshot() as views:
            if portion.invoices or views.checkpoint() != position:
                raise Broken("doing what is due once more did something")

    def _move_to(self, date: str) -> None:
        at = self.story.instant(date)
        if at > self.mortal.clock.now():
            self.mortal.advance_now(at)

    # ------------------------------------------------------------------------------------- changes

    def _change(self, step: str, name: str, *terms: str | None) -> None:
        """A change or an end, which comes to what its preview said."""
        now = self.mortal.clock.now()
        with self.mortal.snapshot() as views:
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
        with self.mortal.snapshot() as views:
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
            if invoice.statement is not None and invoice.finalized_at == self.mortal.clock.now():
                found = [(one.kind, one.period, one.amount) for one in invoice.statement.lines]
                if found != _essence(expected.bill):
                    raise Broken(f"{step}: {found} was issued, not {_essence(expected.bill)}")
                self.happened["preview issued"] += 1
            return
        state = current.get(views, Subscription, subscription.id)
        assert state is not None
        preview = invoice_previews.preview(views, state, now=self.mortal.clock.now(), at=at)
        if preview is None or _essence(preview.bill) != _essence(expected.bill):
            raise Broken(f"{step}: {preview} will be issued, not {expected}")
        self.happened["preview kept"] += 1


def _essence(bill: Bill) -> Sequence[object]:
    """What a bill says, but for the ids of items that a change adds."""
    return [(line.kind, line.period, line.amount) for line in bill.lines]
