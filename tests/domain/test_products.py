"""Products: what is sold."""

from datetime import UTC, datetime

import pytest

from domain.products import (
    ArchiveProduct,
    CreateProduct,
    Facts,
    ProductArchived,
    ProductCreated,
    ProductUpdated,
    UpdateProduct,
)
from tests.spec import given

AT = datetime(2026, 1, 1, tzinfo=UTC)
FACTS = Facts(id="prod_1", at=AT)
USAGE = ProductCreated(
    id="prod_1", name="Alpaca.ai usage", description=None, unit_label=None, created_at=AT
)


def test_a_product_is_created() -> None:
    given().when(CreateProduct(name="Alpaca.ai usage"), FACTS).then(USAGE)


def test_a_product_with_all_its_texts() -> None:
    command = CreateProduct(
        name="Alpaca.ai usage", description="Tokens of the model", unit_label="token"
    )
    created = ProductCreated(
        id="prod_1",
        name="Alpaca.ai usage",
        description="Tokens of the model",
        unit_label="token",
        created_at=AT,
    )
    given().when(command, FACTS).then(created)


def test_blank_texts_count_as_left_out() -> None:
    command = CreateProduct(name="Alpaca.ai usage", description="", unit_label="")
    given().when(command, FACTS).then(USAGE)


def test_creating_a_product_twice_writes_nothing() -> None:
    given(USAGE).when(CreateProduct(name="Alpaca.ai usage"), FACTS).then()


@pytest.mark.parametrize(
    ("command", "code", "path"),
    [
        (CreateProduct(name=""), "REQUIRED", "input.name"),
        (CreateProduct(name="x" * 256), "LIMIT_EXCEEDED", "input.name"),
        (CreateProduct(name="a\x00b"), "INVALID_VALUE", "input.name"),
        (CreateProduct(name="\ud800"), "INVALID_VALUE", "input.name"),
        (CreateProduct(name="x", description="x" * 4097), "LIMIT_EXCEEDED", "input.description"),
        (CreateProduct(name="x", unit_label="x" * 256), "LIMIT_EXCEEDED", "input.unitLabel"),
    ],
)
def test_a_refused_product(command: CreateProduct, code: str, path: str) -> None:
    given().when(command, FACTS).then_rejected(code, path)


def test_an_update_says_only_what_changes() -> None:
    command = UpdateProduct(product_id="prod_1", name=USAGE.name, unit_label="token")
    labelled = ProductUpdated(id="prod_1", unit_label="token")
    given(USAGE).when(command, FACTS).then(labelled)
    cleared = UpdateProduct(product_id="prod_1", unit_label=None)
    given(USAGE, labelled).when(cleared, FACTS).then(ProductUpdated(id="prod_1", unit_label=None))


def test_a_product_is_archived_once() -> None:
    archived = ProductArchived(id="prod_1", archived_at=FACTS.at)
    given(USAGE).when(ArchiveProduct(product_id="prod_1"), FACTS).then(archived)
    given(USAGE, archived).when(ArchiveProduct(product_id="prod_1"), FACTS).then()


@pytest.mark.parametrize(
    ("command", "code", "path"),
    [
        (UpdateProduct(product_id="prod_1", name=""), "REQUIRED", "input.name"),
        (
            UpdateProduct(product_id="prod_1", description="\x00"),
            "INVALID_VALUE",
            "input.description",
        ),
    ],
)
def test_a_refused_update(command: UpdateProduct, code: str, path: str) -> None:
    given(USAGE).when(command, FACTS).then_rejected(code, path)


@pytest.mark.parametrize(
    "command", [UpdateProduct(product_id="prod_9"), ArchiveProduct(product_id="prod_9")]
)
def test_a_product_that_does_not_exist(command: UpdateProduct | ArchiveProduct) -> None:
    given().when(command, FACTS).then_rejected("NOT_FOUND", "input.productId")
