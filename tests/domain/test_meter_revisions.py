"""Meters that are revised: what they measure from an instant on, and what cannot be kept."""

from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from domain import meters
from domain.aggregation import Aggregation
from domain.decider import Event, fold
from domain.meters import Facts, Meter, MeterArchived, MeterCreated, MeterRevised, ReviseMeter
from domain.periods import EPOCH
from tests.spec import given

AT = datetime(2026, 1, 15, tzinfo=UTC)
EARLIER = datetime(2026, 1, 10, tzinfo=UTC)
LATER = datetime(2026, 2, 1, tzinfo=UTC)
FACTS = Facts(id="met_1", at=AT)
BY_RECORDS = Facts(id="met_1", at=AT, priced_by_records=True)
TOKENS = MeterCreated(
    id="met_1",
    name="Tokens",
    event_name="tokens",
    aggregation=Aggregation.SUM,
    value_property="value",
    dimensions=("model",),
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
)
SEATS = replace(TOKENS, aggregation=Aggregation.WEIGHTED_SUM, carries_over=True)


def revise(**what: Any) -> ReviseMeter:
    """The wish to measure otherwise."""
    return ReviseMeter(meter_id="met_1", **what)


def revised(number: int = 2, **what: Any) -> MeterRevised:
    """Tokens, but for what is said, from now on."""
    definition: dict[str, Any] = {
        "effective_at": AT,
        "aggregation": Aggregation.SUM,
        "value_property": "value",
        "dimensions": ("model",),
        "carries_over": False,
        **what,
    }
    return MeterRevised(id="met_1", number=number, revised_at=AT, **definition)


def meter(*events: Event) -> Meter:
    """The meter that these facts add up to."""
    state = fold(meters.evolve, events)
    assert state is not None
    return state


def told(state: Meter) -> list[tuple[int, Aggregation, datetime]]:
    """The versions in the order of time: (number, aggregation, until when)."""
    return [(one.version.number, one.version.aggregation, one.until) for one in state.timeline]


def test_a_revision_is_in_force_from_now_and_keeps_what_is_left_out() -> None:
    counted = revised(aggregation=Aggregation.COUNT)
    given(TOKENS).when(revise(aggregation=Aggregation.COUNT), FACTS).then(counted)
    state = meter(TOKENS, counted)
    assert state.in_force(EARLIER).aggregation is Aggregation.SUM
    assert state.in_force(AT).aggregation is Aggregation.COUNT
    assert [one.effective_at for one in state.versions] == [None, AT]


@pytest.mark.parametrize("effective_at", [EPOCH, EARLIER, AT, LATER])
def test_it_may_be_in_force_from_any_instant(effective_at: datetime) -> None:
    wish = revise(effective_at=effective_at, value_property="tokens")
    given(TOKENS).when(wish, FACTS).then(
        revised(effective_at=effective_at, value_property="tokens")
    )


def test_what_is_left_out_stays_as_it_is_at_that_instant() -> None:
    soon = revised(2, effective_at=LATER, value_property="tokens", dimensions=("model", "region"))
    counted = revise(effective_at=LATER, aggregation=Aggregation.COUNT)
    given(TOKENS, soon).when(counted, FACTS).then(
        replace(soon, number=3, aggregation=Aggregation.COUNT)
    )
    now = revise(aggregation=Aggregation.MAX)
    given(TOKENS, soon).when(now, FACTS).then(revised(3, aggregation=Aggregation.MAX))


def test_what_is_in_force_already_is_not_revised() -> None:
    given(TOKENS).when(revise(), FACTS).then()
    given(TOKENS).when(revise(aggregation=Aggregation.SUM, dimensions=("model",)), FACTS).then()
    counted = revised(effective_at=EARLIER, aggregation=Aggregation.COUNT)
    given(TOKENS, counted).when(revise(aggregation=Aggregation.COUNT), FACTS).then()
    back = revise(aggregation=Aggregation.SUM)
    given(TOKENS, counted).when(back, FACTS).then(revised(3))


def test_versions_are_in_force_in_the_order_of_their_instants() -> None:
    late = revised(2, effective_at=LATER, aggregation=Aggregation.MAX)
    early = revised(3, effective_at=EARLIER, aggregation=Aggregation.COUNT)
    always = datetime(3000, 1, 1, tzinfo=UTC)
    assert told(meter(TOKENS, late, early)) == [
        (1, Aggregation.SUM, EARLIER),
        (3, Aggregation.COUNT, LATER),
        (2, Aggregation.MAX, always),
    ]
    again = revised(4, effective_at=LATER, aggregation=Aggregation.MIN)
    assert told(meter(TOKENS, late, early, again))[-1] == (4, Aggregation.MIN, always)
    whole = revised(5, effective_at=EPOCH, aggregation=Aggregation.COUNT)
    state = meter(TOKENS, late, early, again, whole)
    assert told(state)[0] == (5, Aggregation.COUNT, EARLIER)
    assert [one.number for one in state.versions] == [1, 2, 3, 4, 5]


