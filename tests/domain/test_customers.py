"""Customers: who is billed, by our id or by theirs, and in which time zone."""

from datetime import UTC, datetime

import pytest

from domain.customers import CreateCustomer, CustomerCreated, Facts
from tests.spec import given

AT = datetime(2026, 1, 1, tzinfo=UTC)
FACTS = Facts(id="cus_1", at=AT, external_id_owner=None)
LOVER = CustomerCreated(
    id="cus_1",
    name="Alpaca Lover",
    email=None,
    description=None,
    external_id=None,
    time_zone="UTC",
    created_at=AT,
)


def test_a_customer_needs_only_a_name_and_lives_in_utc() -> None:
    given().when(CreateCustomer(name="Alpaca Lover"), FACTS).then(LOVER)


def test_a_customer_with_everything() -> None:
    command = CreateCustomer(
        name="Alpaca Lover",
        email="lover@example.com",
        description="Found us at the fair",
        external_id="alpaca-lover",
        time_zone="Europe/Berlin",
    )
    created = CustomerCreated(
        id="cus_1",
        name="Alpaca Lover",
        email="lover@example.com",
        description="Found us at the fair",
        external_id="alpaca-lover",
        time_zone="Europe/Berlin",
        created_at=AT,
    )
    given().when(command, FACTS).then(created)


def test_creating_a_customer_twice_writes_nothing() -> None:
    given(LOVER).when(CreateCustomer(name="Alpaca Lover"), FACTS).then()


@pytest.mark.parametrize(
    ("command", "code", "path"),
    [
        (CreateCustomer(name=" "), "REQUIRED", "input.name"),
        (CreateCustomer(name="x", email="lover"), "INVALID_VALUE", "input.email"),
        (CreateCustomer(name="x", email="a b@example.com"), "INVALID_VALUE", "input.email"),
        (CreateCustomer(name="x", email="a@" + "b" * 254), "LIMIT_EXCEEDED", "input.email"),
        (CreateCustomer(name="x", description="x" * 4097), "LIMIT_EXCEEDED", "input.description"),
        (CreateCustomer(name="x", external_id="x" * 256), "LIMIT_EXCEEDED", "input.externalId"),
        (CreateCustomer(name="x", external_id="cus_9"), "INVALID_VALUE", "input.externalId"),
        (CreateCustomer(name="x", time_zone="Mars/Olympus"), "INVALID_VALUE", "input.timeZone"),
        (CreateCustomer(name="x", time_zone="../etc"), "INVALID_VALUE", "input.timeZone"),
    ],
)
def test_a_refused_customer(command: CreateCustomer, code: str, path: str) -> None:
    given().when(command, FACTS).then_rejected(code, path)


def test_an_external_id_means_one_customer() -> None:
    taken = Facts(id="cus_2", at=AT, external_id_owner="cus_1")
    command = CreateCustomer(name="Impostor", external_id="alpaca-lover")
    given().when(command, taken).then_rejected("ALREADY_EXISTS", "input.externalId")
