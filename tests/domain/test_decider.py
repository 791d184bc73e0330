"""Decisions: refusals as values, registered names, and the fold that state comes from."""

from typing import Any, ClassVar

import pytest

from domain import customers, ledgers, meters, prices, products, subscriptions
from domain.decider import (
    EVENTS,
    UPCASTERS,
    Code,
    Event,
    Rejected,
    fold,
    registered,
    upcasts,
)
from domain.periods import EPOCH
from domain.products import ProductCreated
from domain.usage import UsageRecorded

AGGREGATES = [customers, ledgers, meters, prices, products, subscriptions]

CREATED = ProductCreated(
    id="prod_1", name="Tokens", description=None, unit_label="token", created_at=EPOCH
)


def test_nothing_happened_is_no_state() -> None:
    assert fold(products.evolve, []) is None


def test_state_is_what_the_facts_add_up_to() -> None:
    product = fold(products.evolve, [CREATED])
    assert product is not None
    assert (product.name, product.active) == ("Tokens", True)


@pytest.mark.parametrize("aggregate", AGGREGATES, ids=lambda module: module.__name__)
def test_a_fact_of_another_aggregate_changes_nothing(aggregate: Any) -> None:
    foreign = UsageRecorded.of(())
    assert aggregate.evolve(None, foreign) is None
    state = object()
    assert aggregate.evolve(state, foreign) is state


def test_refusals_are_equal_by_what_they_say() -> None:
    refusal = Rejected(Code.REQUIRED, ("input", "name"), "name must not be empty")
    same = Rejected(Code.REQUIRED, ("input", "name"), "name must not be empty")
    assert refusal == same
    assert hash(refusal) == hash(same)
    assert refusal != Rejected(Code.REQUIRED, ("input", "email"), "name must not be empty")
    assert refusal != "name must not be empty"
    assert repr(refusal) == "Rejected(REQUIRED, input.name, 'name must not be empty')"


@pytest.mark.parametrize("topic", sorted(EVENTS))
def test_a_stored_name_says_what_happened_and_its_version(topic: str) -> None:
    name, _, version = topic.partition("/")
    subject, _, verb = name.partition(".")
    assert subject.isidentifier()
    assert verb.endswith("ed")
    assert int(version) >= 1
    assert EVENTS[topic].topic == topic


def test_a_name_means_one_event_for_ever() -> None:
    class Impostor(Event, frozen=True, kw_only=True):
        topic: ClassVar[str] = "product.created/1"

    with pytest.raises(ValueError, match=r"product\.created/1 is registered twice"):
        registered(Impostor)
    with pytest.raises(ValueError, match="registered twice"):
        upcasts("product.created/1")(lambda data: ("product.created/2", data))
    assert EVENTS["product.created/1"] is ProductCreated


def test_a_retired_name_is_never_given_again() -> None:
    topic = "story.told/1"
    upcasts(topic)(lambda data: ("story.told/2", data))
    try:

        class Told(Event, frozen=True, kw_only=True):
            topic: ClassVar[str] = "story.told/1"

        with pytest.raises(ValueError, match="registered twice"):
            registered(Told)
        with pytest.raises(ValueError, match="registered twice"):
            upcasts(topic)(lambda data: ("story.told/3", data))
    finally:
        del UPCASTERS[topic]
