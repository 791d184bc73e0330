"""Verify that nothing was touched: the chain, what stands beside it, the views, the invoices.

The log is read once, in order, and folded into views aside. Each invoice is decided again from
them just before the event that issued it, which is its pinned position; at the end they are
compared with the live views at the same position. Nothing here stops a server from writing.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from functools import partial
from pathlib import Path

import msgspec

from app import live_views, stored
from app.checkpoints import Checkpoint
from app.folding_ahead import Examiners, examiners, worth_it
from app.jobs import Busy
from app.ledger import Ledger
from app.live_views import Live
from app.lock import LedgerInUse, hold
from app.opening import open_store, views_of
from app.reading import Finding, Progress, Reading
from app.store import Store
from projections import engine
from projections.engine import Engine
from projections.places import Place

WithOthers = Callable[[Store, Path], AbstractContextManager[Examiners]]
"""Has the help of other processes for the views that are folded at a path."""


class VerificationRunning(Busy):
    """This ledger is being verified already."""


class Verification(msgspec.Struct, frozen=True):
    """What re-reading the whole ledger showed; `checkpoints` of those signed before still hold."""

    events: int
    head_hash: str
    projections_equal: bool
    invoices: int
    checkpoints: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether everything is as it was written."""
        return not self.findings


def verify(
    directory: Path,
    progress: Progress | None = None,
    signed: Sequence[Checkpoint] | None = None,
    public_key: bytes | None = None,
    place: Place | None = None,
) -> Verification:
    """Verify a ledger that a server may hold, against checkpoints: by default those beside it.

    Raises `VerificationRunning`.
    """
    views = views_of(directory, place)
    try:
        store = open_store(directory, place, exclusive=place is None)
    except LedgerInUse:
        store, live = open_store(directory, place, exclusive=False), live_views.served(views)
    else:
        # In a database others may write at any time, and keep the views as they write.
        at_rest = place is None
        live = live_views.at_rest(views, store) if at_rest else live_views.served(views)
    try:
        return _verify(
            directory,
            store,
            live,
            progress,
            signed,
            public_key,
            partial(examiners, place=place) if worth_it(store, place) else None,
        )
    finally:
        store.close()


def verify_open(ledger: Ledger) -> Verification:
    """Verify a ledger that this process has open. Raises `VerificationRunning`."""
    snapshot = ledger.snapshot
    return _verify(ledger.directory, ledger.store, lambda at: live_views.caught_up(snapshot, at))


def _verify(
    directory: Path,
    store: Store,
    live: Live,
    progress: Progress | None = None,
    signed: Sequence[Checkpoint] | None = None,
    public_key: bytes | None = None,
    with_others: WithOthers | None = None,
) -> Verification:
    """One verification at a time, for there is one place for views aside."""
    try:
        alone = hold(directory / "verify.lock")
    except LedgerInUse:
        raise VerificationRunning(f"{directory} is being verified already") from None
    aside = directory / "views.verify.db"
    engine.remove(aside)
    with alone, ExitStack() as opened:
        opened.callback(engine.remove, aside)
        folded = opened.enter_context(closing(Engine(aside)))
        others = opened.enter_context(with_others(store, aside)) if with_others else None
        reading = Reading(store, folded, progress, others)
        equal = reading.read_all(live)
        held = reading.compare_checkpoints(directory, signed, public_key)
    head = reading.head or stored.hash_at(store, reading.position) or b""
    found = sorted(reading.findings, key=lambda one: (one.position is None, one.position or 0))
    return Verification(
        events=reading.position,
        head_hash=head.hex(),
        projections_equal=equal,
        invoices=reading.invoices,
        checkpoints=held,
        findings=tuple(found),
    )
