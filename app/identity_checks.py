"""Whether each usage record's identity is kept, with its place and with what was sent.

What an identity belongs to could be sent again otherwise, and be counted twice.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from app import stored
from domain import usage
from domain.decider import Recorded
from domain.usage import UsageRecorded


class Wrong(NamedTuple):
    """What is wrong with an identity, and in which event its record stands."""

    position: int
    code: str
    message: str


class Identities(NamedTuple):
    """How many identities of some events are kept, and what is wrong with any."""

    kept: int
    wrong: list[Wrong]


def check(kept_of: stored.Identities, events: Sequence[Recorded]) -> Identities:
    """Look every usage record of these events up."""
    found, wrong = 0, list[Wrong]()
    for recorded in events:
        if isinstance(recorded.event, UsageRecorded):
            records = recorded.event.records
            kept = kept_of.of([(one.source, one.id) for one in records])
            found += len(kept) - kept.count(None)
            wrong += _wrong(recorded.position, records, kept)
    return Identities(found, wrong)


def _wrong(
    position: int, records: Sequence[usage.UsageRecord], kept: Sequence[stored.Kept | None]
) -> Iterator[Wrong]:
    for index, (record, found) in enumerate(zip(records, kept, strict=True)):
        if found in ((position, index, usage.AS_KEPT), (position, index, usage.TIMELESS)):
            continue
        name = f"the identity of usage record {record.id!r} of {record.source!r}"
        if found is None:
            yield Wrong(position, "IDENTITY_MISSING", f"{name} is not kept")
        elif found[:2] != (position, index):
            message = f"{name} leads elsewhere than to row {index} here"
            yield Wrong(position, "IDENTITY_DIFFERS", message)
        elif not isinstance(found[2], bytes) or usage.mark_of(record, found[2]) is None:
            yield Wrong(position, "IDENTITY_DIFFERS", f"{name} is kept for other content")
