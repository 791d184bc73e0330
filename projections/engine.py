"""Keeping the views in step with the ledger: apply, catch up, rebuild aside and swap.

A fact and the checkpoint that says it was folded go into one transaction, so that after a crash
the views are at some position of the ledger, never between two.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice

from msgspec import UNSET

from domain.customers import CustomerCreated, CustomerUpdated
from domain.decider import Recorded
from domain.meters import Meter, MeterCreated, MeterRevised
from domain.usage import UsageRecorded
from domain.usage_corrections import UsageAmended, UsageVoided
from projections import (
    ahead,
    billed_usage,
    buckets,
    current,
    due_work,
    fresh_usage,
    history,
    invoice_items,
    invoices,
    usage_blocks,
    usage_corrections,
    usage_records,
    views_at,
)
from projections.ahead import Others, Run
from projections.buckets import Folding
from projections.matched_columns import MatchedColumns
from projections.needed_properties import Needs, needs
from projections.places import W, Where
from projections.recounts import recount
from projections.tables import Table, Views, ViewsDatabase
from projections.usage_corrections import Counted
from projections.usage_fold import UsageFold
from projections.usage_records import MeterRef, Placed

CODE_VERSION = 15
"""Counts up when what a fold does changes without its tables changing; then views are rebuilt."""

TABLES: Sequence[Table] = (
    *current.TABLES,
    *history.TABLES,
    *invoices.TABLES,
    *invoice_items.TABLES,
    *usage_records.TABLES,
    *usage_corrections.TABLES,
    *fresh_usage.TABLES,
    *buckets.TABLES,
    *billed_usage.TABLES,
    *due_work.TABLES,
)
_CATCH_UP_EVENTS = 500
"""Facts folded to a transaction; the days that they add to wait in memory until its end."""

remove, swap = views_at.remove, views_at.swap
"""Views are removed, and take the place of others, wherever they are kept."""

Read = Callable[[int], Iterable[Recorded]]
"""Reads every event after a position, in order."""
ReadPart = Callable[[int, int], Iterable[Recorded]]
"""Reads every event after a position and up to another one, in order."""


class Engine:
    """The views of one ledger and what keeps them true. Writing is for one thread."""

    def __init__(self, path: Where) -> None:
        self.path = path
        self.database = _open(path)
        self._usage = UsageFold()

    def close(self) -> None:
        """Close the views."""
        self.database.close()

    def forget(self, *, usage_only: bool = False) -> None:
        """Trust nothing remembered, after a transaction was undone or somebody else wrote.

        Where they wrote nothing but usage, only what usage adds to.
        """
        (self._usage.forget_usage if usage_only else self._usage.forget)()

    def apply(self, recorded: Iterable[Recorded]) -> None:
        """Fold facts that were just decided, within the writer's open transaction.

        Usage among them stays fresh for a while (`fresh_usage.py`).
        """
        if position := self._apply(recorded, fresh=True):
            self._stands_at(position)

    def take_turns(self, position: int) -> None:
        """Bring some days up to date before usage is folded, which is bound to come now."""
        self._usage.fresh.take_turns(self.database.writing, position)

    def _apply(self, recorded: Iterable[Recorded], *, fresh: bool) -> int | None:
        """Fold facts; the answer is the position of the last one."""
        views = self.database.writing
        position = None
        for one in recorded:
            if position is None:  # what brings nothing changes nothing: nobody would hear of it
                self.take_turns(one.position - 1) if fresh else self._settle()
            position = one.position
            if isinstance(one.event, UsageRecorded):
                history.apply_batch(views, one)
                late = self._usage.match_batch(views, position, one.event, fresh=fresh)
                self._adjust(views, late, one)
            else:
                self._usage.folding.write(views)
                self._apply_one(views, one)
        self._usage.folding.write(views)
        return position

    def _stands_at(self, position: int) -> None:
        """Note up to which position the views are folded."""
        views = self.database.writing
        views.note({**self._usage.fresh.noted(), "position": position})

    def _apply_one(self, views: Views, one: Recorded) -> None:
        """Fold any fact."""
        if isinstance(one.event, MeterCreated | MeterRevised):  # what is fresh is of those before
            self._usage.fresh.settle_all(views, one.position)
        current.apply(views, one)
        history.apply(views, one)
        invoices.apply(views, one)
        invoice_items.apply(views, one)
        touched = billed_usage.apply(views, one, self._usage.billed_until)
        due_work.apply(views, one)
        touched |= self._apply_usage(views, one)
        self._adjust(views, touched, one)

    def _adjust(self, views: Views, subscriptions: Iterable[str], one: Recorded) -> None:
        for id in sorted(subscriptions):
            due_work.adjust(views, id, one.envelope.recorded_at_us)

    def recall(self, placed: Sequence[Placed]) -> set[str]:
        """Fold usage records, each at its place in the ledger.

        The answer is the subscriptions that they come late for.
        """
        views = self.database.writing
        late = self._usage.match(views, placed)
        self._usage.folding.write(views)
        return late

    def catch_up(self, read: Read, progress: Callable[[int], None] | None = None) -> None:
        """Fold whatever the ledger holds beyond the checkpoint."""
        at = -1
        events: Iterator[Recorded] = iter(())
        position: int | None = 0
        while position is not None:
            with self.database.transaction() as views:
                if views.checkpoint() != at:  # at first, and when somebody else folded meanwhile
                    self.forget()
                    at = views.checkpoint()
                    events = iter(read(at))
                # One at a time, so that each is folded while it is at hand, and then forgotten.
                position = self._apply(islice(events, _CATCH_UP_EVENTS), fresh=False)
                if position is not None:
                    self._went_by(position)
                    at = position
            if progress is not None and position is not None:
                progress(position)

    def catch_up_with(
        self,
        others: Others,
        read: ReadPart,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """As `catch_up`, while other processes fold the parts that come next."""
        parts = others.parts(self.database.writing.checkpoint())
        for part, future in ahead.handed_over(others, parts):
            run = future.result() if future else None
            with self.database.transaction():
                self._settle()
                if run is None or not self.take(run):
                    self._apply(read(part.after, part.until), fresh=False)
                self._went_by(part.until)
            if progress is not None:
                progress(part.until)

    def take(self, run: Run) -> bool:
        """Add what was folded ahead, within the writer's open transaction.

        The answer is whether that is still what folding it now would come to.
        """
        return ahead.add(self.database.writing, self._usage, run)

    def _settle(self) -> None:
        """Let nothing be fresh before facts are folded that were not just decided."""
        views = self.database.writing
        if fresh_usage.standing(views) is not None:
            self._usage.fresh.settle_all(views, views.checkpoint())
            views.note(self._usage.fresh.noted())

    def _went_by(self, position: int) -> None:
        """Facts up to a position were added to days as they came."""
        self._usage.fresh.went_by(self.database.writing, position)
        self._stands_at(position)

    def follow(
        self,
        head: Callable[[], int],
        read: Read,
        hash_at: Callable[[int], bytes | None],
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Be the views of this ledger as it stands: made anew when they were those of another."""
        if not self.follows(head, hash_at):
            self.start_over()
        self.catch_up(read, progress)
        self.seal(hash_at)

    def follows(self, head: Callable[[], int], hash_at: Callable[[int], bytes | None]) -> bool:
        """Whether these views were folded from this ledger, and from no more than it holds."""
        views = self.database.writing
        sealed = views.meta("sealed_position")
        if views.checkpoint() > head():  # asked in this order: others may be writing
            return False
        return sealed is None or views.meta("sealed_hash") == hash_at(sealed)

    def start_over(self) -> None:
        """Throw the views away; the next catch-up makes them anew."""
        self.database.close()
        remove(self.path)
        self.database = _open(self.path)
        self.forget()

    def seal(self, hash_at: Callable[[int], bytes | None]) -> None:
        """Note which ledger these views were folded from, by the chain's hash at the checkpoint."""
        with self.database.transaction() as views:
            position = views.checkpoint()
            if position:
                views.set_meta("sealed_position", position)
                views.set_meta("sealed_hash", hash_at(position))

    def take_over(self, aside: Where, read: Read, hash_at: Callable[[int], bytes | None]) -> None:
        """Go on with views that were rebuilt aside, brought up to date, in the place of these.

        It is done between two transactions. Whoever is reading goes on reading the old ones to the
        end. Raises `BlockingIOError` when somebody is just opening them; then nothing is changed.
        """
        rebuilt = Engine(aside)
        try:
            rebuilt.catch_up(read)
            rebuilt.seal(hash_at)
        finally:
            rebuilt.close()
        swap(aside, self.path)
        old, self.database = self.database, _open(self.path)
        self.forget()
        old.close()

    # ------------------------------------------------------------------------------------ usage

    def needs(self, event_names: Iterable[str]) -> dict[str, Needs]:
        """For each name that has a meter, the properties that its meters need."""
        views = self.database.writing
        found = {
            name: self._usage.matching.meters(views, name)
            for name in filter(current.storable, event_names)
        }
        return {name: needs(meters) for name, meters in found.items() if meters}

    def known_customers(self, keys: Iterable[str]) -> set[str]:
        """Those of the keys that mean a customer."""
        wanted = set(keys)
        known = self._usage.matching.customers(self.database.writing, wanted)
        return {key for key in wanted if known[key] is not None}

    def _apply_usage(self, views: Views, recorded: Recorded) -> set[str]:
        """Fold one fact about usage; the answer is the subscriptions that it comes late for."""
        position = recorded.position
        late: set[str] = set()
        match recorded.event:
            case UsageVoided() | UsageAmended():
                self._usage.fresh.settle_record(views, recorded.event, position)
                counted = usage_corrections.apply(views, recorded, recorded.event)
                if counted is not None:
                    late = self._recount(views, position, counted)
            case MeterCreated():
                late = self._meter_appears(views, position, recorded.event)
            case MeterRevised(id=id, number=number):
                self._meter_is_revised(views, id, number)
            case CustomerCreated(id=id, external_id=external_id):
                self._usage.matching.forget()
                for key in filter(None, (id, external_id)):
                    late |= self._release(views, position, "customer", key)
            case CustomerUpdated(external_id=external_id) if external_id is not UNSET:
                self._usage.matching.forget()
                if external_id is not None:
                    late = self._release(views, position, "customer", external_id)
        return late

    def _recount(self, views: Views, position: int, counted: Counted) -> set[str]:
        """Count a corrected record anew, and let what billed it wait for an adjustment."""
        meters = self._usage.matching.meters(views, counted.event_name)
        for meter in meters:
            recount(views, self._usage.folding, meter, counted)
        contents = tuple(filter(None, (counted.before, counted.after)))
        late = [contents] if self._usage.late(views, contents) else []
        return billed_usage.come_late(views, position, meters, late)

    def _release(self, views: Views, position: int, field: str, value: str) -> set[str]:
        """Match records that were waiting for this; those that still wait stay where they are."""
        held = usage_records.take_unmatched(views, field, value)
        ready = [
            (at, row, record)
            for at, row, record in held
            if self._usage.matching.meters(views, record.event_name)
            and self._usage.matching.customer(views, record.customer) is not None
        ]
        refs = {self._usage.matching.customer(views, one.customer) or 0 for _, _, one in ready}
        self._usage.fresh.settle_customers(views, refs, position)
        touched = self._usage.match(views, ready, position)
        usage_records.release_unmatched(views, ((at, row) for at, row, _ in ready))
        return touched

    def _meter_appears(self, views: Views, position: int, event: MeterCreated) -> set[str]:
        """A new meter sees the records that are there, matched by an older meter or waiting."""
        self._usage.matching.forget()
        meters = self._usage.matching.meters(views, event.event_name)
        if len(meters) > 1:
            _fill_meter(views, self._usage.folding, meters, meters[-1])
            return set()
        return self._release(views, position, "event_name", event.event_name)

    def _meter_is_revised(self, views: Views, id: str, number: int) -> None:
        """A new version measures the records of its time that are there, too."""
        self._usage.matching.forget()
        found = current.find(views, Meter, id)
        assert found is not None, f"{id} was revised before it was created"
        meters = self._usage.matching.meters(views, found.state.event_name)
        ref = usage_records.version_ref(found.position, number)
        newest = next(one for one in meters if one.ref == ref)
        _fill_meter(views, self._usage.folding, meters, newest)


