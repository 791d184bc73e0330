"""Usage: records accepted once for ever, each answered by itself."""

from typing import Any

import msgspec
import pytest

from domain import usage
from domain.periods import parse_instant, to_us
from domain.usage import (
    BATCH_BYTES,
    BATCH_RECORDS,
    Facts,
    Identity,
    Prior,
    RecordInput,
    RecordUsage,
    Status,
    UsageRecord,
    UsageRecorded,
    digest_of,
    encode_record,
)
from tests.spec import given

NOW_US = to_us(parse_instant("2026-01-10T12:00:00Z", ()))
LATER_US = NOW_US + 1
EARLIER = "2026-01-05T00:00:00Z"
EARLIER_US = to_us(parse_instant(EARLIER, ()))


def facts(
    *, at_us: int = NOW_US, recorded: dict[Identity, Prior] | None = None, **meters: Any
) -> Facts:
    """A meter over `tokens` that sums `value`, one that counts `calls`, and alpaca-lover."""
    return Facts(
        at_us=at_us,
        value_properties={"tokens": ("value",), "calls": (), **meters},
        customers={"alpaca-lover"},
        recorded=recorded or {},
    )


def record(id: str = "r1", **fields: Any) -> RecordInput:
    """3,000 tokens of alpaca-lover, but for what is said."""
    wanted = {"event_name": "tokens", "customer": "alpaca-lover", "value": "3000", **fields}
    return RecordInput(id=id, **wanted)


def kept(id: str = "r1", **fields: Any) -> UsageRecord:
    """The same as it is kept."""
    wanted = {
        "source": "default",
        "event_name": "tokens",
        "customer": "alpaca-lover",
        "timestamp_us": NOW_US,
        "value": "3000",
        "properties": {},
        **fields,
    }
    return UsageRecord(id, **wanted)


def asked(*records: RecordInput) -> RecordUsage:
    """These records are sent together."""
    return RecordUsage(records=records)


def recorded_before(*records: RecordInput, position: int = 7) -> dict[Identity, Prior]:
    """What the ledger knows after these records were accepted at a position."""
    decided = usage.decide(asked(*records), facts())
    return {
        (one.source, one.id): Prior(
            position, digest_of(decided.events[one.event].record(one.row), one.mark)
        )
        for one in decided.verdicts
    }


# ------------------------------------------------------------------------- accepted, unmatched


def test_a_record_is_accepted() -> None:
    decision = given().when(asked(record()), facts())
    decision.then(UsageRecorded.of((kept(),)))
    decision.then_answered("ACCEPTED")


def test_a_record_without_a_timestamp_happened_now() -> None:
    sent = [record("now"), record("then", timestamp=EARLIER)]
    expected = UsageRecorded.of((kept("now"), kept("then", timestamp_us=EARLIER_US)))
    given().when(asked(*sent), facts()).then(expected)


def test_the_receipt_says_where_the_record_stands() -> None:
    [first, refused, second] = (
        given().when(asked(record("a"), record("b", value="x"), record("c")), facts()).verdicts
    )
    assert [(v.event, v.row) for v in (first, refused, second)] == [(0, 0), (-1, -1), (0, 1)]


@pytest.mark.parametrize(
    "sent", [record(event_name="unknown"), record(customer="stranger")], ids=["meter", "customer"]
)
def test_a_record_that_nobody_waits_for_is_kept(sent: RecordInput) -> None:
    decision = given().when(asked(sent), facts())
    row = kept(event_name=sent.event_name, customer=sent.customer)
    decision.then(UsageRecorded.of((row,)))
    decision.then_answered("UNMATCHED")


def test_an_unmatched_record_may_say_anything_that_could_be_kept() -> None:
    sent = record(event_name="unknown", value=None, properties={"value": "many", "note": ""})
    row = kept(event_name="unknown", value=None, properties={"value": "many", "note": ""})
    given().when(asked(sent), facts()).then(UsageRecorded.of((row,)))


