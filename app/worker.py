"""Doing what falls due: invoices are drafted and issued by themselves, as commands of the writer.

What is due is read off the views (`projections/due_work.py`), one thing after the other in the
order of due time, each under an idempotency key that says what is due: doing it again changes
nothing. It is done in portions, each a transaction of its own after which everything fits together.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from app import commands, invoicing, parking
from app.commands import Command, Done
from app.jobs import Closed, CommandJob
from app.logs import fields
from app.parking import Absurd
from app.writer import Group
from domain import billing_calendar, ledgers
from domain.decider import Event, Rejected
from domain.invoice_items import CreateInvoiceItem
from domain.invoices import Reason
from domain.ledgers import AdvanceClock
from domain.periods import END_OF_TIME, format_instant, from_us, to_us
from domain.settlements import MarkOverdue
from domain.subscriptions import Subscription
from projections import current, due_work
from projections.due_work import Due, Kind
from projections.tables import Views

if TYPE_CHECKING:
    from app.ledger import Ledger

PORTION = 50
"""How many things that are due one transaction does at most, so that usage need not wait long."""
ACTOR = "worker"
"""Who does what falls due on the system's clock."""
PORTIONS_AT_ONCE = 10
"""How many portions a command does of what it makes due; the rest is done as all due work is."""
MOMENTS_US = 1_000
"""How far ahead of an instant the invoices lie at most that are issued at it one after another."""
RETRY = timedelta(minutes=10)
"""After how long something is tried again that could not be done."""
LOOK_AGAIN = timedelta(minutes=1)
"""How long the worker sleeps at most: the system's clock may be set meanwhile."""

_log = logging.getLogger("tallybook.worker")


class Portion(msgspec.Struct, frozen=True):
    """What came of doing a portion of what is due: the invoices touched, and whether there is more.

    `failed` is what failed in this portion and in those before.
    """

    invoices: tuple[str, ...]
    failed: frozenset[Due]
    more: bool


def run_due(
    group: Group,
    until_us: int,
    actor: str | None,
    *,
    subscription_id: str | None = None,
    failed: Iterable[Due] = (),
    on_the_way: Callable[[int], None] = lambda _: None,
) -> Portion:
    """Do a portion of what is due up to an instant, for one subscription or for all.

    What fails is undone by itself, logged and left, as is what `failed` before: everybody else's
    goes on. What is absurd is undone too, and its subscription parked. `on_the_way` is told each
    instant before it has its turn.
    """
    invoices, left = dict[str, None](), set(failed)
    for _ in range(PORTION):
        due = due_work.first(group.views, until_us, subscription_id=subscription_id, without=left)
        if due is None:
            return Portion(tuple(invoices), frozenset(left), more=False)
        on_the_way(due.at_us)
        try:
            invoices |= dict.fromkeys(_do_or_park(group, due, actor))
        except Exception:  # noqa: BLE001  # whatever it was, it is nobody else's failure
            said = fields(kind=due.kind, subject=due.subject, due=format_instant(due.at))
            _log.exception("could not do what is due", extra=said)
            left.add(due)
    return Portion(tuple(invoices), frozenset(left), more=True)


def _do_or_park(group: Group, due: Due, actor: str | None) -> list[str]:
    """Do one thing that is due, or park its subscription; return the invoice that it touched.

    Either way it is not due any more. Raises `Rejected`.
    """
    try:
        with group.part():
            done = _do(group, due, actor)
            _check_done(group, due)
            return [done.subject]
    except Absurd as reason:
        with group.part():
            parking.park(group, due, reason, actor)
            _check_done(group, due)
            return []


def _check_done(group: Group, due: Due) -> None:
    """What was done and is due all the same would be done for ever."""
    assert not due_work.is_due(group.views, due), "what is done is not due any more"


def _do(group: Group, due: Due, actor: str | None) -> Done:
    """Do one thing that is due.

    Raises `Rejected`, and `Absurd` for what should not be billed before somebody looked at it.
    """
    done = _DO[due.kind](group, due, actor)
    assert done is not None, "something to bill was due"
    return done


