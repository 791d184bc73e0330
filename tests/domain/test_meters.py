"""Meters: what is measured, over which records, by which property and dimensions."""

from datetime import UTC, datetime

import pytest

from domain import meters
from domain.aggregation import Aggregation
from domain.decider import fold
from domain.meters import (
    ArchiveMeter,
    CreateMeter,
    Facts,
    MeterArchived,
    MeterCreated,
    MeterUpdated,
    UpdateMeter,
)
from tests.spec import given

AT = datetime(2026, 1, 1, tzinfo=UTC)
FACTS = Facts(id="met_1", at=AT)
TOKENS = MeterCreated(
    id="met_1",
    name="Alpaca.ai tokens",
    event_name="alpaca_ai_tokens",
    aggregation=Aggregation.SUM,
    value_property="value",
    dimensions=(),
    created_at=AT,
)


def meter(
    *,
    name: str = "Alpaca.ai tokens",
    event_name: str = "alpaca_ai_tokens",
    aggregation: Aggregation = Aggregation.SUM,
    value_property: str = "value",
    dimensions: tuple[str, ...] = (),
    carries_over: bool = False,
) -> CreateMeter:
    """The meter of the reference story, but for what is said."""
    return CreateMeter(
        name=name,
        event_name=event_name,
        aggregation=aggregation,
        value_property=value_property,
        dimensions=dimensions,
        carries_over=carries_over,
    )


def test_a_meter_is_created() -> None:
    given().when(meter(), FACTS).then(TOKENS)


def test_a_meter_with_dimensions_over_a_property_of_its_own() -> None:
    command = meter(value_property="tokens", dimensions=("model", "region"))
    created = MeterCreated(
        id="met_1",
        name="Alpaca.ai tokens",
        event_name="alpaca_ai_tokens",
        aggregation=Aggregation.SUM,
        value_property="tokens",
        dimensions=("model", "region"),
        created_at=AT,
    )
    given().when(command, FACTS).then(created)


def test_creating_a_meter_twice_writes_nothing() -> None:
    given(TOKENS).when(meter(), FACTS).then()


@pytest.mark.parametrize("aggregation", list(Aggregation))
def test_every_aggregation_that_does_not_count_needs_a_number(aggregation: Aggregation) -> None:
    events = meters.decide(None, meter(aggregation=aggregation), FACTS)
    created = fold(meters.evolve, events)
    assert created is not None
    counting = aggregation in (Aggregation.COUNT, Aggregation.UNIQUE_COUNT)
    assert created.needs_value is not counting
    assert created.needs_text is (aggregation is Aggregation.UNIQUE_COUNT)


def test_a_level_can_be_carried_over() -> None:
    command = meter(aggregation=Aggregation.WEIGHTED_SUM, carries_over=True)
    created = fold(meters.evolve, meters.decide(None, command, FACTS))
    assert created is not None
    assert created.carries_over


@pytest.mark.parametrize("aggregation", sorted(set(Aggregation) - {Aggregation.WEIGHTED_SUM}))
def test_nothing_but_a_level_can(aggregation: Aggregation) -> None:
    command = meter(aggregation=aggregation, carries_over=True)
    given().when(command, FACTS).then_rejected("INVALID_VALUE", "input.carriesOver")


@pytest.mark.parametrize(
    ("command", "code", "path"),
    [
        (meter(name=""), "REQUIRED", "input.name"),
        (meter(event_name=""), "REQUIRED", "input.eventName"),
        (meter(event_name="x" * 256), "LIMIT_EXCEEDED", "input.eventName"),
        (meter(value_property=""), "REQUIRED", "input.valueProperty"),
        (meter(dimensions=("model", "")), "REQUIRED", "input.dimensions.1"),
        (meter(dimensions=("x" * 129,)), "LIMIT_EXCEEDED", "input.dimensions.0"),
        (meter(dimensions=("model", "model")), "INVALID_VALUE", "input.dimensions.1"),
        (meter(dimensions=("value",)), "INVALID_VALUE", "input.dimensions.0"),
    ],
)
def test_a_refused_meter(command: CreateMeter, code: str, path: str) -> None:
    given().when(command, FACTS).then_rejected(code, path)


def test_twenty_dimensions_are_enough() -> None:
    names = tuple(f"d{number}" for number in range(21))
    [created] = meters.decide(None, meter(dimensions=names[:20]), FACTS)
    assert isinstance(created, MeterCreated)
    assert created.dimensions == names[:20]
    given().when(meter(dimensions=names), FACTS).then_rejected("LIMIT_EXCEEDED", "input.dimensions")


def test_a_meter_may_be_called_otherwise() -> None:
    renamed = MeterUpdated(id="met_1", name="Tokens")
    given(TOKENS).when(UpdateMeter(meter_id="met_1", name="Tokens"), FACTS).then(renamed)
    given(TOKENS, renamed).when(UpdateMeter(meter_id="met_1", name="Tokens"), FACTS).then()


def test_a_meter_is_archived_once() -> None:
    archived = MeterArchived(id="met_1", archived_at=AT)
    given(TOKENS).when(ArchiveMeter(meter_id="met_1"), FACTS).then(archived)
    given(TOKENS, archived).when(ArchiveMeter(meter_id="met_1"), FACTS).then()


def test_a_refused_change() -> None:
    nameless = UpdateMeter(meter_id="met_1", name=" ")
    given(TOKENS).when(nameless, FACTS).then_rejected("REQUIRED", "input.name")
    missing = UpdateMeter(meter_id="met_9", name="x")
    given().when(missing, FACTS).then_rejected("NOT_FOUND", "input.meterId")
    given().when(ArchiveMeter(meter_id="met_9"), FACTS).then_rejected("NOT_FOUND", "input.meterId")
