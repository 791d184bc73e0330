"""What a revised meter needs of a usage record depends on the record's own time."""

import msgspec
import pytest

from domain.periods import parse_instant, to_us
from domain.usage import Needed, RecordInput
from tests.domain.test_usage import asked, facts, record
from tests.spec import given

CHANGE = "2026-01-10T00:00:00Z"
CHANGE_US = to_us(parse_instant(CHANGE, ()))
BEFORE = "2026-01-09T23:59:59.999999Z"
REVISED = msgspec.structs.replace(
    facts(tokens=()),
    at_times={
        "tokens": (
            Needed("value", numeric=True, since_us=0, until_us=CHANGE_US),
            Needed("size", numeric=True, since_us=CHANGE_US, until_us=2**62),
            Needed("user", numeric=False, since_us=CHANGE_US, until_us=2**62),
        )
    },
)
BOTH = {"size": "3", "user": "ann"}


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (record(timestamp=BEFORE, value="1"), "ACCEPTED"),
        (record(timestamp=BEFORE, value=None, properties=BOTH), "REJECTED REQUIRED value"),
        (record(timestamp=CHANGE, value=None, properties=BOTH), "ACCEPTED"),
        (record(timestamp=CHANGE, value="1"), "REJECTED REQUIRED properties.size"),
        (
            record(timestamp=CHANGE, properties={**BOTH, "size": "many"}),
            "REJECTED INVALID_VALUE properties.size",
        ),
        (record(timestamp=CHANGE, properties={"size": "3"}), "REJECTED REQUIRED properties.user"),
        (record(timestamp=None, value="1"), "REJECTED REQUIRED properties.size"),
    ],
)
def test_a_record_has_what_the_version_of_its_time_needs(sent: RecordInput, answer: str) -> None:
    now = msgspec.structs.replace(REVISED, at_us=CHANGE_US)
    given().when(asked(sent), now).then_answered(answer)
