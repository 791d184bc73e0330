"""The quick way to decide a batch of usage gives the answers of the thorough one, or none."""

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from domain import usage, usual_usage
from domain.usage import BATCH_RECORDS, Facts, Needed, Prior, RecordInput, RecordUsage

IDS = st.sampled_from(
    ["a", "b", "c", "d", "e", "", "two words", "é", "n\x00l", "\ud800", "x" * 256]
)
TIMES = st.sampled_from(
    [
        "2026-01-10T12:00:00Z",
        "2026-01-10T12:00:00.000001Z",
        "2026-01-10T12:00:00.5Z",
        "2026-01-10T12:00:00+01:00",
        "2026-01-10t12:00:00z",
        "2026-02-30T12:00:00Z",
        "2026-01-10T24:00:00Z",
        "2026-01-10T12:00:60Z",
        "2026-01-10T12:00:00.1234567Z",
        "1969-12-31T23:59:59Z",
        "3000-01-01T00:00:00Z",
        "2026-01-10",
        "",
    ]
)
USUAL_TIMES = st.sampled_from(["2026-01-10T12:00:00Z", "2026-01-10T12:00:00.25Z"])
VALUES = st.sampled_from(["1", "0", "-3", "0.040", "1e3", "NaN", "٣", "", "9" * 19, None])
PROPERTIES = st.sampled_from(
    [
        None,
        {},
        {"model": "a"},
        {"model": ""},
        {"value": "7"},
        {"value": "x"},
        {"tokens": "12"},
        {"tokens": "many"},
        {"model": 3},
        {"model": ["a"]},
        {"model": "x" * 129},
        {str(n): "v" for n in range(21)},
        ["no", "object"],
        [],
        False,
    ]
)
FACTS = st.builds(
    Facts,
    at_us=st.just(1_768_046_400_000_000),
    value_properties=st.sampled_from(
        [{}, {"tok": ("value",)}, {"tok": ()}, {"tok": ("tokens",)}, {"tok": ("tokens", "value")}]
    ),
    text_properties=st.sampled_from(
        [{}, {"tok": ("value",)}, {"tok": ("tokens", "model")}, {"other": ("model",)}]
    ),
    at_times=st.sampled_from(
        [
            {},
            {"tok": (Needed("tokens", True, 0, 1_768_046_400_000_001),)},
            {"tok": (Needed("value", True, 1_768_046_400_000_000, 2**62),)},
            {"other": (Needed("model", False, 0, 1_768_046_400_000_000),)},
        ]
    ),
    customers=st.sampled_from([set(), {"al"}]),
    recorded=st.sampled_from([{}, {("default", "a"): Prior(4, b"another digest")}]),
)


def records(
    times: st.SearchStrategy[str | None], **others: st.SearchStrategy[object]
) -> st.SearchStrategy[list[RecordInput]]:
    """A batch of records whose fields are drawn from these."""
    fields = {
        "id": IDS,
        "event_name": st.sampled_from(["tok", "other"]),
        "customer": st.sampled_from(["al", "nobody"]),
        "value": VALUES,
        "properties": PROPERTIES,
        **others,
    }
    return st.lists(st.builds(RecordInput, timestamp=times, **fields), max_size=5)


def agree(sent: list[RecordInput], facts: Facts) -> bool:
    """Whether the quick way answered; if so, as the thorough one does."""
    command = RecordUsage(records=sent)
    quick = usual_usage.decide(command, facts)
    if quick is None:
        return False
    thorough = usage.decide(command, facts)
    assert quick.decided() == thorough
    return True


@settings(max_examples=200, deadline=None)
@given(records(st.none() | TIMES), FACTS)
def test_the_quick_way_never_answers_otherwise(sent: list[RecordInput], facts: Facts) -> None:
    agree(sent, facts)