def _draft(group: Group, due: Due, actor: str | None) -> Done | None:
    key = f"draft:{due.subject}:{due.at_us}"
    reason, grace = _reason(group.views, due), group.grace
    parking.check_instant(group, due)
    try:
        return invoicing.draft(group, due.subject, due.at, reason, key, grace=grace, actor=actor)
    except Rejected as refusal:
        raise parking.refused(refusal) from refusal


def _finalize(group: Group, due: Due, actor: str | None) -> Done:
    done = invoicing.finalize(group, due.subject, f"finalize:{due.subject}", actor=actor)
    parking.check_invoice(group.views, due.subject)
    return done


def _mark_overdue(group: Group, due: Due, actor: str | None) -> Done:
    command = MarkOverdue(invoice_id=due.subject)
    return commands.job(command, key=f"overdue:{due.subject}", actor=actor).run(group)


_DO: Mapping[Kind, Callable[[Group, Due, str | None], Done | None]] = {
    Kind.DRAFT: _draft,
    Kind.FINALIZE: _finalize,
    Kind.OVERDUE: _mark_overdue,
}


def _reason(views: Views, due: Due) -> Reason:
    subscription = current.get(views, Subscription, due.subject)
    assert subscription is not None, f"no subscription {due.subject}"
    if due.at == billing_calendar.opening(subscription):
        return Reason.OPENING
    if subscription.end is not None and due.at == subscription.end.bill_at:
        return Reason.FINAL
    if subscription.end is not None and due.at > subscription.end.bill_at:
        return Reason.ADJUSTMENT
    at_once = {change.bill_at for change in subscription.changes if change.invoices}
    return Reason.CHANGE if due.at in at_once else Reason.RENEWAL


# ------------------------------------------------------------------------------------- commands


def job(command: Command, *, key: str | None, actor: str | None) -> CommandJob[Done]:
    """A command as a job for the writer, with what it makes due at once in the same transaction."""
    asked = commands.job(command, key=key, actor=actor)
    handler = commands.HANDLERS[type(command)]
    of_subscription = isinstance(handler, commands.Handler) and handler.kind is Subscription
    if not of_subscription and not isinstance(command, CreateInvoiceItem):
        return asked

    def run(group: Group) -> Done:
        repeated = key is not None and group.key(key) is not None
        start = group.next_position
        done = asked.run(group)
        if repeated:
            return done
        billed = command.subscription_id if isinstance(command, CreateInvoiceItem) else done.subject
        until_us = _at_once(group, billed)
        newest = group.next_position - 1
        with group.led_to_by(newest) if newest >= start else nullcontext():
            for _ in range(PORTIONS_AT_ONCE):
                if not run_due(group, until_us, actor, subscription_id=billed).more:
                    break
        position = group.next_position - 1
        if key is not None:
            group.keys[key] = replace(group.keys[key], position=position)
        return Done(done.subject, position)

    return CommandJob(run, actor)


def _at_once(group: Group, subscription_id: str) -> int:
    """Up to when a command's own subscription is billed: now, and what is meant to be at once.

    That lies moments ahead when the present instant has an invoice already. An end that is still to
    come has its invoice when it comes, however soon: until then the subscription may change.
    """
    subscription = current.get(group.views, Subscription, subscription_id)
    assert subscription is not None, f"no subscription {subscription_id}"
    wanted = [change.bill_at for change in subscription.changes[-1:] if change.invoices]
    end = subscription.end
    wanted += [end.bill_at] if end is not None and to_us(end.at) <= group.now_us else []
    soon = group.now_us + MOMENTS_US
    return max([group.now_us, *(at for at in map(to_us, wanted) if at <= soon)])


# ---------------------------------------------------------------------------------- test clocks


