"""Customers: who is billed, by our id or by theirs, and in which time zone."""

from datetime import UTC, datetime

import pytest

from domain.customers import (
    ArchiveCustomer,
    CreateCustomer,
    CustomerArchived,
    CustomerCreated,
    CustomerUpdated,
    Facts,
    UpdateCustomer,
)
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
        (
            CreateCustomer(name="x", external_id=f"cus_{'0' * 26}"),
            "INVALID_VALUE",
            "input.externalId",
        ),
        (CreateCustomer(name="x", time_zone="Mars/Olympus"), "INVALID_VALUE", "input.timeZone"),
        (CreateCustomer(name="x", time_zone="../etc"), "INVALID_VALUE", "input.timeZone"),
    ],
)
def test_a_refused_customer(command: CreateCustomer, code: str, path: str) -> None:
    given().when(command, FACTS).then_rejected(code, path)


def test_an_external_id_may_begin_as_ours_do() -> None:
    given().when(CreateCustomer(name="x", external_id="cus_NciAYcXfLnqBoz"), FACTS).then(
        CustomerCreated(
            id="cus_1",
            name="x",
            external_id="cus_NciAYcXfLnqBoz",
            email=None,
            description=None,
            time_zone="UTC",
            created_at=AT,
        )
    )


def test_an_external_id_means_one_customer() -> None:
    taken = Facts(id="cus_2", at=AT, external_id_owner="cus_1")
    command = CreateCustomer(name="Impostor", external_id="alpaca-lover")
    given().when(command, taken).then_rejected("ALREADY_EXISTS", "input.externalId")


NAMED = CustomerUpdated(id="cus_1", email="lover@example.com", external_id="alpaca-lover")
ARCHIVED = CustomerArchived(id="cus_1", archived_at=AT)


def test_an_update_says_only_what_changes() -> None:
    command = UpdateCustomer(
        customer_id="cus_1",
        name="Alpaca Lover",
        email="lover@example.com",
        external_id="alpaca-lover",
    )
    given(LOVER).when(command, FACTS).then(NAMED)


def test_null_clears_and_left_out_stays() -> None:
    command = UpdateCustomer(customer_id="cus_1", external_id=None)
    given(LOVER, NAMED).when(command, FACTS).then(CustomerUpdated(id="cus_1", external_id=None))


def test_changing_back_to_what_it_is_writes_nothing() -> None:
    command = UpdateCustomer(customer_id="cus_1", external_id="alpaca-lover", time_zone="UTC")
    its_own = Facts(id="cus_1", at=AT, external_id_owner="cus_1")
    given(LOVER, NAMED).when(command, its_own).then()


def test_a_customer_is_archived_once_and_may_still_be_updated() -> None:
    given(LOVER).when(ArchiveCustomer(customer_id="cus_1"), FACTS).then(ARCHIVED)
    given(LOVER, ARCHIVED).when(ArchiveCustomer(customer_id="cus_1"), FACTS).then()
    renamed = UpdateCustomer(customer_id="cus_1", name="Lover & Co.")
    expected = CustomerUpdated(id="cus_1", name="Lover & Co.")
    given(LOVER, ARCHIVED).when(renamed, FACTS).then(expected)


@pytest.mark.parametrize(
    ("command", "code", "path"),
    [
        (UpdateCustomer(customer_id="cus_1", name=" "), "REQUIRED", "input.name"),
        (UpdateCustomer(customer_id="cus_1", email="x"), "INVALID_VALUE", "input.email"),
        (UpdateCustomer(customer_id="cus_1", time_zone="Mars"), "INVALID_VALUE", "input.timeZone"),
        (
            UpdateCustomer(customer_id="cus_1", external_id="taken"),
            "ALREADY_EXISTS",
            "input.externalId",
        ),
    ],
)
def test_a_refused_update(command: UpdateCustomer, code: str, path: str) -> None:
    facts = Facts(id="cus_1", at=AT, external_id_owner="cus_2")
    given(LOVER).when(command, facts).then_rejected(code, path)


@pytest.mark.parametrize(
    "command", [UpdateCustomer(customer_id="cus_9"), ArchiveCustomer(customer_id="cus_9")]
)
def test_a_customer_that_does_not_exist(command: UpdateCustomer | ArchiveCustomer) -> None:
    given().when(command, FACTS).then_rejected("NOT_FOUND", "input.customerId")
