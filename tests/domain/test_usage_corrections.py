"""Corrections of usage: voided for good, amended as often as need be, judged as at the door."""

from datetime import UTC, datetime
from typing import Any

import pytest

from domain import usage
from domain.usage import UsageRecord, UsageRecorded
from domain.usage_corrections import AmendUsage, Facts, UsageAmended, UsageVoided, VoidUsage
from tests.spec import Given, given

AT = datetime(2026, 1, 20, tzinfo=UTC)
METERS = usage.Facts(
    at_us=0,
    value_properties={"tokens": ("value",), "jobs": ("seconds",), "logins": ()},
    text_properties={"logins": ("value",)},
    customers=(),
    recorded={},
)
FACTS = Facts(at=AT, position=25, row=3, meters=METERS)


def recorded(
    value: str | None = "3000",
    properties: dict[str, str] | None = None,
    event_name: str = "tokens",
) -> UsageRecorded:
    """The record r1 of the gateway, alone of its batch."""
    record = UsageRecord("r1", "gateway", event_name, "alpaca-lover", 7, value, properties or {})
    return UsageRecorded.of((record,))


def void(reason: str | None = None) -> VoidUsage:
    """Void that record."""
    return VoidUsage(id="r1", source="gateway", reason=reason)


def amend(
    value: str | None = None, properties: Any = None, reason: str | None = None
) -> AmendUsage:
    """Amend that record."""
    return AmendUsage(id="r1", source="gateway", value=value, properties=properties, reason=reason)


def voided(reason: str | None = None) -> UsageVoided:
    """That record was voided."""
    return UsageVoided(source="gateway", id="r1", position=25, row=3, reason=reason, voided_at=AT)


def amended(
    value: str | None, properties: dict[str, str] | None = None, reason: str | None = None
) -> UsageAmended:
    """That record was amended."""
    return UsageAmended(
        source="gateway",
        id="r1",
        position=25,
        row=3,
        value=value,
        properties=properties or {},
        reason=reason,
        amended_at=AT,
    )


MODEL = {"model": "small"}

# ---------------------------------------------------------------------------------- voiding


def test_a_record_is_voided_for_a_reason() -> None:
    given(recorded()).when(void("A test run"), FACTS).then(voided("A test run"))


def test_a_blank_reason_is_none() -> None:
    given(recorded()).when(void(""), FACTS).then(voided())


def test_voiding_twice_writes_nothing() -> None:
    given(recorded(), voided("A test run")).when(void("Again"), FACTS).then()


def test_an_amended_record_is_voided() -> None:
    given(recorded(), amended("1")).when(void(), FACTS).then(voided())


# --------------------------------------------------------------------------------- amending


def test_the_value_is_amended_and_the_properties_stay() -> None:
    history = given(recorded("3000", MODEL))
    history.when(amend("2500.50", reason="Typo"), FACTS).then(amended("2500.5", MODEL, "Typo"))


def test_the_properties_are_replaced_and_the_value_stays() -> None:
    history = given(recorded("3000", {"model": "small", "region": "eu"}))
    history.when(amend(properties={"model": "large"}), FACTS).then(
        amended("3000", {"model": "large"})
    )
    history.when(amend(properties={}), FACTS).then(amended("3000", {}))


def test_both_are_amended() -> None:
    given(recorded()).when(amend("1", MODEL), FACTS).then(amended("1", MODEL))


def test_the_value_may_stand_among_the_properties_as_when_it_is_sent() -> None:
    given(recorded()).when(amend(properties={"value": "4.0", **MODEL}), FACTS).then(
        amended("4", MODEL)
    )


def test_a_value_in_words_is_amended_as_a_whole() -> None:
    ann = recorded(None, {"value": "ann", **MODEL}, "logins")
    given(ann).when(amend(properties={"value": "bob"}), FACTS).then(amended(None, {"value": "bob"}))
    given(ann).when(amend("7"), FACTS).then(amended("7", MODEL))
    given(ann).when(amend(properties=MODEL), FACTS).then_rejected("REQUIRED", "input.value")


def test_a_record_is_amended_again_and_back() -> None:
    once = given(recorded("3000", MODEL), amended("2500", MODEL))
    once.when(amend("2600"), FACTS).then(amended("2600", MODEL))
    once.when(amend("3000"), FACTS).then(amended("3000", MODEL))


@pytest.mark.parametrize(
    "same",
    [amend("2500"), amend("2500.0", MODEL), amend(properties=MODEL), amend("2500", reason="Why")],
)
def test_amending_to_what_it_says_writes_nothing(same: AmendUsage) -> None:
    given(recorded(), amended("2500", MODEL)).when(same, FACTS).then()


def test_a_voided_record_cannot_be_amended() -> None:
    for command in (amend("1"), amend()):
        given(recorded(), voided()).when(command, FACTS).then_rejected("WRONG_STATE", "input.id")


def test_something_must_be_amended() -> None:
    given(recorded()).when(amend(reason="Because"), FACTS).then_rejected("REQUIRED", "input.value")


@pytest.mark.parametrize(
    ("command", "code", "path"),
    [
        (amend("1e3"), "INVALID_VALUE", "input.value"),
        (amend("NaN"), "INVALID_VALUE", "input.value"),
        (amend("9" * 19), "INVALID_VALUE", "input.value"),
        (amend("1", {"value": "1"}), "INVALID_VALUE", "input.value"),
        (amend(properties={"value": "many"}), "INVALID_VALUE", "input.value"),
        (amend(properties={"model": 4}), "INVALID_VALUE", "input.properties.model"),
        (amend(properties={"model": "x" * 129}), "LIMIT_EXCEEDED", "input.properties.model"),
        (amend(properties={"\ud800": "x"}), "INVALID_VALUE", "input.properties.\ud800"),
        (amend(properties={str(n): "" for n in range(21)}), "LIMIT_EXCEEDED", "input.properties"),
        (amend(properties=["value"]), "INVALID_VALUE", "input.properties"),
        (amend(properties="value"), "INVALID_VALUE", "input.properties"),
        (amend("1", reason="x" * 4_097), "LIMIT_EXCEEDED", "input.reason"),
        (void("a\x00"), "INVALID_VALUE", "input.reason"),
    ],
)
def test_what_could_not_be_sent_cannot_be_amended(
    command: AmendUsage | VoidUsage, code: str, path: str
) -> None:
    given(recorded()).when(command, FACTS).then_rejected(code, path)


def test_what_a_meter_reads_must_be_there_and_a_number() -> None:
    job = given(recorded(None, {"seconds": "1.5"}, "jobs"))
    job.when(amend(properties=MODEL), FACTS).then_rejected("REQUIRED", "input.properties.seconds")
    job.when(amend(properties={"seconds": "long"}), FACTS).then_rejected(
        "INVALID_VALUE", "input.properties.seconds"
    )
    job.when(amend(properties={"seconds": "2"}), FACTS).then(amended(None, {"seconds": "2"}))


# ----------------------------------------------------------------------------------- unknown


@pytest.mark.parametrize("command", [void(), amend("1"), amend()])
@pytest.mark.parametrize("history", [given(), given(voided()), given(amended("1"))])
def test_what_was_never_recorded_cannot_be_corrected(
    history: Given, command: AmendUsage | VoidUsage
) -> None:
    history.when(command, FACTS).then_rejected("NOT_FOUND", "input.id")
