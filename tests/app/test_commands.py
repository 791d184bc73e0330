"""Commands: decided on the state as of their turn, and once for each idempotency key."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import get_args

import pytest

from app import commands
from app.commands import HANDLERS, Command, Done
from app.ledger import Ledger
from domain.aggregation import Aggregation
from domain.customers import CreateCustomer, Customer, UpdateCustomer
from domain.decider import Code, Rejected
from domain.meters import CreateMeter, Meter
from domain.periods import Interval, IntervalUnit
from domain.prices import CreatePrice, Price
from domain.pricing import PerUnit
from domain.products import CreateProduct, Product
from domain.subscription_items import NewItem
from domain.subscriptions import CreateSubscription, Subscription
from projections import current
from projections.current import State
from tests.app.test_writer import PATIENCE_SECONDS, busy_writer

TOKENS = CreateMeter(name="Tokens", event_name="tokens", aggregation=Aggregation.SUM)
USAGE = CreateProduct(name="Alpaca.ai usage")


def price(product_id: str, meter_id: str | None = None, currency: str = "USD") -> CreatePrice:
    """A price of one a month."""
    return CreatePrice(
        product_id=product_id,
        currency=currency,
        interval=Interval(IntervalUnit.MONTH),
        pricing=PerUnit(unit_amount=Decimal(1)),
        meter_id=meter_id,
    )


def state(ledger: Ledger, type: type[State], done: Done) -> State:
    """The object as the views have it directly after its command."""
    with ledger.snapshot() as views:
        assert views.checkpoint() >= done.position
        found = current.get(views, type, done.subject)
    assert found is not None
    return found


def refusal(ledger: Ledger, command: Command, key: str | None = None) -> tuple[str, str]:
    """Why a command is refused; nothing is written."""
    before = ledger.store.head()
    with pytest.raises(Rejected) as refused:
        ledger.execute_now(command, key)
    assert ledger.store.head() == before
    return refused.value.code, ".".join(refused.value.path)


def test_every_command_has_its_handler() -> None:
    assert set(HANDLERS) == set(get_args(Command))


def test_what_a_command_made_is_there_when_it_is_answered(ledger: Ledger) -> None:
    meter = ledger.execute_now(TOKENS)
    product = ledger.execute_now(USAGE)
    metered = ledger.execute_now(price(product.subject, meter.subject))
    customer = ledger.execute_now(CreateCustomer(name="Al", time_zone="Europe/Berlin"))
    subscription = ledger.execute_now(
        CreateSubscription(customer_id=customer.subject, items=(NewItem(price_id=metered.subject),))
    )
    made = [meter, product, metered, customer, subscription]
    kinds: list[type[State]] = [Meter, Product, Price, Customer, Subscription]
    assert [done.position for done in made] == [2, 3, 4, 5, 6]
    assert [state(ledger, kind, done).id for kind, done in zip(kinds, made, strict=True)] == [
        done.subject for done in made
    ]
    prefixes = [done.subject.partition("_")[0] for done in made]
    assert prefixes == ["met", "prod", "price", "cus", "sub"]
    subscribed = state(ledger, Subscription, subscription)
    assert isinstance(subscribed, Subscription)
    assert subscribed.time_zone == "Europe/Berlin"
    assert subscribed.start_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert subscribed.items[0].id.startswith("item_")


def test_ids_are_in_the_order_of_their_creation(ledger: Ledger) -> None:
    ids = [ledger.execute_now(USAGE).subject for _ in range(20)]
    assert ids == sorted(set(ids))


def test_what_a_command_needs_is_looked_up(ledger: Ledger) -> None:
    product = ledger.execute_now(USAGE).subject
    meter = ledger.execute_now(TOKENS).subject
    customer = ledger.execute_now(CreateCustomer(name="Al", external_id="al")).subject
    euro = ledger.execute_now(price(product, currency="EUR")).subject
    dollar = ledger.execute_now(price(product)).subject
    both = CreateSubscription(
        customer_id=customer, items=(NewItem(price_id=dollar), NewItem(price_id=euro))
    )
    assert refusal(ledger, both) == (Code.WRONG_CURRENCY, "input.items.1.priceId")
    again = CreateCustomer(name="Other", external_id="al")
    assert refusal(ledger, again) == (Code.ALREADY_EXISTS, "input.externalId")
    for id in ("prod_none", meter, ""):
        assert refusal(ledger, price(id)) == (Code.NOT_FOUND, "input.productId")
    assert refusal(ledger, price(product, customer)) == (Code.NOT_FOUND, "input.meterId")


@pytest.mark.parametrize(
    ("command", "code", "path"),
    [
        (CreateProduct(name="\ud800"), Code.INVALID_VALUE, "input.name"),
        (CreateCustomer(name="x", external_id="\ud800"), Code.INVALID_VALUE, "input.externalId"),
        (CreateCustomer(name="x", external_id="a\x00"), Code.INVALID_VALUE, "input.externalId"),
        (price("\ud800"), Code.NOT_FOUND, "input.productId"),
        (
            CreateSubscription(customer_id="\udfff", items=(NewItem(price_id="\ud800"),)),
            Code.NOT_FOUND,
            "input.customerId",
        ),
    ],
)
@pytest.mark.parametrize("key", [None, "once"])
def test_a_text_that_cannot_be_stored_is_refused_by_name(
    ledger: Ledger, command: Command, code: Code, path: str, key: str | None
) -> None:
    assert refusal(ledger, command, key) == (code, path)


# ----------------------------------------------------------------------------- idempotency keys


def test_a_repeated_command_gets_its_first_result(ledger: Ledger) -> None:
    first = ledger.execute_now(USAGE, "once")
    ledger.execute_now(TOKENS)
    head = ledger.store.head()
    assert ledger.execute_now(USAGE, "once") == first
    assert ledger.store.head() == head
    found = ledger.store.at(first.position)
    assert found is not None
    assert found.envelope.idempotency_key == "once"


def test_without_a_key_or_with_another_one_it_is_another_command(ledger: Ledger) -> None:
    keys = ["once", "twice", None, None]
    assert len({ledger.execute_now(USAGE, key).subject for key in keys}) == 4


@pytest.mark.parametrize(
    "other",
    [CreateProduct(name="Another"), CreateProduct(name=USAGE.name, description="x"), TOKENS],
    ids=["another name", "one more value", "another command"],
)
def test_a_key_belongs_to_its_input(ledger: Ledger, other: Command) -> None:
    first = ledger.execute_now(USAGE, "once")
    reused = (Code.IDEMPOTENCY_KEY_REUSED, "input.idempotencyKey")
    assert refusal(ledger, other, "once") == reused
    assert ledger.execute_now(USAGE, "once") == first


def test_keys_hold_within_one_commit(ledger: Ledger) -> None:
    with busy_writer(ledger):
        asked = [
            ledger.writer.submit(commands.job(command, key="once", actor=None))
            for command in (USAGE, USAGE, CreateProduct(name="Another"))
        ]
    first, again, other = asked
    assert first.result(PATIENCE_SECONDS) == again.result(PATIENCE_SECONDS)
    with pytest.raises(Rejected) as reused:
        other.result(PATIENCE_SECONDS)
    assert reused.value.code is Code.IDEMPOTENCY_KEY_REUSED
    assert ledger.store.head()[0] == first.result().position


def test_a_key_outlives_the_process(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        first = ledger.execute_now(USAGE, "once")
    with Ledger(tmp_path) as ledger:
        assert ledger.execute_now(USAGE, "once") == first


def test_a_refused_command_leaves_its_key_free(ledger: Ledger) -> None:
    assert refusal(ledger, CreateProduct(name=""), "once") == (Code.REQUIRED, "input.name")
    assert ledger.execute_now(USAGE, "once").subject.startswith("prod_")


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("", Code.REQUIRED),
        ("x" * 256, Code.LIMIT_EXCEEDED),
        ("a\x00", Code.INVALID_VALUE),
        ("\ud800", Code.INVALID_VALUE),
    ],
)
def test_a_key_that_cannot_be_kept(ledger: Ledger, key: str, code: Code) -> None:
    assert refusal(ledger, USAGE, key) == (code, "input.idempotencyKey")


def test_the_actor_stands_in_the_envelope(ledger: Ledger) -> None:
    done = asyncio.run(ledger.execute(USAGE, key=None, actor="key_1"))
    found = ledger.store.at(done.position)
    assert found is not None
    assert (found.envelope.actor, found.envelope.idempotency_key) == ("key_1", None)


def test_what_makes_two_inputs_the_same_outlives_new_fields() -> None:
    # Pinned: with other bytes, keys that are in somebody's ledger would mean another input.
    content = commands._content(CreateProduct(name="Tokens", description=None))
    assert content == b"\x92\xadCreateProduct\x81\xa4name\xa6Tokens"


def test_a_key_that_changed_nothing_is_kept_all_the_same(ledger: Ledger) -> None:
    customer = ledger.execute_now(CreateCustomer(name="Alpaca Lover"), "create").subject
    asked = UpdateCustomer(customer_id=customer, name="Alpaca Lover")
    first = ledger.execute_now(asked, "rename")
    ledger.execute_now(UpdateCustomer(customer_id=customer, name="Lover & Co."))
    assert ledger.execute_now(asked, "rename") == first
    with ledger.snapshot() as views:
        known = current.get(views, Customer, customer)
    assert known is not None
    assert known.name == "Lover & Co.", "a retry undid what came after it"
