"""Read a whole ledger as it lies in its file, and note whatever is not as it was written.

Each event is held to its hash, to what stands beside it, and to the views: they are folded aside
as the log is read, and each invoice is decided again from them just before the event that issued
it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from itertools import groupby
from pathlib import Path

import msgspec

from app import checkpoints, identity_checks, invoice_facts, stored
from app.chain import GENESIS, chain_hash
from app.checkpoints import Checkpoint
from app.folding_ahead import Examined, Examiners
from app.identity_checks import Identities
from app.live_views import Live
from app.store import CorruptLedger, Store
from app.stored import Row
from domain import invoices
from domain.decider import Recorded
from domain.invoices import FinalizeInvoice, Invoice, InvoiceFinalized
from projections import current, differences, engine
from projections.ahead import Part, handed_over
from projections.engine import Engine
from projections.tables import Views

FINDINGS_LIMIT = 20
"""How many findings with the same code are told at most; the first are enough to know."""

Progress = Callable[[int, int], None]
"""Is told how far the log was read, and how far it goes."""


class Finding(msgspec.Struct, frozen=True):
    """Something that is not as it was written, and where in the ledger."""

    position: int | None
    code: str
    message: str


class Reading:
    """One reading of a ledger, from its first event on.

    It is sound for as long as every event is as it was written; after that nothing is folded, for
    what it would come to says nothing.
    """

    def __init__(
        self, store: Store, folded: Engine, progress: Progress | None, others: Examiners | None
    ) -> None:
        self.findings: list[Finding] = []
        self.position = 0
        self.invoices = 0
        self.head: bytes | None = GENESIS
        self._kept: bytes | None = GENESIS
        self._identities = 0
        self._sound = True
        self._store = store
        self._kept_of = stored.Identities(store)
        self._progress = progress
        self._folded = folded
        self._others = others

    def read_all(self, live: Live) -> bool:
        """Read up to the present end and compare; return whether the live views are the same."""
        try:
            log_end, chain_start, chain_end = stored.ends(self._store)
            self._advance(min(log_end, chain_end))
            if not self.position == log_end == chain_end:
                message = (
                    f"the log can be read up to {self.position}; it ends at {log_end}, the chain "
                    f"of its hashes at {chain_end}"
                )
                self._break(self.position + 1, "HEAD_DIFFERS", message)
            if chain_start < 1:
                self._find(chain_start, "CHAIN_BROKEN", "a hash stands where no event can be")
            equal = self._sound and self._compare(live)
            if self._sound:
                self._count_identities()
        except CorruptLedger as error:
            self._find(self.position + 1, "EVENT_UNREADABLE", str(error))
            return False
        return equal

    # ------------------------------------------------------------------------------- the chain

    def _advance(self, until: int) -> None:
        """Read on up to a position, with the help of other processes if there are any."""
        if self._others is not None and self._sound:
            for part, future in handed_over(self._others, self._parts(self._others, until)):
                if future is None or not self._take(part, future):
                    self._read(part.until)
                if self._progress is not None:
                    self._progress(self.position, until)
        self._read(until)

    def _parts(self, others: Examiners, until: int) -> Sequence[Part]:
        try:
            return list(others.parts(self.position, until))
        except Exception:  # noqa: BLE001  # whatever it is, it is found as everything is read in order
            return []

    def _take(self, part: Part, future: "Future[Examined | None]") -> bool:
        """Take what was found in a part, if it follows, and all of it is as it was written."""
        try:
            examined = future.result()
        except Exception:  # noqa: BLE001  # whatever it is, it is found in order
            return False
        if examined is None or not self._sound or part.after != self.position:
            return False
        head = self._chained(part)
        if head is None:
            return False
        self.position, self.head, self._kept = part.until, head, head
        self._note_identities(examined.identities)
        with self._folded.database.transaction():
            taken = self._folded.take(examined.run)
        if not taken:
            self._fold(list(self._store.read(part.after, part.until)))
        return True

    def _chained(self, part: Part) -> bytes | None:
        """The hash at the end of a part; None if anything in it does not follow."""
        head, position = self.head, self.position
        if head is None or head != self._kept:
            return None
        for page in stored.pages(self._store, part.after, part.until):
            for row in page:
                position += 1
                if not row.readable or row.position != position:
                    return None
                head = chain_hash(head, row)
                if head != row.hash:
                    return None
        return head if position == part.until else None

    def _read(self, until: int) -> None:
        """Read on up to a position, event by event."""
        if until <= self.position:
            return
        for page in stored.pages(self._store, self.position, until):
            recorded = list(self._linked(page))
            self._check_identities(recorded)
            self._check_keys(recorded)
            self._fold(recorded)
            if self._progress is not None:
                self._progress(self.position, until)

    def _linked(self, page: Sequence[Row]) -> Iterator[Recorded]:
        """The events of a page as facts, for as long as each one is as it was written."""
        for row in page:
            if row.position < 1:
                self._break(row.position, "CHAIN_BROKEN", "an event stands where none can be")
                continue
            if row.position != self.position + 1:
                missing = self.position + 1
                message = f"position {missing} is missing; {row.position} follows"
                self._break(missing, "POSITION_MISSING", message)
                self.head = None
                self._kept = stored.hash_at(self._store, row.position - 1)
            self.position = row.position
            self._link(row)
            if self._sound:
                try:
                    recorded = self._store.decoded(row.position, row)
                except (CorruptLedger, ValueError, TypeError, KeyError) as error:
                    self._break(row.position, "EVENT_UNREADABLE", str(error))
                else:
                    yield recorded

    def _link(self, row: Row) -> None:
        """Whether an event hashes to what stands beside it, after what was kept or computed."""
        before = [hash for hash in {self.head, self._kept} if hash is not None]
        computed = {hash: chain_hash(hash, row) for hash in before if row.readable}
        if not row.readable:
            self._break(row.position, "EVENT_UNREADABLE", "a column is not of the type written")
        elif before and row.hash not in computed.values():
            message = "the stored event does not hash to what was written beside it"
            self._break(row.position, "CHAIN_BROKEN", message)
        self.head = row.hash if row.hash in computed.values() else None
        if self.head is None and self._kept in computed:
            self.head = computed[self._kept]
        self._kept = row.hash

    # ----------------------------------------------------------------------- what stands beside

    def _check_identities(self, page: Sequence[Recorded]) -> None:
        self._note_identities(identity_checks.check(self._kept_of, page))

    def _note_identities(self, found: Identities) -> None:
        self._identities += found.kept
        for one in found.wrong:
            self._find(*one)

    def _count_identities(self) -> None:
        kept = stored.count_identities(self._store, self.position)
        if kept > self._identities:
            message = f"{kept - self._identities} identities of usage records that no event brought"
            self._find(None, "IDENTITY_UNKNOWN", message)

    def _check_keys(self, page: Sequence[Recorded]) -> None:
        """Each command's idempotency key is kept, or the command could be carried out again.

        A key may also stand alone, when what it asked for was true already.
        """
        wanted = {one.envelope.idempotency_key for one in page} - {None}
        kept = stored.keys(self._store, [key for key in wanted if key is not None])
        for recorded in page:
            key, id = recorded.envelope.idempotency_key, recorded.stream_id
            if key is None:
                continue
            if key not in kept:
                message = f"idempotency key {key!r} is not kept for {id}"
                self._find(recorded.position, "KEY_MISSING", message)
                continue
            subject, position = kept[key]
            later = isinstance(position, int) and position >= recorded.position
            if subject != id.encode() or not later:
                message = f"idempotency key {key!r} leads elsewhere than to {id}"
                self._find(recorded.position, "KEY_DIFFERS", message)

    # ------------------------------------------------------------------- the views and invoices

    def _fold(self, page: Sequence[Recorded]) -> None:
        """Fold a page aside, deciding each invoice again before it is folded."""
        folding = 0

        def noted(all: Iterable[Recorded]) -> Iterator[Recorded]:
            nonlocal folding
            for recorded in all:
                folding = recorded.position
                yield recorded

        with self._folded.database.transaction() as views:
            try:
                for is_invoice, run in groupby(noted(page), key=_issues_an_invoice):
                    if not is_invoice:
                        self._folded.apply(run)
                        continue
                    for one in run:
                        self._check_invoice(views, one)
                        self._folded.apply([one])
            except Exception as error:  # noqa: BLE001  # whatever it is, it is a finding
                message = f"it cannot be folded: {type(error).__name__} {error}"
                self._break(folding, "EVENT_UNREADABLE", message)

    def _check_invoice(self, views: Views, recorded: Recorded) -> None:
        """An invoice that is issued again, from what the ledger said then, says the same."""
        position, event = recorded.position, recorded.event
        assert isinstance(event, InvoiceFinalized), f"no invoice is issued at {position}"
        self.invoices += 1
        command = FinalizeInvoice(invoice_id=event.id)
        try:
            draft = current.get(views, Invoice, event.id)
            facts = invoice_facts.invoice(views, command, event.id, event.finalized_at)
            decided = invoices.decide(draft, command, facts)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is a finding
            message = f"{event.id} cannot be derived again: {type(error).__name__} {error}"
            self._find(position, "INVOICE_DIFFERS", message)
            return
        if decided == [event]:
            return
        names = [
            field
            for field in event.__struct_fields__
            if any(getattr(again, field) != getattr(event, field) for again in decided)
        ]
        what = f"another {', '.join(names)}" if names else "nothing"
        self._find(position, "INVOICE_DIFFERS", f"{event.id}, derived again, has {what}")

    def _compare(self, live: Live) -> bool:
        """Whether the live views are what was folded, at the position where they stand now."""
        try:
            with live(self.position) as views:
                self._advance(views.checkpoint())
                difference = self._first_difference(views) if self._sound else "not compared"
        except CorruptLedger:
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, it is a finding
            difference = f"the views cannot be read: {type(error).__name__} {error}"
        if difference is not None and self._sound:
            self._find(None, "PROJECTION_DIFFERS", difference)
        return difference is None

    def _first_difference(self, live: Views) -> str | None:
        """The first line in which the live views differ from those folded aside."""
        at = live.checkpoint()
        if at != self.position:
            return f"the views are folded up to {at}, the ledger ends at {self.position}"
        with self._folded.database.snapshot() as aside:
            found = differences.first_difference(live, aside, engine.TABLES)
        if found is None:
            return None
        return f"{found.table}: the views say {found.one!r}, the ledger {found.other!r}"

    # ------------------------------------------------------------------------------ checkpoints

    def compare_checkpoints(
        self, directory: Path, signed: Sequence[Checkpoint] | None, public_key: bytes | None
    ) -> int:
        """Hold the ledger to what was signed before; return how many checkpoints hold."""
        try:
            if signed is None:
                signed = checkpoints.read(directory / checkpoints.FILE)
            trusted = public_key or checkpoints.public_key(directory)
        except ValueError as error:
            self._find(None, "CHECKPOINT_INVALID", str(error))
            return 0
        held = 0
        ledger_id = stored.ledger_id(self._store)
        for one in signed:
            kept = stored.hash_at(self._store, one.position)
            if wrong := checkpoints.wrong(one, trusted):
                self._find(one.position, "CHECKPOINT_INVALID", wrong)
            elif one.ledger_id != ledger_id:
                message = f"it is a checkpoint of {one.ledger_id}, this ledger is {ledger_id}"
                self._find(one.position, "CHECKPOINT_INVALID", message)
            elif kept is None or kept.hex() != one.hash:
                message = f"at {one.at} this position was there with hash {one.hash}"
                self._find(one.position, "CHECKPOINT_DIFFERS", message)
            else:
                held += 1
        return held

    def _break(self, position: int, code: str, message: str) -> None:
        """Something by which the log itself is not as it was written."""
        self._sound = False
        self._find(position, code, message)

    def _find(self, position: int | None, code: str, message: str) -> None:
        if sum(finding.code == code for finding in self.findings) < FINDINGS_LIMIT:
            self.findings.append(Finding(position, code, message))


def _issues_an_invoice(recorded: Recorded) -> bool:
    return isinstance(recorded.event, InvoiceFinalized)
