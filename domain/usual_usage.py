"""The usual batch of usage, decided column by column: the same answers as `usage.decide`, sooner.

Nearly every batch is one in which nothing is wrong, repeated or oddly written. What has to be
checked is then checked once for each different value, and the rest is done by whole columns. As
soon as anything is unusual the answer is None, and `usage.decide` looks at each record by itself.
"""

from collections.abc import Hashable, Sequence
from itertools import chain
from typing import Any, NamedTuple, cast

from domain.columns import Column
from domain.decider import Rejected
from domain.money import all_written_shortest, format_decimal, parse_decimal
from domain.periods import parse_usual_instants
from domain.record_ids import UUID_CHARACTERS
from domain.text import NAME_BYTES, check_text
from domain.usage import (
    AS_KEPT,
    BATCH_BYTES,
    BATCH_RECORDS,
    PROPERTIES_LIMIT,
    TIMELESS,
    Decided,
    Facts,
    RecordInput,
    RecordUsage,
    Status,
    UsageRecorded,
    Verdict,
    check_property,
    encode_record,
)

_CHARACTER_BYTES = 4
"""What a character takes at most."""
_FRAME_BYTES = 50
"""What a record takes at most beside its texts."""
_PAIR_CHARACTERS = 3
"""What a property takes at most beside its texts, counted in characters."""


class Accepted(NamedTuple):
    """Records that were all accepted: their events, and column by column what became of each."""

    events: list[UsageRecorded]
    ids: list[str]
    sources: list[str]
    statuses: list[Status]
    marks: list[Sequence[bytes]]
    """Those of each event's records."""

    def decided(self) -> Decided:
        """The same with a verdict for each record."""
        marks = chain.from_iterable(self.marks)
        told = zip(self.ids, self.sources, self.statuses, marks, strict=True)
        verdicts = [
            Verdict(id, source, status, *divmod(place, BATCH_RECORDS), mark)
            for place, (id, source, status, mark) in enumerate(told)
        ]
        return Decided(self.events, verdicts)


def decide(command: RecordUsage, facts: Facts) -> Accepted | None:
    """Accept records, a thousand to an event, when all are new, sound and written as is usual."""
    records = command.records
    if not records or facts.recorded:
        return None
    accepted = Accepted([], [one.id for one in records], [one.source for one in records], [], [])
    told: set[Hashable] = set(accepted.ids)
    if len(told) < len(records):  # it may be those of several sources
        told = set(zip(accepted.sources, accepted.ids, strict=True))
    if len(told) < len(records):
        return None
    for start in range(0, len(records), BATCH_RECORDS):
        if not _accept(records[start : start + BATCH_RECORDS], facts, accepted):
            return None
    return accepted


def _accept(records: Sequence[RecordInput], facts: Facts, accepted: Accepted) -> bool:
    """Add these records as one event; return whether they could be."""
    texts = [record.timestamp for record in records]
    times = _times(texts, facts.at_us)
    if times is None:
        return False
    values: list[Any] = [record.value for record in records]
    several: list[Any] = [
        {} if record.properties is None else record.properties for record in records
    ]
    customers = [record.customer for record in records]
    names = [record.event_name for record in records]
    first = len(accepted.statuses)
    ids = accepted.ids[first : first + len(records)]
    sources = accepted.sources[first : first + len(records)]
    try:
        if any("value" in properties for properties in several):
            values, several = _values_taken_out(values, several)
        values = _written_shortest(values, facts, set(names))
        event = UsageRecorded.by_columns(ids, sources, names, customers, times, values, several)
        if not isinstance(event.ids, bytes) and not _all_plain(ids):
            return False
        for column in (event.sources, event.event_names, event.customers):
            _check_names(column)
        _check_properties(event.properties.each)
        _check_texts(names, values, several, facts)
    except (Rejected, TypeError, AttributeError, ValueError):
        return False
    if _may_be_too_large(event) and sum(map(len, map(encode_record, event.records))) > BATCH_BYTES:
        return False
    accepted.events.append(event)
    accepted.statuses.extend(_statuses(event, facts))
    accepted.marks.append(_marks(texts))
    return True


