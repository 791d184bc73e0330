"""What usage records said whose identities are taken, so that a repeated one is told from another.

The ledger has what was kept, and beside each identity stands how what was sent differs from that.
So nothing has to be hashed as it is recorded, and only what comes again is looked up.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Protocol

from domain.decider import Recorded
from domain.usage import AS_KEPT, TIMELESS, Identity, Prior, UsageRecorded, digest_of

FEW = 8
"""So many records of an event are taken out of it one by one."""

Taken = tuple[Identity, int, int, bytes]
"""An identity that is taken, where its record stands, and its mark."""


class Log(Protocol):
    """Where the events are."""

    def at(self, position: int) -> Recorded | None:
        """The event at a position."""


def priors(log: Log, taken: Iterable[Taken]) -> dict[Identity, Prior]:
    """Where these identities were first recorded, and what their senders said."""
    found: dict[Identity, Prior] = {}
    by_event: defaultdict[int, list[Taken]] = defaultdict(list)
    for one in taken:
        identity, position, _, mark = one
        if mark in (AS_KEPT, TIMELESS):
            by_event[position].append(one)
        else:
            found[identity] = Prior(position, mark)
    for position, several in by_event.items():
        recorded = log.at(position)
        assert recorded is not None, f"identities lead to position {position}, which is none"
        assert isinstance(recorded.event, UsageRecorded), f"no usage stands at {position}"
        take = recorded.event.record if len(several) <= FEW else recorded.event.records.__getitem__
        for identity, _, row, mark in several:
            found[identity] = Prior(position, digest_of(take(row), mark))
    return found
