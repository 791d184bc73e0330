"""Everything that reads the log again: rebuild the views, verify that nothing was touched."""

from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path

import msgspec

from app.chain import GENESIS, chain_hash
from app.ledger import VIEWS
from app.store import CorruptLedger, Store
from domain.usage import UsageRecorded
from projections import engine
from projections.engine import Engine

Progress = Callable[[int], None]


class Finding(msgspec.Struct, frozen=True):
    """Something that is not as it was written, and where in the ledger."""

    position: int | None
    code: str
    message: str


class Verification(msgspec.Struct, frozen=True):
    """What re-reading the whole ledger showed."""

    events: int
    head_hash: str
    projections_equal: bool
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether everything is as it was written."""
        return not self.findings


def replay(directory: Path, progress: Progress | None = None) -> int:
    """Fold the whole ledger into new views and swap them in; return the events read.

    Raises `LedgerInUse` when a server holds the ledger.
    """
    store = Store(directory)
    try:
        views = directory / VIEWS
        engine.swap(engine.rebuild(views, store.read, progress), views)
        return store.head()[0]
    finally:
        store.close()


def verify(directory: Path, progress: Progress | None = None) -> Verification:
    """Check the hash chain from end to end, and the views against a rebuild of them.

    Raises `LedgerInUse` when a server holds the ledger.
    """
    store = Store(directory)
    try:
        found = findings(store, progress)
        equal = False
        if not found:
            difference = _first_difference(directory / VIEWS, store)
            equal = difference is None
            if difference is not None:
                found.append(Finding(None, "VIEWS_DIFFER", difference))
        position, head = store.head()
        return Verification(position, head.hex(), equal, tuple(found))
    finally:
        store.close()


def findings(store: Store, progress: Progress | None = None) -> list[Finding]:
    """What is wrong with a log: with its chain, or else with what is kept beside its events."""
    return _check_chain(store, progress) or list(_lost_identities(store))


def _check_chain(store: Store, progress: Progress | None) -> list[Finding]:
    """What is wrong with the chain, or with reading it."""
    findings: list[Finding] = []
    try:
        findings.extend(_broken_links(store, progress))
    except CorruptLedger as error:
        findings.append(Finding(None, "UNREADABLE", str(error)))
    return findings


def _broken_links(store: Store, progress: Progress | None) -> Iterator[Finding]:
    """The first position whose stored bytes, order or hash is not what the chain says."""
    head, expected = GENESIS, 1
    for position, stored, kept in store.stored():
        if position != expected:
            message = f"position {expected} is missing; {position} follows"
            yield Finding(expected, "POSITION_MISSING", message)
            return
        head = chain_hash(head, stored)
        if head != kept:
            message = "the stored event does not hash to what was written beside it"
            yield Finding(position, "HASH_MISMATCH", message)
            return
        expected += 1
        if progress is not None:
            progress(position)
    if store.head()[0] != expected - 1:
        yield Finding(expected, "POSITION_MISSING", "the chain is longer than the log")


def _lost_identities(store: Store) -> Iterator[Finding]:
    """The first identity or idempotency key that an event brought and that is not kept.

    What it belongs to could be sent, or done, again. A key may also stand alone, when what it asked
    for was true already.
    """
    records = 0
    for recorded in store.read():
        key = recorded.envelope.idempotency_key
        kept = None if key is None else store.key(key)
        if key is not None and (kept is None or kept.subject != recorded.stream_id):
            message = f"idempotency key {key!r} is not kept for {recorded.stream_id}"
            yield Finding(recorded.position, "KEY_MISSING", message)
            return
        if not isinstance(recorded.event, UsageRecorded):
            continue
        identities = [(record.source, record.id) for record in recorded.event.records]
        records += len(identities)
        taken = store.recorded(identities)
        for source, id in identities:
            prior = taken.get((source, id))
            if prior is None or prior.position != recorded.position:
                message = f"the identity of usage record {id!r} of {source!r} is not kept"
                yield Finding(recorded.position, "IDENTITY_MISSING", message)
                return
    if store.count_identities() != records:
        message = "there are identities of usage records that no event brought"
        yield Finding(None, "IDENTITIES_DIFFER", message)


def _first_difference(path: Path, store: Store) -> str | None:
    """The first line in which the views differ from a rebuild of them, None when there is none."""
    live = Engine(path)
    aside = engine.rebuild(path, store.read)
    anew = Engine(aside)
    try:
        live.catch_up(store.read)
        for kept, made in zip_longest(live.database.dump(), anew.database.dump()):
            if kept != made:
                return f"the views say {kept!r}, the ledger {made!r}"
        return None
    finally:
        live.close()
        anew.close()
        engine.remove(aside)
