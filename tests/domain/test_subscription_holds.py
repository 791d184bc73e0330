"""Holding subscriptions back, and letting them go on."""

from datetime import UTC, datetime

from domain.collection import CollectionMethod
from domain.subscription_holds import (
    Facts,
    ParkSubscription,
    PauseCollection,
    ResumeCollection,
    UnparkSubscription,
)
from domain.subscriptions import (
    CollectionPaused,
    CollectionResumed,
    End,
    SubscriptionCanceled,
    SubscriptionCreated,
    SubscriptionParked,
    SubscriptionUnparked,
)
from tests.spec import given

AT = datetime(2026, 1, 16, tzinfo=UTC)
FACTS = Facts(at=AT)
CREATED = SubscriptionCreated(
    id="sub_1",
    customer_id="cus_1",
    currency="USD",
    items=(),
    start_at=AT,
    billing_anchor=AT,
    time_zone="UTC",
    collection_method=CollectionMethod.CHARGE_AUTOMATICALLY,
    days_until_due=None,
    created_at=AT,
)
PAUSED = CollectionPaused(id="sub_1", paused_at=AT)
PARKED = SubscriptionParked(id="sub_1", reason="years behind", parked_at=AT)
ENDED = SubscriptionCanceled(
    id="sub_1", end=End(at=AT, bill_at=AT, prorates=True, settles=True), canceled_at=AT
)


def test_collection_is_paused_and_resumed() -> None:
    given(CREATED).when(PauseCollection(subscription_id="sub_1"), FACTS).then(PAUSED)
    given(CREATED, PAUSED).when(ResumeCollection(subscription_id="sub_1"), FACTS).then(
        CollectionResumed(id="sub_1", resumed_at=AT)
    )
    given(CREATED).when(ResumeCollection(subscription_id="sub_1"), FACTS).then()


def test_what_has_ended_is_not_paused() -> None:
    given(CREATED, ENDED).when(PauseCollection(subscription_id="sub_1"), FACTS).then_rejected(
        "WRONG_STATE", "input.subscriptionId"
    )


def test_a_subscription_is_parked_and_unparked() -> None:
    park = ParkSubscription(subscription_id="sub_1", reason="years behind")
    given(CREATED).when(park, FACTS).then(PARKED)
    given(CREATED, PARKED).when(UnparkSubscription(subscription_id="sub_1"), FACTS).then(
        SubscriptionUnparked(id="sub_1", unparked_at=AT)
    )
    given(CREATED).when(UnparkSubscription(subscription_id="sub_1"), FACTS).then()


def test_nobody_holds_what_is_not_there() -> None:
    for command in (
        PauseCollection(subscription_id="sub_1"),
        ResumeCollection(subscription_id="sub_1"),
        UnparkSubscription(subscription_id="sub_1"),
    ):
        given().when(command, FACTS).then_rejected("NOT_FOUND", "input.subscriptionId")
