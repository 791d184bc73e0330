"""The sentences of a story about usage: what was used, sent again, voided and amended."""

import re
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from domain.meters import Meter
from domain.periods import format_instant
from domain.usage import RecordInput, Status
from domain.usage_corrections import AmendUsage, VoidUsage
from projections import current
from tests.scenarios.sentences import Sentences, Untold

if TYPE_CHECKING:
    from tests.scenarios.story import Story

sentence = Sentences()

NEW = (Status.ACCEPTED, Status.UNMATCHED)
USE = re.compile(r"(\S+) (\S+) by (\S+?)(?:, at (\S+))?(?:, (\w+=.+))?")
AGAIN = re.compile(r"(\d+) again(?: as (\S+))?")


@sentence(rf"use {USE.pattern}")
def use(story: "Story", at: datetime, *said: str | None) -> None:
    """`use 3000 tokens by alpaca-lover, at 2026-01-10, model=small`."""
    _send(story, [_record(story, at, len(story.sent) + 1, *said)])


@sentence(r"use (\d+) again")
def use_again(story: "Story", at: datetime, number: str) -> None:
    """`use 2 again`: the second use of the story is sent once more, which changes nothing."""
    _send(story, [_sent(story.sent, number)])


@sentence(r"send (.+)")
def send(story: "Story", at: datetime, batch: str) -> None:
    """`send 5 tokens by al, at 2026-01-10; 3 tokens by bo; 2 again; 1 again as 7`: all at once.

    What is sent again with another value is a conflict, and the first one stands.
    """
    records: list[RecordInput] = []
    known = list(story.sent)
    for part in batch.split("; "):
        if found := AGAIN.fullmatch(part):
            before = _sent(known, found[1])
            records.append(before if found[2] is None else replace(before, value=found[2]))
        else:
            found = USE.fullmatch(part)
            assert found, f"nobody can send {part}"
            known.append(_record(story, at, len(known) + 1, *found.groups()))
            records.append(known[-1])
    _send(story, records)


@sentence(r"void use (\d+)")
def void(story: "Story", at: datetime, number: str) -> None:
    """`void use 2`: the second use of the story, in the order in which it was told."""
    story.ledger.execute_now(VoidUsage(id=f"story-{number}"))


@sentence(r"amend use (\d+) to (\S+?)(?:, (\w+=.+))?")
def amend(story: "Story", at: datetime, number: str, value: str, properties: str | None) -> None:
    """`amend use 2 to 2500, model=small`; without properties, those it has stay."""
    pairs = dict(pair.split("=") for pair in properties.split(", ")) if properties else None
    command = AmendUsage(id=f"story-{number}", value=value, properties=pairs)
    story.ledger.execute_now(command)


def _send(story: "Story", records: list[RecordInput]) -> None:
    """Send records at once; each is answered by what was sent before, in this batch or ever."""
    receipts = story.ledger.record_now(records)
    known = {one.id: one for one in story.sent}
    for record, receipt in zip(records, receipts, strict=True):
        if record.id not in known:
            assert receipt.status in NEW, receipt
            known[record.id] = record
            story.sent.append(record)
        elif record == known[record.id]:
            assert receipt.status is Status.DUPLICATE, receipt
        else:
            assert receipt.status is Status.CONFLICT, receipt


def _sent(known: list[RecordInput], number: str) -> RecordInput:
    if int(number) > len(known):
        raise Untold(f"nothing was used {number} times")
    return known[int(number) - 1]


def _record(
    story: "Story",
    at: datetime,
    number: int,
    value: str | None,
    meter: str | None,
    customer: str | None,
    when: str | None,
    properties: str | None,
) -> RecordInput:
    return RecordInput(
        id=f"story-{number}",
        event_name=_event_name(story, meter or ""),
        customer=customer or "",
        timestamp=format_instant(story.instant(when) if when else at),
        value=value,
        properties=dict(pair.split("=") for pair in (properties or "").split(", ") if pair),
    )


def _event_name(story: "Story", meter: str) -> str:
    """What a meter reads; before there is such a meter, the name itself."""
    if meter not in story.ids:
        return meter
    with story.ledger.snapshot() as views:
        found = current.get(views, Meter, story.ids[meter])
    assert found is not None
    return found.event_name
