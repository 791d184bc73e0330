"""Whole bodies in the shapes of others are read in one go as they are read record by record."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import cloud_events
from app.adapters import lago
from app.offers import UNREADABLE, Offered, Refused, each
from domain.usage import RecordInput

FIELDS = RecordInput.__struct_fields__
Event = dict[str, str]
"""An event by its fields, each as the JSON that stands there."""

TEXTS = st.sampled_from(['"a"', '""', '"7"', '"\\u00e9"', '"\\ud800"', '"-0"', '"1.0"', '"x-0,"'])
NUMBERS = st.sampled_from(
    "0 -0 -0.0 7 12.50 1e3 1E-7 -1e39 1e41 1e99999 18446744073709551616 -922337203685477580".split()
) | st.integers(4000, 4400).map(lambda digits: "9" * digits)
OTHERS = st.sampled_from(["null", "true", "false", "[]", "{}", '{"a": 1}'])
UNIX = st.sampled_from(
    '1767261600 1767261600.5 "1767261600.1234567" "1767261600" 0 -1 "32503680000" 1e9'
    ' "2026-01-10T12:00:00Z" "" 1767261600.000001 999999999999 "01"'.split()
)
PROPERTIES = st.one_of(
    st.lists(
        st.tuples(st.sampled_from(["value", "model", "-0"]), TEXTS | NUMBERS | OTHERS), max_size=3
    ).map(lambda pairs: "{" + ", ".join(f'"{name}": {said}' for name, said in pairs) + "}"),
    OTHERS,
    TEXTS,
)
VALUES = TEXTS | NUMBERS | OTHERS
CLOUD = st.fixed_dictionaries(
    {"specversion": st.sampled_from(['"1.0"', '"1.0"', '"1.0"', '"0.3"', "1.0"])},
    optional={
        **dict.fromkeys(("id", "source", "type", "subject"), TEXTS | VALUES),
        "time": TEXTS | st.just("null"),
        "datacontenttype": st.sampled_from(
            ['"application/json"', '"application/JSON; x=1"', "null", '"text/plain"', "3"]
        ),
        "data": PROPERTIES,
        **dict.fromkeys(("value", "data_base64", "properties", "customer"), OTHERS | TEXTS),
    },
)
LAGO = st.fixed_dictionaries(
    {"transaction_id": TEXTS, "code": TEXTS},
    optional={
        **dict.fromkeys(("external_subscription_id", "external_customer_id"), TEXTS | OTHERS),
        "timestamp": UNIX | VALUES,
        "properties": PROPERTIES,
        **dict.fromkeys(("precise_total_amount_cents", "value", "source"), VALUES),
    },
)
USUAL_CLOUD: Event = {
    "specversion": '"1.0"',
    "id": '"a"',
    "source": '"s"',
    "type": '"tok"',
    "subject": '"al"',
    "time": '"2026-01-10T12:00:00Z"',
    "datacontenttype": '"application/json"',
    "data": '{"value": "7", "model": "a"}',
}
USUAL_LAGO: Event = {
    "transaction_id": '"a"',
    "code": '"tok"',
    "external_subscription_id": '"al"',
    "timestamp": "1767261600",
    "properties": '{"value": "7", "model": "a"}',
}


def written(events: Sequence[Event]) -> str:
    """The events as a JSON array."""
    parts = (", ".join(f'"{name}": {said}' for name, said in one.items()) for one in events)
    return "[" + ", ".join(f"{{{part}}}" for part in parts) + "]"


Both = tuple[Sequence[Offered], Sequence[Offered]]
"""Records read in one go, and one by one; none where the body is refused as a whole."""


def cloud(events: Sequence[Event]) -> Both:
    """CloudEvents read both ways."""
    body = written(events).encode()
    try:
        parts = cloud_events._batches.decode(body)
    except UNREADABLE:
        parts = []
    return cloud_events._usual(body), each(cloud_events._structured, parts)


def lagos(events: Sequence[Event]) -> Both:
    """Lago's events read both ways."""
    body = f'{{"events": {written(events)}}}'.encode()
    try:
        parts = lago._manys.decode(body).events
    except UNREADABLE:
        parts = []
    return lago._usual(body), each(lago._record, parts)


Reading = Callable[[Sequence[Event]], Both]


def agree(read: Reading, events: Sequence[Event]) -> bool:
    """Whether they were read in one go; if so, they are what they are one by one."""
    at_once, by_one = read(events)
    if not at_once:
        return False
    assert list(map(said, at_once)) == list(map(said, by_one))
    return True


def said(offered: Offered) -> list[object]:
    """What a record says; a refused one is none."""
    assert isinstance(offered, RecordInput)
    return [getattr(offered, name) for name in FIELDS]


@settings(max_examples=150, deadline=None)
@given(st.lists(CLOUD | st.builds(lambda one: {**USUAL_CLOUD, **one}, CLOUD), max_size=3))
def test_cloud_events_are_never_read_otherwise(events: list[Event]) -> None:
    agree(cloud, events)


@settings(max_examples=150, deadline=None)
@given(st.lists(LAGO | st.builds(lambda one: {**USUAL_LAGO, **one}, LAGO), max_size=3))
def test_events_of_lago_are_never_read_otherwise(events: list[Event]) -> None:
    agree(lagos, events)


@pytest.mark.parametrize(
    ("read", "usual", "name"), [(cloud, USUAL_CLOUD, "data"), (lagos, USUAL_LAGO, "properties")]
)
@pytest.mark.parametrize("value", ['"7"', "7", "12.50", "1e3", "true", "null", "0", "1" * 30])
def test_usual_events_are_read_in_one_go(
    read: Reading, usual: Event, name: str, value: str
) -> None:
    assert agree(read, [usual, {**usual, name: f'{{"value": {value}, "model": "a"}}'}])


@pytest.mark.parametrize(
    ("name", "text"),
    [("value", '"3"'), ("specversion", '"0.3"'), ("data", '{"a": []}'), ("data", '{"a": -0}')],
)
def test_what_is_not_usual_takes_the_closer_look(name: str, text: str) -> None:
    assert not agree(cloud, [USUAL_CLOUD, {**USUAL_CLOUD, name: text}])


def test_too_many_are_refused_however_usual() -> None:
    body = written([USUAL_CLOUD] * 10_001).encode()
    with pytest.raises(Refused) as refused:
        cloud_events.batch(body)
    assert refused.value.status == 413
    body = f'{{"events": {written([USUAL_LAGO] * 10_001)}}}'.encode()
    with pytest.raises(Refused) as refused:
        lago.batch(body)
    assert refused.value.status == 413
