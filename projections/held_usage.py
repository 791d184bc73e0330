"""What is fresh, as its writer still has it in memory: added up already, share by share.

Fresh usage stands in its blocks, and could always be read from there (`fresh_usage.py`). But who
has just written it need not read it again. What a transaction brought is held once it is kept; what
is held of a share is used only if it is all that is fresh of it, whoever else writes the views.
"""

from collections.abc import Iterable, Sequence

import msgspec

from projections.tables import Views
from projections.usage_blocks import SHARES
from projections.usage_days import Days, Hour

MOST = 100_000
"""Hours that are held, some 30 MB; with more of them nothing is held for a while."""

Blocks = Iterable[tuple[int, int]]
"""Blocks that an event brought: of which share each is, and how many records it has."""
Standing = tuple[int, int, int]
"""After which position a share is fresh, and how many blocks and records of it are."""
Hours = dict[int, dict[Hour, list[int]]]
"""What hours come to, by meter: how many records, how many units."""


class Share(msgspec.Struct):
    """What is held of a share: records after a position that are all of them fresh."""

    after: int
    blocks: int = 0
    records: int = 0
    hours: Hours = {}

    @property
    def standing(self) -> Standing:
        """How much of the share is fresh if nothing else is."""
        return (self.after, self.blocks, self.records)


class HeldUsage(Days):
    """Holds what is added to it until its share has its turn, instead of writing it."""

    def __init__(self) -> None:
        super().__init__()
        self._shares: dict[int, Share] = {}
        self._came: list[tuple[Sequence[int], Blocks]] = []
        self._columns: list[tuple[int, tuple[Sequence[int], ...]]] = []
        self._taken: dict[int, Share] = {}
        self._transaction = 0

    def begins(self, views: Views) -> bool:
        """Whether this is another transaction of the writer's than before, which was kept."""
        if views.transaction == self._transaction:
            return False
        self._transaction = views.transaction
        self._hold()
        self._taken.clear()
        return True

    def forget(self) -> None:
        """What this transaction brought was undone, and so was that any share had its turn."""
        self.forget_coming()
        self._shares |= self._taken
        self._taken.clear()

    def forget_coming(self) -> None:
        """Hold nothing of what this transaction brought so far."""
        self._came.clear()
        self._columns.clear()

    def came(self, after: Sequence[int], blocks: Blocks) -> None:
        """An event brought blocks, when the days of each share stood at these positions."""
        self._came.append((tuple(after), blocks))

    def add(
        self,
        views: Views,
        meter_ref: int,
        hours: Sequence[int],
        customers: Sequence[int],
        dimensions: Sequence[int],
        units: Sequence[int],
        times: int = 1,
    ) -> None:
        """Hold what an event that came adds to the totals of a meter, once it is kept."""
        assert times == 1, "what is fresh is never taken back"
        self._columns.append((meter_ref, (hours, customers, dimensions, units)))

    def write(self, views: Views) -> None:
        """Go on holding it."""

    def take(self, share: int, standing: Standing) -> Hours | None:
        """All that is fresh of a share, of which so much is; None when that is not held.

        It is held no longer, but for a transaction that is undone.
        """
        held = self._shares.pop(share, None)
        if held is None:
            return None
        self._taken[share] = held
        return held.hours if held.standing == standing else None

    def _hold(self) -> None:
        """Hold what the last transaction brought."""
        for after, blocks in self._came:
            for share, records in blocks:
                held = self._shares.get(share)
                if held is None or held.after != after[share]:
                    held = self._shares[share] = Share(after[share])
                held.blocks += 1
                held.records += records
        for meter_ref, columns in self._columns:
            _add_up([self._hours(share, meter_ref) for share in range(SHARES)], *columns)
        self.forget_coming()
        if sum(len(one) for held in self._shares.values() for one in held.hours.values()) > MOST:
            self._shares.clear()

    def _hours(self, share: int, meter_ref: int) -> dict[Hour, list[int]]:
        held = self._shares.get(share)
        return {} if held is None else held.hours.setdefault(meter_ref, {})


def _add_up(
    shares: Sequence[dict[Hour, list[int]]],
    hours: Sequence[int],
    customers: Sequence[int],
    dimensions: Sequence[int],
    units: Sequence[int],
) -> None:
    """Add usage records, column by column, to the hours of their customers' shares."""
    places = zip(hours, customers, dimensions, strict=True)
    for place, one in zip(places, units, strict=True):
        added = shares[place[1] % SHARES]
        total = added.get(place)
        if total is None:
            added[place] = [1, one]
        else:
            total[0] += 1
            total[1] += one
