"""Being told: facts of the ledger are delivered to a URL in order, each at least once.

A thread of its own reads the ledger as any reader does, so that a receiver that is slow, down or
wrong holds up nobody who writes. The fact that was not taken is told again before any later one.
"""

import logging
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from app.clock import SystemClock, scattered
from app.delivery_marks import marks_of
from app.ledger import Ledger
from app.receiver import Address, NotTaken, Receiver, read_address, read_secret
from app.schema.scalars import as_json
from app.settings import PREFIX, Settings
from domain.decider import EVENTS, Recorded
from domain.invoices import Invoice, Status
from domain.money import format_money
from domain.periods import format_instant, from_us
from domain.usage import UsageRecorded
from projections import current, history

FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(minutes=10)
"""After how long a fact is told again: at first, and at most; each pause is twice the last."""
ALARM = timedelta(days=5)
"""How long one fact may fail before every further failure is an alarm."""
LOOK_AGAIN = timedelta(minutes=1)
"""How long it sleeps at most when nobody says that something was written."""
PARTING = timedelta(seconds=1)
"""How long a delivery that is under way may still take when telling is to stop."""
STOP = timedelta(seconds=15)
"""How long stopping waits for a delivery that cannot be ended at once."""
PENDING_LIMIT = 1_000
"""How many facts that wait to be told are counted at most."""

_ALL_OF_A_KIND = ".*"
_log = logging.getLogger("tallybook.webhooks")


@dataclass(frozen=True, slots=True)
class Hook:
    """Who is told, and of which types of facts."""

    address: Address = field(repr=False)
    key: bytes = field(repr=False)
    types: tuple[str, ...]


def read_hook(settings: Settings) -> Hook | None:
    """The hook that the settings ask for, if they do. Raises `ValueError` naming a bad setting."""
    if settings.webhook_url is None:
        return None
    return Hook(
        _setting("WEBHOOK_URL", read_address, settings.webhook_url),
        _setting("WEBHOOK_SECRET", read_secret, settings.webhook_secret or ""),
        _setting("WEBHOOK_TYPES", read_types, settings.webhook_types),
    )


def _setting(name: str, read: Any, text: str) -> Any:
    """What a setting says. Raises `ValueError` naming it."""
    try:
        return read(text)
    except ValueError as error:
        raise ValueError(f"{PREFIX}{name}: {error}") from None


def read_types(text: str) -> tuple[str, ...]:
    """The types of facts that a list of them stands for. Raises `ValueError` for an unknown one.

    >>> read_types("meter.*, invoice.voided")
    ('invoice.voided', 'meter.archived', 'meter.created', 'meter.revised', 'meter.updated')
    """
    known = {topic.partition("/")[0] for topic in EVENTS}
    found = set[str]()
    for wanted in text.split(","):
        name = wanted.strip()
        start = name.removesuffix("*") if name.endswith(_ALL_OF_A_KIND) else None
        fitting = {one for one in known if one == name or (start and one.startswith(start))}
        if not fitting:
            raise ValueError(f"there is no type {name!r}; there are {', '.join(sorted(known))}")
        found |= fitting
    return tuple(sorted(found))


def message(ledger: Ledger, recorded: Recorded) -> bytes:
    """A fact as it is delivered: as `ledgerEvents` shows it, and the invoice as it now stands."""
    type, _, version = recorded.event.topic.partition("/")
    said: dict[str, object] = {
        "position": str(recorded.position),
        "type": type,
        "version": int(version),
        "subjectId": recorded.stream_id,
        "recordedAt": format_instant(from_us(recorded.envelope.recorded_at_us)),
        "actor": recorded.envelope.actor,
        "data": as_json(recorded.event),
    }
    if recorded.stream_id.startswith(f"{current.KIND_OF[Invoice].prefix}_"):
        with ledger.snapshot() as views:
            invoice = current.get(views, Invoice, recorded.stream_id)
        assert invoice is not None, f"{recorded.stream_id} has a fact and was never drafted"
        said["invoice"] = _standing(invoice)
    return msgspec.json.encode(said)