def _fill_meter(
    views: Views, folding: Folding, meters: Sequence[MeterRef], newest: MeterRef
) -> None:
    """Give a new meter or version the records that its event name has already."""
    event = usage_records.event_ref(meters)
    for records in usage_blocks.of_name(views, event, newest.since_us, newest.until_us):
        buckets.add(views, folding, newest, MatchedColumns.of(records))


def rebuild(
    path: W,
    read: Read,
    progress: Callable[[int], None] | None = None,
    with_others: Callable[[W], AbstractContextManager[Others]] | None = None,
    read_part: ReadPart | None = None,
) -> W:
    """Fold the whole ledger into new views beside the old ones; return where they are.

    `with_others` has the help of other processes for the views at a path.
    """
    aside = views_at.aside(path)
    remove(aside)
    engine = Engine(aside)
    try:
        if with_others is None or read_part is None:
            engine.catch_up(read, progress)
        else:
            with with_others(aside) as others:
                engine.catch_up_with(others, read_part, progress)
    finally:
        engine.close()
    return aside


def stamp() -> str:
    """The version of the views that this program makes and understands."""
    return views_at.version_stamp(TABLES, CODE_VERSION)


def of_same_version(path: Where) -> ViewsDatabase:
    """Views that another process keeps, to read them. Raises `ValueError` for another version."""
    if views_at.stamp_of(path) != stamp():
        raise ValueError("they are of another version than this program")
    return views_at.open_views(path, TABLES, stamp())


def _open(path: Where) -> ViewsDatabase:
    """The views at this path; those of another version are thrown away."""
    found = views_at.stamp_of(path)
    if found != stamp():
        remove(path)
    database = views_at.open_views(path, TABLES, stamp())
    if found != stamp():
        database.writing.set_meta("stamp", stamp())
    return database
