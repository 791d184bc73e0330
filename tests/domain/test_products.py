"""Products: what is sold."""

from datetime import UTC, datetime

import pytest

from domain.products import CreateProduct, Facts, ProductCreated
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