def test_a_counting_meter_needs_no_value() -> None:
    sent = record(event_name="calls", value=None)
    given().when(asked(sent), facts()).then_answered("ACCEPTED")


def test_nothing_sent_is_nothing_written() -> None:
    decision = given().when(asked(), facts())
    decision.then()
    decision.then_answered()


# ------------------------------------------------------------------------------------ the value


@pytest.mark.parametrize(
    ("sent", "value"),
    [("3000", "3000"), ("0.50", "0.5"), ("-7", "-7"), ("-0", "0"), ("1.000", "1")],
)
def test_a_value_is_kept_as_a_plain_decimal(sent: str, value: str) -> None:
    expected = UsageRecorded.of((kept(value=value),))
    given().when(asked(record(value=sent)), facts()).then(expected)


def test_the_value_may_stand_among_the_properties() -> None:
    shorthand = record(value="3000", properties={"model": "small"})
    spelled_out = record(value=None, properties={"model": "small", "value": "3000.0"})
    expected = UsageRecorded.of((kept(properties={"model": "small"}),))
    given().when(asked(shorthand), facts()).then(expected)
    given().when(asked(spelled_out), facts()).then(expected)
    given().when(asked(shorthand, spelled_out), facts()).then_answered("ACCEPTED", "DUPLICATE")


def test_the_value_is_given_once() -> None:
    sent = record(value="1", properties={"value": "1"})
    given().when(asked(sent), facts()).then_answered("REJECTED INVALID_VALUE value")


def test_a_meter_over_another_property_reads_that_one() -> None:
    wants_seconds = facts(tokens=("seconds",))
    good = record("a", value=None, properties={"seconds": "1.5"})
    absent = record("b", value="3")
    wordy = record("c", value=None, properties={"seconds": "few"})
    given().when(asked(good, absent, wordy), wants_seconds).then_answered(
        "ACCEPTED",
        "REJECTED REQUIRED properties.seconds",
        "REJECTED INVALID_VALUE properties.seconds",
    )


def test_every_meter_over_the_name_gets_its_number() -> None:
    both = facts(tokens=("seconds", "value"))
    sent = record(value="3000")
    given().when(asked(sent), both).then_answered("REJECTED REQUIRED properties.seconds")


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (record(value=None, properties={"user": "ann"}), "ACCEPTED"),
        (record(value=None, properties={"user": ""}), "ACCEPTED"),
        (record(properties={"users": "ann"}), "REJECTED REQUIRED properties.user"),
        (record(), "REJECTED REQUIRED properties.user"),
    ],
)
def test_a_meter_may_need_a_property_that_is_no_number(sent: RecordInput, answer: str) -> None:
    counts_users = msgspec.structs.replace(facts(tokens=()), text_properties={"tokens": ("user",)})
    given().when(asked(sent), counts_users).then_answered(answer)


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (record(value="7"), "ACCEPTED"),
        (record(value=None, properties={"value": "ann"}), "ACCEPTED"),
        (record(value=None), "REJECTED REQUIRED value"),
        (record(value="ann"), "REJECTED INVALID_VALUE value"),
    ],
)
def test_the_value_itself_need_be_no_number(sent: RecordInput, answer: str) -> None:
    counts_values = msgspec.structs.replace(
        facts(tokens=()), text_properties={"tokens": ("value",)}
    )
    given().when(asked(sent), counts_values).then_answered(answer)


# --------------------------------------------------------------------------- duplicate, conflict


def test_the_same_again_is_a_duplicate_with_its_first_receipt() -> None:
    before = facts(recorded=recorded_before(record(timestamp=EARLIER), position=7))
    decision = given().when(asked(record(timestamp=EARLIER)), before)
    decision.then()
    decision.then_answered("DUPLICATE")
    assert decision.verdicts[0].position == 7


