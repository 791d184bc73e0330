"""What is answered for usage records: a receipt each, made only when somebody looks at it.

Where everything was accepted, most senders want to know no more than how many there are.
"""

from collections.abc import Sequence
from itertools import chain, repeat
from typing import overload

from app.identities import IdentityRow, IdentityRun
from app.jobs import Receipt
from domain.usage import BATCH_RECORDS, Decided, Status, UsageRecorded, Verdict
from domain.usual_usage import Accepted


class Written(Sequence[Receipt]):
    """The receipts of records that were all accepted, `rows` of those that were decided together.

    The first thousand stand in the event at `position`, the next in the one after it.
    """

    __slots__ = ("_accepted", "_position", "_rows")

    def __init__(self, accepted: Accepted, position: int, rows: range | None = None) -> None:
        self._accepted = accepted
        self._position = position
        self._rows = range(len(accepted.ids)) if rows is None else rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, at: int) -> Receipt: ...

    @overload
    def __getitem__(self, at: slice) -> "Written": ...

    def __getitem__(self, at: int | slice) -> "Receipt | Written":
        if isinstance(at, slice):
            return Written(self._accepted, self._position, self._rows[at])
        row, all = self._rows[at], self._accepted
        position = self._position + row // BATCH_RECORDS
        return Receipt(all.ids[row], all.sources[row], all.statuses[row], position, None)

    @property
    def statuses(self) -> Sequence[Status]:
        """What became of each record, without its receipt."""
        rows = self._rows
        return self._accepted.statuses[rows.start : rows.stop : rows.step]

    @property
    def newest(self) -> int:
        """The position of the last event that holds any of them."""
        return self._position + max(self._rows) // BATCH_RECORDS


def statuses_of(receipts: Sequence[Receipt]) -> Sequence[Status]:
    """What became of each record, without a receipt that nobody has made yet."""
    if isinstance(receipts, Written):
        return receipts.statuses
    return [receipt.status for receipt in receipts]


def receipt_of(verdict: Verdict, first: int) -> Receipt:
    """The receipt for one verdict; the events that were decided with it begin at a position."""
    position = first + verdict.event if verdict.event >= 0 else verdict.position
    return Receipt(verdict.id, verdict.source, verdict.status, position, verdict.error)


def identities_of(decided: Decided | Accepted, first: int) -> list[IdentityRow | IdentityRun]:
    """The identities of what was accepted, of which the events begin at a position."""
    if isinstance(decided, Decided):
        return [
            IdentityRow(one.source, one.id, first + one.event, one.row, one.mark)
            for one in decided.verdicts
            if one.row >= 0
        ]
    events = zip(decided.events, decided.marks, strict=True)
    each = [_of_event(event, first + at, marks) for at, (event, marks) in enumerate(events)]
    return list(chain.from_iterable(each))


def _of_event(
    event: UsageRecorded, position: int, marks: Sequence[bytes]
) -> Sequence[IdentityRow | IdentityRun]:
    """The identities of an event's records, in one run if they are alike."""
    alike = marks.count(marks[0]) == len(marks)
    if alike and isinstance(event.ids, bytes) and len(event.sources.each) == 1:
        return [IdentityRun(event.sources.each[0], position, event.ids, marks[0])]
    ids = [record.id for record in event.records]
    sources = event.sources.spread(event.count)
    return list(map(IdentityRow, sources, ids, repeat(position), range(len(ids)), marks))
