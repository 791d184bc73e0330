"""The usual batch of usage, decided column by column: the same answers as `usage.decide`, sooner.

Nearly every batch is one in which nothing is wrong, repeated or oddly written. What has to be
checked is then checked once for each different value, and the rest is done by whole columns. As
soon as anything is unusual the answer is None, and `usage.decide` looks at each record by itself.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import cast

from domain.decider import Rejected
from domain.money import format_decimal, parse_decimal
from domain.periods import parse_usual_instants
from domain.text import NAME_BYTES, check_text
from domain.usage import (
    BATCH_BYTES,
    BATCH_RECORDS,
    PROPERTIES_LIMIT,
    Decided,
    Facts,
    RecordInput,
    RecordUsage,
    Status,
    UsageRecord,
    UsageRecorded,
    Verdict,
    check_property,
    encode_record,
)


def decide(command: RecordUsage, facts: Facts) -> Decided | None:
    """Accept a batch as one event, when all of it is new, sound and written in the usual way."""
    records = command.records
    if not 0 < len(records) <= BATCH_RECORDS or facts.recorded:
        return None
    rows = _rows(records, facts)
    if rows is None or len({(row.source, row.id) for row in rows}) < len(rows):
        return None
    contents = list(map(encode_record, rows))
    if sum(map(len, contents)) > BATCH_BYTES:
        return None
    status = {
        (name, customer): Status.ACCEPTED
        if name in facts.value_properties and customer in facts.customers
        else Status.UNMATCHED
        for name, customer in {(row.event_name, row.customer) for row in rows}
    }
    verdicts = [
        Verdict(
            row.id,
            row.source,
            status[row.event_name, row.customer],
            0,
            place,
            blake2b(content, digest_size=16).digest(),
        )
        for place, (row, content) in enumerate(zip(rows, contents, strict=True))
    ]
    return Decided([UsageRecorded.of(rows)], verdicts)


def _rows(records: Sequence[RecordInput], facts: Facts) -> list[UsageRecord] | None:
    """The records as they will be kept; None when any of them needs a closer look."""
    texts = [record.timestamp for record in records]
    if None in texts or not _all_plain([record.id for record in records]):
        return None
    times = parse_usual_instants(cast("list[str]", texts))
    names = {record.event_name for record in records}
    needed = {name for event in names for name in facts.value_properties.get(event, ())}
    if times is None or needed - {"value"} or names & facts.at_times.keys():
        return None
    try:
        decimals = _decimals({record.value for record in records}, needed)
        _check_names(records)
        _check_properties([one.properties for one in records if one.properties is not None])
        _check_texts(records, facts)
    except (Rejected, TypeError, AttributeError):
        return None
    return [
        UsageRecord(
            record.id,
            record.source,
            record.event_name,
            record.customer,
            timestamp_us,
            decimals[record.value],
            record.properties or {},
        )
        for record, timestamp_us in zip(records, times, strict=True)
    ]


def _decimals(values: set[str | None], needed: set[str]) -> dict[str | None, str | None]:
    """Each different value as plain decimal text."""
    if None in values and needed:
        raise TypeError("a record without the value that a meter needs")
    return {
        value: None if value is None else format_decimal(parse_decimal(value, ("value",)))
        for value in values
    }


def _check_names(records: Sequence[RecordInput]) -> None:
    """Each different source, event name and customer once."""
    sources = {record.source for record in records}
    names = {record.event_name for record in records}
    for text in sources | names | {record.customer for record in records}:
        check_text(text, ("name",))


def _check_properties(several: Sequence[dict[str, object]]) -> None:
    """Each different property once; a `value` among them is for the closer look."""
    if max(map(len, several), default=0) > PROPERTIES_LIMIT:
        raise TypeError("a record with too many properties")
    for name, value in {pair for properties in several for pair in properties.items()}:
        check_property(name, value)
        if name == "value":
            raise TypeError("the value stands among the properties")


def _check_texts(records: Sequence[RecordInput], facts: Facts) -> None:
    """What a meter needs without reading it as a number is there."""
    if not facts.text_properties:
        return
    for record in records:
        for name in facts.text_properties.get(record.event_name, ()):
            if record.value is None if name == "value" else name not in (record.properties or ()):
                raise TypeError("a record without the property that a meter needs")


def _all_plain(texts: Sequence[str]) -> bool:
    """Whether all of them are short printable ASCII without spaces: none needs a closer look."""
    joined = "".join(texts)
    return (
        joined.isascii()
        and joined.isprintable()
        and " " not in joined
        and all(texts)
        and max(map(len, texts), default=0) <= NAME_BYTES
    )
