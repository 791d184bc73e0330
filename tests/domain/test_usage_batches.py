"""Usage records kept by columns: what comes back is what was put in, whoever wrote the bytes."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.columns import Column, column, packed, unpacked
from domain.decider import UPCASTERS
from domain.record_ids import ID_BYTES
from domain.usage import UsageRecord, UsageRecorded

TEXTS = st.text(max_size=4)
RECORDS = st.lists(
    st.builds(
        UsageRecord,
        st.uuids().map(str) | TEXTS,
        st.sampled_from(["default", "gateway"]),
        st.sampled_from(["tokens", "calls"]),
        st.sampled_from(["al", "bo", "cy"]) | TEXTS,
        st.integers(0, 2**53),
        st.sampled_from(["1", "0.04", None]),
        st.dictionaries(st.sampled_from(["model", "region", "a"]), st.sampled_from("xyz")),
    ),
    max_size=12,
)
UUIDS = st.lists(st.uuids().map(str), min_size=1, max_size=12)


def stored(event: UsageRecorded) -> UsageRecorded:
    """The event as it comes back from the bytes that it is stored as."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=UsageRecorded)


@given(RECORDS)
def test_what_was_kept_comes_back(records: list[UsageRecord]) -> None:
    event = stored(UsageRecorded.of(records))
    assert event.records == tuple(records)
    assert event.count == len(records)
    assert [event.record(row) for row in range(event.count)] == records
    assert event.times_us == [one.timestamp_us for one in records]


@given(UUIDS)
def test_uuids_take_sixteen_bytes_each(ids: list[str]) -> None:
    records = [UsageRecord(id, "default", "tokens", "al", 0, None, {}) for id in ids]
    event = stored(UsageRecorded.of(records))
    assert len(event.ids) == ID_BYTES * len(ids)
    assert [one.id for one in event.records] == ids
    mixed = UsageRecorded.of([*records, msgspec.structs.replace(records[0], id="r1")])
    assert mixed.ids == [*ids, "r1"]


@given(RECORDS, st.randoms())
def test_equal_records_are_the_same_bytes(records: list[UsageRecord], chance: Any) -> None:
    def shuffled(properties: dict[str, str]) -> dict[str, str]:
        return dict(chance.sample(list(properties.items()), len(properties)))

    others = [msgspec.structs.replace(one, properties=shuffled(one.properties)) for one in records]
    bytes_of = [msgspec.msgpack.encode(UsageRecorded.of(these)) for these in (records, others)]
    assert bytes_of[0] == bytes_of[1]


@given(RECORDS)
def test_the_first_version_is_read_as_the_second(records: list[UsageRecord]) -> None:
    data = msgspec.msgpack.decode(msgspec.msgpack.encode({"records": records}))
    topic, data = UPCASTERS["usage.recorded/1"](data)
    assert topic == UsageRecorded.topic
    assert msgspec.msgpack.encode(data) == msgspec.msgpack.encode(UsageRecorded.of(records))


@pytest.mark.parametrize("row", [-1, 2])
def test_a_row_that_is_not_there(row: int) -> None:
    event = UsageRecorded.of(
        [UsageRecord(id, "default", "tokens", "al", 0, None, {}) for id in "ab"]
    )
    with pytest.raises(IndexError):
        event.record(row)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=9))
def test_numbers_come_back(numbers: list[int]) -> None:
    assert list(unpacked(packed(numbers), len(numbers))) == numbers


@given(st.lists(st.sampled_from("abc") | st.text(max_size=3), min_size=1, max_size=30))
def test_a_column_has_a_value_for_each_row(values: list[str]) -> None:
    kept = column(values)
    kept.check(len(values), len)
    assert kept.spread(len(values)) == values
    assert [kept.at(row, len(values)) for row in range(len(values))] == values
    assert len(kept.each) <= len(values)


SOUND: dict[str, Any] = {
    "ids": bytes(32),
    "sources": (["default"], b""),
    "event_names": (["tokens", "calls"], b"\x01\x00"),
    "customers": (["al", "bo"], b""),
    "earliest_us": 0,
    "times": b"\x00\x01",
    "values": (["1"], b""),
    "properties": ([{}], b""),
}


def read(**changes: Any) -> UsageRecorded:
    """Two records as they are stored, but for what is said."""
    data = msgspec.msgpack.encode(SOUND | changes)
    return msgspec.msgpack.decode(data, type=UsageRecorded)


def test_two_sound_records() -> None:
    assert [one.event_name for one in read().records] == ["calls", "tokens"]


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("ids", bytes(31)),
        ("ids", bytes(33)),
        ("ids", b""),
        ("ids", ["a", "b", "c"]),
        ("ids", ["a", 3]),
        ("ids", 2**40),
        ("sources", ([], b"")),
        ("sources", (["a", "b", "c"], b"")),
        ("sources", (["a"], b"\x00\x01")),
        ("event_names", (["a", "b"], b"\x00")),
        ("event_names", (["a", "b"], b"\x00\x00\x00\x00\x01\x00")),
        ("event_names", (["a", "b"], b"\x02\x00")),
        ("event_names", (["a", "b"], b"\x00\x00\x00\xff" * 2)),
        ("customers", (["x" * 70_000], b"")),
        ("values", (["9" * 70_000, None], b"\x00\x00")),
        ("properties", ([{"a": "x" * 70_000}], b"")),
        ("properties", ([{"a": 1}], b"")),
        ("times", b"\x00"),
        ("times", bytes(6)),
        ("earliest_us", "now"),
    ],
)
def test_what_is_no_batch_is_refused_when_it_is_read(name: str, broken: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        read(**{name: broken})


@given(st.data())
def test_a_changed_byte_is_refused_or_read_as_something_small(data: st.DataObject) -> None:
    whole = bytearray(msgspec.msgpack.encode(UsageRecorded.of(data.draw(RECORDS))))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        event = msgspec.msgpack.decode(bytes(whole), type=UsageRecorded)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    assert len(event.records) == event.count <= len(whole)
    stored(event)


def test_one_value_without_places_is_that_of_every_row() -> None:
    assert Column(["a"]).spread(3) == ["a", "a", "a"]