def advance(to: datetime, actor: str | None, before: Portion | None = None) -> CommandJob[Portion]:
    """Move the test clock on to an instant, doing on the way what falls due, each at its instant.

    This is a job for the writer that does one portion; as long as there is more, another one goes
    on where the one `before` it ended. Fails with `Rejected` when the clock cannot be moved there.
    """

    def run(group: Group) -> Portion:
        if before is None:
            _advanced(group, to)
        until_us = to_us(to)
        portion = run_due(
            group,
            until_us,
            actor,
            failed=before.failed if before else (),
            on_the_way=lambda at_us: _move(group, at_us, actor),
        )
        if not portion.more:
            _move(group, until_us, actor)
        return portion

    return CommandJob(run, actor)


def _move(group: Group, at_us: int, actor: str | None) -> None:
    """Put the clock forward to an instant, unless it is there or past it already."""
    if at_us <= group.now_us:
        return
    found, events = _advanced(group, from_us(at_us))
    group.now_us = at_us
    for event in events:
        group.append(found.state.id, found.version + 1, event, actor)


def _advanced(group: Group, to: datetime) -> tuple[current.Found, list[Event]]:
    """The ledger, and what moving its clock to an instant comes to. Raises `Rejected`."""
    found = current.ledger(group.views)
    facts = ledgers.Facts(id=found.state.id, at=from_us(group.now_us))
    return found, ledgers.decide(found.state, AdvanceClock(to=to), facts)


# ----------------------------------------------------------------------------- the system's clock


class Worker:
    """Does what falls due on the system's clock, for as long as a server runs."""

    def __init__(self, ledger: "Ledger") -> None:
        self._ledger = ledger
        self._failed: dict[Due, datetime] = {}

    async def run(self) -> None:
        """Catch up with what fell due meanwhile, then do everything when it falls due."""
        loop, written = asyncio.get_running_loop(), asyncio.Event()
        with self._ledger.writer.listening(lambda: loop.call_soon_threadsafe(written.set)):
            await self._work(written)

    async def _work(self, written: asyncio.Event) -> None:
        """Do what is due and sleep, in turns, until the ledger closes."""
        while True:
            written.clear()
            try:
                # Looked at beside the writer, who has nothing to do with it while nothing is due.
                wait = await asyncio.to_thread(self._until_next)
                if not wait:
                    await self.catch_up()
                    continue
            except Closed:
                return
            except Exception:  # noqa: BLE001  # whatever it was, the next look may go well
                _log.exception("could not look for what is due")
                wait = LOOK_AGAIN
            # Not `wait_for`: before Python 3.12 it may take no notice of being cancelled.
            with suppress(TimeoutError):
                async with asyncio.timeout(wait.total_seconds()):
                    await written.wait()

    async def catch_up(self) -> None:
        """Do everything that is due by now, a portion at a time: others have their turn between."""
        resting = failed = self._resting()
        more = True
        while more:
            before = failed
            portion = await self._ledger.writer.ask(_due_now(failed))
            measures = self._ledger.writer.measures
            measures.worker_runs.inc()
            measures.worker_failures.inc(len(portion.failed - before))
            failed, more = portion.failed, portion.more
        retry_at = self._ledger.clock.now() + RETRY
        self._failed = {due: self._failed[due] if due in resting else retry_at for due in failed}

    def _resting(self) -> frozenset[Due]:
        """What failed and is not tried again yet."""
        now = self._ledger.clock.now()
        return frozenset(due for due, retry_at in self._failed.items() if retry_at > now)

    def _until_next(self) -> timedelta:
        """How long there is nothing to do."""
        now, resting = self._ledger.clock.now(), self._resting()
        with self._ledger.snapshot() as views:
            due = due_work.first(views, to_us(END_OF_TIME), without=resting)
        return min(LOOK_AGAIN, max(timedelta(), due.at - now)) if due else LOOK_AGAIN


def _due_now(failed: Iterable[Due]) -> CommandJob[Portion]:
    """A portion of what is due at present, as a job for the writer."""
    return CommandJob(lambda group: run_due(group, group.now_us, ACTOR, failed=failed), ACTOR)