@pytest.mark.parametrize(
    "other",
    [
        {"value": "3001"},
        {"customer": "stranger"},
        {"event_name": "calls"},
        {"timestamp": "2026-01-05T00:00:00.000001Z"},
        {"timestamp": None},
        {"properties": {"model": "small"}},
    ],
    ids=["value", "customer", "event name", "time", "time left out", "properties"],
)
def test_the_same_id_with_other_content_is_a_conflict(other: dict[str, Any]) -> None:
    before = facts(recorded=recorded_before(record(timestamp=EARLIER), position=7))
    decision = given().when(asked(record(**{"timestamp": EARLIER, **other})), before)
    decision.then()
    decision.then_answered("CONFLICT")
    assert decision.verdicts[0].position == 7


@pytest.mark.parametrize(
    "same",
    [
        {"value": "3000.000"},
        {"timestamp": "2026-01-05T01:00:00+01:00"},
        {"properties": {"b": "2", "a": "1"}},
    ],
    ids=lambda same: next(iter(same)),
)
def test_content_is_what_is_meant_not_how_it_is_written(same: dict[str, Any]) -> None:
    written: dict[str, Any] = {"timestamp": EARLIER, "properties": {"a": "1", "b": "2"}}
    before = facts(recorded=recorded_before(record(**written)))
    again = record(**{**written, **same})
    given().when(asked(again), before).then_answered("DUPLICATE")


def test_a_timestamp_left_out_is_no_part_of_the_content() -> None:
    before = recorded_before(record())
    later = facts(at_us=LATER_US, recorded=before)
    given().when(asked(record()), later).then_answered("DUPLICATE")


def test_an_id_belongs_to_its_source() -> None:
    before = facts(recorded=recorded_before(record(source="gateway")))
    sent = [record(source="gateway"), record(source="batch"), record()]
    given().when(asked(*sent), before).then_answered("DUPLICATE", "ACCEPTED", "ACCEPTED")


def test_within_one_request_the_first_counts() -> None:
    sent = [record(value="1"), record(value="1"), record(value="2")]
    decision = given().when(asked(*sent), facts())
    decision.then(UsageRecorded.of((kept(value="1"),)))
    decision.then_answered("ACCEPTED", "DUPLICATE", "CONFLICT")
    assert [verdict.event for verdict in decision.verdicts] == [0, 0, 0]
    assert [verdict.row for verdict in decision.verdicts] == [0, -1, -1]


def test_a_refused_record_leaves_its_id_free() -> None:
    sent = [record(value="many"), record(value="1")]
    given().when(asked(*sent), facts()).then_answered("REJECTED INVALID_VALUE value", "ACCEPTED")


# ------------------------------------------------------------------------------------- rejected


def properties(count: int) -> dict[str, str]:
    """So many properties."""
    return {f"p{number}": "x" for number in range(count)}


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (record(""), "REQUIRED id"),
        (record("x" * 256), "LIMIT_EXCEEDED id"),
        (record("a\x00b"), "INVALID_VALUE id"),
        (record("\ud800"), "INVALID_VALUE id"),
        (record(source=""), "REQUIRED source"),
        (record(source="\udfff"), "INVALID_VALUE source"),
        (record(event_name=" "), "REQUIRED eventName"),
        (record(event_name="x" * 256), "LIMIT_EXCEEDED eventName"),
        (record(customer=""), "REQUIRED customer"),
        (record(customer="a\x00"), "INVALID_VALUE customer"),
        (record(timestamp="2026-01-10"), "INVALID_VALUE timestamp"),
        (record(timestamp="2026-01-10T12:00:00"), "INVALID_VALUE timestamp"),
        (record(timestamp="9999-12-31T23:59:59Z"), "INVALID_VALUE timestamp"),
        (record(value=None), "REQUIRED value"),
        (record(value=""), "INVALID_VALUE value"),
        (record(value="NaN"), "INVALID_VALUE value"),
        (record(value="1e3"), "INVALID_VALUE value"),
        (record(value="1_000"), "INVALID_VALUE value"),
        (record(value="1" * 19), "INVALID_VALUE value"),
        (record(value="0." + "1" * 13), "INVALID_VALUE value"),
        (record(properties=properties(21)), "LIMIT_EXCEEDED properties"),
        (record(properties={"": "x"}), "REQUIRED properties."),
        (record(properties={"x" * 129: "x"}), "LIMIT_EXCEEDED properties." + "x" * 129),
        (record(properties={"model": "x" * 129}), "LIMIT_EXCEEDED properties.model"),
        (record(properties={"model": "ä" * 65}), "LIMIT_EXCEEDED properties.model"),
        (record(properties={"model": "\x00"}), "INVALID_VALUE properties.model"),
        (record(properties={"model": "\ud83e"}), "INVALID_VALUE properties.model"),
        (record(properties={"model": 7}), "INVALID_VALUE properties.model"),
        (record(properties={"model": None}), "INVALID_VALUE properties.model"),
        (record(properties={"model": ["small"]}), "INVALID_VALUE properties.model"),
    ],
)
def test_a_refused_record(sent: RecordInput, answer: str) -> None:
    decision = given().when(asked(sent), facts())
    decision.then()
    decision.then_answered(f"REJECTED {answer}")
    error = decision.verdicts[0].error
    assert error is not None
    assert error.message