@settings(max_examples=100, deadline=None)
@given(
    records(
        st.none() | USUAL_TIMES,
        id=st.uuids().map(str),
        value=st.sampled_from(["1", "0.040", "-3"]),
        properties=st.sampled_from([None, {}, {"model": "a"}, {"model": ""}]),
    ).filter(bool),
    FACTS.filter(
        lambda facts: (
            not facts.recorded
            and "tokens" not in facts.value_properties.get("tok", ())
            and facts.text_properties in ({}, {"tok": ("value",)})
            and not facts.at_times
        )
    ),
)
def test_a_usual_batch_takes_the_quick_way(sent: list[RecordInput], facts: Facts) -> None:
    assert agree(sent, facts)


@settings(max_examples=100, deadline=None)
@given(
    records(
        st.none() | USUAL_TIMES,
        id=st.uuids().map(str),
        value=st.none(),
        properties=st.sampled_from(
            [{"value": "7"}, {"model": "a", "value": "-0.040"}, {"value": "3", "model": ""}]
        ),
    ).filter(bool),
    st.sampled_from([{}, {"tok": ("value",)}]),
)
def test_values_among_the_properties_take_the_quick_way(
    sent: list[RecordInput], needed: dict[str, tuple[str, ...]]
) -> None:
    facts = Facts(
        at_us=7, value_properties=needed, text_properties=needed, customers={"al"}, recorded={}
    )
    assert agree(sent, facts)


def test_a_text_that_a_meter_needs_takes_the_quick_way_when_it_is_there() -> None:
    users = Facts(
        at_us=0,
        value_properties={"tok": ()},
        text_properties={"tok": ("user",)},
        customers={"al"},
        recorded={},
    )
    named = RecordInput(
        id="a",
        event_name="tok",
        customer="al",
        timestamp="2026-01-10T12:00:00Z",
        properties={"user": "ann"},
    )
    assert agree([named], users)
    nameless = msgspec.structs.replace(named, properties={"users": "ann"})
    assert not agree([named, nameless], users)


def test_a_batch_of_a_revised_meter_takes_the_thorough_way_and_others_do_not() -> None:
    facts = Facts(
        at_us=0,
        value_properties={"tok": (), "other": ()},
        at_times={"tok": (Needed("size", True, 0, 2**62),)},
        customers={"al"},
        recorded={},
    )
    other = RecordInput(id="a", event_name="other", customer="al", timestamp="2026-01-10T12:00:00Z")
    assert agree([other], facts)
    assert not agree([other, msgspec.structs.replace(other, id="b", event_name="tok")], facts)


def usual(id: str, **fields: Any) -> RecordInput:
    """A record with nothing unusual about it, but for what is said."""
    said = {"event_name": "tok", "customer": "al", "timestamp": "2026-01-10T12:00:00Z", **fields}
    return RecordInput(id=id, **said)


KNOWN = Facts(at_us=0, value_properties={"tok": ()}, customers={"al"}, recorded={})


def test_many_records_become_as_many_events_as_they_need() -> None:
    sent = [usual(f"r{number}") for number in range(2 * BATCH_RECORDS + 1)]
    assert agree(sent, KNOWN)
    assert not agree([*sent, sent[0]], KNOWN), "it was sent a thousand records before"


def test_one_id_of_two_sources_is_two_records() -> None:
    assert agree([usual("a"), usual("a", source="gateway")], KNOWN)
    assert not agree([usual("a"), usual("a")], KNOWN)


def test_each_record_has_its_own_status() -> None:
    sent = [
        usual(f"{name}-{customer}", event_name=name, customer=customer)
        for name in ("tok", "other")
        for customer in ("al", "nobody", "al2")
    ]
    assert agree(sent, KNOWN)


def test_more_bytes_than_an_event_holds_are_for_the_thorough_way() -> None:
    wide = {f"p{number}": "x" * 128 for number in range(20)}
    assert not agree([usual(f"r{row}", properties=wide) for row in range(BATCH_RECORDS)], KNOWN)