def _marks(texts: Sequence[str | None]) -> Sequence[bytes]:
    """How what was sent differs from what is kept: a time may have been left out."""
    if None not in texts:
        return [AS_KEPT] * len(texts)
    return [TIMELESS if text is None else AS_KEPT for text in texts]


def _may_be_too_large(event: UsageRecorded) -> bool:
    """Whether records could be too much for one event if all were as long as the longest."""
    longest = UUID_CHARACTERS if isinstance(event.ids, bytes) else max(map(len, event.ids))
    for texts in (event.sources.each, event.event_names.each, event.customers.each):
        longest += max(map(len, texts))
    longest += max(len(value or "") for value in event.values.each)
    longest += max(
        _PAIR_CHARACTERS * len(one) + sum(map(len, chain(*one.items())))
        for one in event.properties.each
    )
    return event.count * (_FRAME_BYTES + _CHARACTER_BYTES * longest) > BATCH_BYTES


def _times(texts: Sequence[str | None], now_us: int) -> list[int] | None:
    """When each happened, now if its sender did not say; None for what needs a closer look."""
    if None not in texts:
        return parse_usual_instants(cast("Sequence[str]", texts))
    given = parse_usual_instants([text for text in texts if text is not None])
    if given is None:
        return None
    said = iter(given)
    return [now_us if text is None else next(said) for text in texts]


def _values_taken_out(values: Sequence[Any], several: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Values, and properties without them: senders of other shapes put the one into the others.

    Raises `TypeError` for a record that has a value in both, or in properties that need a closer
    look; a value that is no decimal will need one too.
    """
    taken, left = list[Any](), list[Any]()
    for value, properties in zip(values, several, strict=True):
        if "value" in properties:
            if value is not None or len(properties) > PROPERTIES_LIMIT:
                raise TypeError("a record with two values, or with too many properties")
            rest = dict(properties)
            taken.append(rest.pop("value"))
            left.append(rest)
        else:
            taken.append(value)
            left.append(properties)
    return taken, left


def _statuses(event: UsageRecorded, facts: Facts) -> list[Status]:
    """Whether each record has a meter and a customer."""
    count = event.count
    metered = [name in facts.value_properties for name in event.event_names.each]
    known = [customer in facts.customers for customer in event.customers.each]
    if all(metered) and all(known):
        return [Status.ACCEPTED] * count
    of_names = Column(metered, event.event_names.places).spread(count)
    of_customers = Column(known, event.customers.places).spread(count)
    return [
        Status.ACCEPTED if both == (True, True) else Status.UNMATCHED
        for both in zip(of_names, of_customers, strict=True)
    ]


def _written_shortest(values: list[Any], facts: Facts, names: set[str]) -> list[Any]:
    """Each value as plain decimal text. Raises `TypeError` when more is asked for."""
    needed = {name for event in names for name in facts.value_properties.get(event, ())}
    different = set(values)
    if needed - {"value"} or names & facts.at_times.keys() or (needed and None in different):
        raise TypeError("a meter needs more of these records than any value")
    texts = different - {None}
    if all_written_shortest(texts):
        return values
    written = {text: format_decimal(parse_decimal(text, ("value",))) for text in texts}
    return [None if value is None else written[value] for value in values]


def _check_names(column: Column[str]) -> None:
    """Each different source, event name or customer once."""
    if not _all_plain(column.each):
        for text in column.each:
            check_text(text, ("name",))


def _check_properties(several: Sequence[dict[str, str]]) -> None:
    """Each different property once."""
    if max(map(len, several), default=0) > PROPERTIES_LIMIT:
        raise TypeError("a record with too many properties")
    for name, value in {pair for properties in several for pair in properties.items()}:
        check_property(name, value)


def _check_texts(
    names: Sequence[str], values: Sequence[Any], several: Sequence[Any], facts: Facts
) -> None:
    """What a meter needs without reading it as a number is there."""
    if not facts.text_properties:
        return
    for event, value, properties in zip(names, values, several, strict=True):
        for name in facts.text_properties.get(event, ()):
            if value is None if name == "value" else name not in properties:
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