def test_the_limits_themselves_are_allowed() -> None:
    sent = record(
        "x" * 255,
        source="s" * 255,
        event_name="e" * 255,
        customer="ä" * 127,
        value="9" * 18 + "." + "9" * 12,
        properties={**properties(19), "p" * 128: "v" * 128},
    )
    given().when(asked(sent), facts()).then_answered("UNMATCHED")


def test_one_bad_record_is_no_other_records_failure() -> None:
    sent = [record("a"), record("b", value="x"), record("c")]
    decision = given().when(asked(*sent), facts())
    decision.then(UsageRecorded.of((kept("a"), kept("c"))))
    decision.then_answered("ACCEPTED", "REJECTED INVALID_VALUE value", "ACCEPTED")


@pytest.mark.parametrize("bad", ["", "\ud800", "x" * 256])
def test_an_id_that_cannot_be_kept_need_not_be_looked_up(bad: str) -> None:
    assert usage.identifiable(record())
    assert not usage.identifiable(record(bad))
    assert not usage.identifiable(record(source=bad))


# -------------------------------------------------------------------------------------- batches


def test_one_event_holds_a_thousand_records() -> None:
    sent = [record(f"r{number}") for number in range(2 * BATCH_RECORDS + 1)]
    decided = usage.decide(asked(*sent), facts())
    assert [event.count for event in decided.events] == [1_000, 1_000, 1]
    last = decided.verdicts[-1]
    assert (last.event, last.row) == (2, 0)
    stored = [row.id for event in decided.events for row in event.records]
    assert stored == [one.id for one in sent]


def test_one_event_holds_no_more_bytes_than_the_store_takes_well() -> None:
    sent = [
        record(f"r{row}", properties={f"p{number}": f"{row:x>128}" for number in range(20)})
        for row in range(BATCH_RECORDS)
    ]
    decided = usage.decide(asked(*sent), facts())
    sizes = [sum(map(len, map(encode_record, event.records))) for event in decided.events]
    assert len(sizes) == 3
    assert max(len(msgspec.msgpack.encode(event)) for event in decided.events) < 2**20
    assert min(sizes[:-1]) > BATCH_BYTES - 2 * sizes[0] // decided.events[0].count
    assert sum(event.count for event in decided.events) == BATCH_RECORDS


def test_a_duplicate_names_the_event_of_its_first() -> None:
    sent = [*(record(f"r{number}") for number in range(BATCH_RECORDS + 1)), record("r0")]
    sent.append(record(f"r{BATCH_RECORDS}"))
    *_, of_the_first, of_the_second = usage.decide(asked(*sent), facts()).verdicts
    assert (of_the_first.status, of_the_first.event) == (Status.DUPLICATE, 0)
    assert (of_the_second.status, of_the_second.event) == (Status.DUPLICATE, 1)