def test_the_one_aggregation_of_all_times() -> None:
    assert meter(TOKENS).only_aggregation is Aggregation.SUM
    assert meter(TOKENS, revised(aggregation=Aggregation.MAX)).only_aggregation is None
    whole = revised(effective_at=EPOCH, aggregation=Aggregation.MAX)
    assert meter(TOKENS, whole).only_aggregation is Aggregation.MAX


def test_dimensions_are_added_after_those_that_there_are() -> None:
    wish = revise(dimensions=("region", "model"))
    given(TOKENS).when(wish, FACTS).then(revised(dimensions=("model", "region")))
    wider = meter(TOKENS, revised(dimensions=("model", "region")))
    assert wider.all_dimensions == ("model", "region")


def test_a_level_that_is_none_any_more_is_not_carried_over() -> None:
    given(SEATS).when(revise(aggregation=Aggregation.MAX), FACTS).then(
        revised(aggregation=Aggregation.MAX)
    )
    given(SEATS).when(revise(carries_over=False), FACTS).then(
        revised(aggregation=Aggregation.WEIGHTED_SUM)
    )
    given(TOKENS).when(revise(aggregation=Aggregation.WEIGHTED_SUM, carries_over=True), FACTS).then(
        revised(aggregation=Aggregation.WEIGHTED_SUM, carries_over=True)
    )


def test_a_price_that_looks_at_single_records_keeps_the_sum() -> None:
    wish = revise(aggregation=Aggregation.MAX)
    given(TOKENS).when(wish, BY_RECORDS).then_rejected("WRONG_STATE", "input.aggregation")
    given(TOKENS).when(revise(value_property="size"), BY_RECORDS).then(
        revised(value_property="size")
    )


@pytest.mark.parametrize(
    ("wish", "code", "path"),
    [
        ({"value_property": ""}, "REQUIRED", "input.valueProperty"),
        ({"value_property": "model"}, "INVALID_VALUE", "input.valueProperty"),
        ({"dimensions": ()}, "INVALID_VALUE", "input.dimensions"),
        ({"dimensions": ("region",)}, "INVALID_VALUE", "input.dimensions"),
        ({"dimensions": ("model", "model")}, "INVALID_VALUE", "input.dimensions.1"),
        ({"dimensions": ("model", "value")}, "INVALID_VALUE", "input.dimensions.1"),
        ({"dimensions": ("model", "x" * 129)}, "LIMIT_EXCEEDED", "input.dimensions.1"),
        ({"dimensions": tuple(map(str, range(21)))}, "LIMIT_EXCEEDED", "input.dimensions"),
        ({"carries_over": True}, "INVALID_VALUE", "input.carriesOver"),
    ],
)
def test_a_refused_revision(wish: dict[str, Any], code: str, path: str) -> None:
    given(TOKENS).when(revise(**wish), FACTS).then_rejected(code, path)


def test_a_dimension_stays_declared_in_every_version_to_come() -> None:
    later = revised(2, effective_at=LATER, dimensions=("model", "region"))
    fits = revise(dimensions=("model", "region"))
    given(TOKENS, later).when(fits, FACTS).then(revised(3, dimensions=("model", "region")))
    lost = revise(dimensions=("model", "zone"))
    given(TOKENS, later).when(lost, FACTS).then_rejected("INVALID_VALUE", "input.dimensions.1")


def test_an_archived_meter_is_not_revised() -> None:
    archived = MeterArchived(id="met_1", archived_at=AT)
    wish = revise(aggregation=Aggregation.COUNT)
    given(TOKENS, archived).when(wish, FACTS).then_rejected("WRONG_STATE", "input.meterId")
    given().when(wish, FACTS).then_rejected("NOT_FOUND", "input.meterId")


def test_a_hundred_versions_are_enough() -> None:
    flips = (Aggregation.COUNT, Aggregation.SUM)
    history = [revised(number, aggregation=flips[number % 2]) for number in range(2, 101)]
    wish = revise(aggregation=Aggregation.MAX)
    given(TOKENS, *history[:-1]).when(wish, FACTS).then(revised(100, aggregation=Aggregation.MAX))
    given(TOKENS, *history).when(wish, FACTS).then_rejected("LIMIT_EXCEEDED", "input.meterId")