def _standing(invoice: Invoice) -> dict[str, str | None]:
    """What collecting an invoice needs to know of it; what a draft comes to is still open."""
    due = format_money(invoice.amount_due, invoice.currency)
    return {
        "id": invoice.id,
        "number": invoice.printed_number,
        "status": invoice.status.value,
        "amountDue": None if invoice.status is Status.DRAFT else due,
        "currency": invoice.currency,
        "customerId": invoice.customer_id,
        "subscriptionId": invoice.subscription_id,
    }


class Delivery:
    """Tells a receiver what is recorded in a ledger, from the moment that it was first wanted."""

    def __init__(self, ledger: Ledger, hook: Hook) -> None:
        self._ledger = ledger
        self._hook = hook
        self._receiver = Receiver(hook.address, hook.key)
        self._marks = marks_of(ledger.directory, ledger.store)
        self._mark = self._marks.resume()
        self._seen = self._mark.position
        self._written = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tallybook-webhooks", daemon=True)

    def start(self) -> None:
        """Begin to tell, in a thread of its own."""
        told = self._hook.types
        _log.info(
            "telling %s of %s after position %s", self._receiver.origin, ", ".join(told), self._seen
        )
        self._thread.start()

    def stop(self) -> None:
        """End soon, also in the middle of a delivery; what was not taken is told next time."""
        self._stopping.set()
        self._written.set()
        self._thread.join(PARTING.total_seconds())
        self._receiver.close()
        self._thread.join(STOP.total_seconds())
        if self._thread.is_alive():
            _log.warning("the delivery to %s does not end", self._receiver.origin)

    def pending(self) -> int:
        """How many facts are still to be told, at most as many as are counted."""
        with self._ledger.snapshot() as views:
            types, after = self._hook.types, self._seen
            return len(history.positions(views, None, types, after=after, limit=PENDING_LIMIT))

    def _run(self) -> None:
        usage = UsageRecorded.topic.partition("/")[0] in self._hook.types
        with self._ledger.writer.listening(self._written.set, usage=usage):
            while not self._stopping.is_set():
                self._written.clear()
                try:
                    recorded = self._next()
                    if recorded is not None:
                        self._tell(recorded)
                        continue
                except Exception:  # noqa: BLE001  # whatever it was, the next look may go well
                    _log.exception("could not tell what comes after position %s", self._seen)
                    self._stopping.wait(LOOK_AGAIN.total_seconds())
                    continue
                self._written.wait(LOOK_AGAIN.total_seconds())

    def _next(self) -> Recorded | None:
        """The first fact that is wanted and was not told yet."""
        with self._ledger.snapshot() as views:
            found = history.positions(views, None, self._hook.types, after=self._seen, limit=1)
            if not found:
                self._seen = views.checkpoint()  # what is not wanted need not be looked at again
                return None
        return self._ledger.store.at(found[0])

    def _tell(self, recorded: Recorded) -> None:
        """Tell one fact until it is taken, or until there is no time left."""
        pause, mark = FIRST_PAUSE, self._marks.at(recorded.position)
        id = f"{self._ledger.state.id}.{recorded.position}"
        while not self._stopping.is_set():
            try:
                self._receiver.tell(id, message(self._ledger, recorded))
            except NotTaken as why:
                if self._stopping.is_set():
                    return
                self._ledger.writer.measures.webhook_failures.inc()
                wait = scattered(pause)
                self._failed(recorded.position, why, wait)
                self._stopping.wait(wait.total_seconds())
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                self._marks.keep(mark)
                self._mark, self._seen = mark, recorded.position
                self._ledger.writer.measures.webhook_deliveries.inc()
                return

    def _failed(self, position: int, why: NotTaken, wait: timedelta) -> None:
        """Say that a fact was not taken, and note since when: a restart is no fresh start."""
        now, origin = SystemClock().now(), self._receiver.origin
        since = self._mark.failing_since
        if since is None:
            since = now
            self._mark = replace(self._mark, failing_since=since)
            self._marks.keep(self._mark)
        if now - since < ALARM:
            said = "%s did not take position %s: %s; it is told again in %.1f s"
            _log.warning(said, origin, position, why, wait.total_seconds())
            return
        said = "%s has not taken position %s since %s: %s. Whatever was recorded after it waits"
        _log.critical(said, origin, position, format_instant(since), why)
