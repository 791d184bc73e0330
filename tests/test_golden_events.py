"""Every event version as it was stored once: old logs open for ever.

A sample is two files in `golden/events`: the exact stored bytes as hex, and the same as JSON for
people. A sample is never changed; an event that needs another shape gets a new version, its former
one an upcaster, and the sample of the former one stays. To store the samples of new events:

    python -m tests.test_golden_events
"""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from eventsourcing.persistence import StoredEvent

from app.store import CorruptLedger, LedgerMapper, Pending
from domain.aggregation import Aggregation
from domain.customers import CustomerArchived, CustomerCreated, CustomerUpdated
from domain.decider import EVENTS, UPCASTERS, Envelope, Event, registered, upcasts
from domain.late_usage import LateUsage
from domain.ledgers import ClockAdvanced, LedgerForked, LedgerOpened, Origin
from domain.meter_filters import DimensionFilter
from domain.meters import MeterArchived, MeterCreated, MeterRevised, MeterUpdated
from domain.periods import Interval, IntervalUnit
from domain.prices import PriceArchived, PriceCreated, PriceSuperseded, Timing
from domain.pricing import (
    MODELS,
    Graduated,
    GraduatedPercentage,
    Modifiers,
    Package,
    Percentage,
    PercentageTier,
    PerUnit,
    Pricing,
    RoundingMode,
    Tier,
    Volume,
)
from domain.products import ProductArchived, ProductCreated, ProductUpdated
from domain.usage import UsageRecord, UsageRecorded
from domain.usage_corrections import UsageAmended, UsageVoided
from tests import invoice_samples, subscription_samples

FOLDER = Path(__file__).parent / "golden" / "events"
NEVER = "a stored sample is never changed: give the event a new version and upcast this one"

AT = datetime(2026, 1, 31, 12, 30, 15, 123456, tzinfo=UTC)
ENVELOPE = Envelope(1_769_862_615_123_456, actor="key_1", idempotency_key="once", caused_by=7)

RECORDED = UsageRecorded.of(
    [
        UsageRecord(
            "0192f0c1-0000-7000-8000-000000000001",
            "default",
            "alpaca_ai_tokens",
            "alpaca-lover",
            ENVELOPE.recorded_at_us,
            "999999999999999999.999999999999",
            {"model": "small", "region": ""},
        ),
        UsageRecord("r2", "gateway", "alpaca_ai_tokens", "cus_1", 0, None, {}),
    ]
)


def price(
    pricing: Pricing, modifiers: Modifiers | None = None, *, metered: bool = True
) -> PriceCreated:
    """A price with everything set, or with nothing that can be left out."""
    return PriceCreated(
        id="price_1",
        product_id="prod_1",
        currency="USD",
        interval=Interval(IntervalUnit.MONTH, 3),
        meter_id="met_1" if metered else None,
        meter_filter=(DimensionFilter(name="model", values=("small", "large")),) if metered else (),
        timing=Timing.IN_ARREARS if metered else Timing.IN_ADVANCE,
        pricing=pricing,
        modifiers=modifiers,
        nickname="Standard" if metered else None,
        lookup_key="standard-2026" if metered else None,
        created_at=AT,
    )


TIERS = (
    Tier(up_to=Decimal(1000), unit_amount=Decimal("0.000000000001"), flat_amount=Decimal(100)),
    Tier(unit_amount=Decimal("0.04")),
)

SAMPLES: dict[str, Event] = {
    "ledger.opened/1": LedgerOpened(id="led_1", name="main", test_clock_at=AT, opened_at=AT),
    "ledger.clock_advanced/1": ClockAdvanced(id="led_1", to=AT),
    "ledger.forked/1": LedgerForked(
        id="led_2",
        name="main",
        origin=Origin(ledger_id="led_1", position=7, hash="01" * 32),
        clock_at=AT,
    ),
    "meter.created/1": MeterCreated(
        id="met_1",
        name="Alpaca.ai tokens",
        event_name="alpaca_ai_tokens",
        aggregation=Aggregation.SUM,
        value_property="value",
        dimensions=("model", "region"),
        created_at=AT,
    ),
    "meter.created/1 carrying-over": MeterCreated(
        id="met_1",
        name="Seats",
        event_name="seats",
        aggregation=Aggregation.WEIGHTED_SUM,
        value_property="value",
        dimensions=(),
        created_at=AT,
        carries_over=True,
    ),
    "product.created/1": ProductCreated(
        id="prod_1",
        name="Alpaca.ai usage",
        description="Tokens 🦙",
        unit_label=None,
        created_at=AT,
    ),
    "price.created/1": price(PerUnit(unit_amount=Decimal(100)), metered=False),
    "price.created/1 package": price(
        Package(
            size=Decimal(100),
            amount=Decimal("0.04"),
            free_units=Decimal(1000),
            rounding=RoundingMode.DOWN,
        )
    ),
    "price.created/1 graduated": price(Graduated(tiers=TIERS)),
    "price.created/1 volume": price(Volume(tiers=TIERS)),
    "price.created/2": price(PerUnit(unit_amount=Decimal(100)), metered=False),
    "price.created/2 modifiers": price(
        Package(size=Decimal(100), amount=Decimal("0.04")),
        Modifiers(
            divide_by=Decimal(1024),
            divide_rounding=RoundingMode.UP,
            included_units=Decimal("0.5"),
            percentage_discount=Decimal(10),
            minimum_amount=Decimal(5),
            maximum_amount=Decimal(500),
        ),
    ),
    "price.created/2 percentage": price(
        Percentage(
            rate=Decimal("2.9"),
            fixed_amount=Decimal("0.30"),
            free_records=3,
            free_amount=Decimal(500),
            minimum_per_record=Decimal(1),
            maximum_per_record=Decimal(12),
        )
    ),
    "price.created/2 graduated percentage": price(
        GraduatedPercentage(
            tiers=(
                PercentageTier(up_to=Decimal(1000), rate=Decimal("2.5"), flat_amount=Decimal(1)),
                PercentageTier(rate=Decimal(2)),
            )
        )
    ),
    "price.created/2 late usage": msgspec.structs.replace(
        price(PerUnit(unit_amount=Decimal(100))), late_usage=LateUsage.REPORT
    ),
    "customer.created/1": CustomerCreated(
        id="cus_1",
        name="Alpaca Lover",
        email="lover@example.com",
        description=None,
        external_id="alpaca-lover",
        time_zone="Europe/Berlin",
        created_at=AT,
    ),
    "meter.updated/1": MeterUpdated(id="met_1", name="Tokens"),
    "meter.archived/1": MeterArchived(id="met_1", archived_at=AT),
    "price.superseded/1": PriceSuperseded(
        id="price_1",
        number=2,
        effective_at=AT,
        pricing=PerUnit(unit_amount=Decimal("0.05")),
        modifiers=Modifiers(included_units=Decimal(10)),
        superseded_at=AT,
    ),
    "meter.revised/1": MeterRevised(
        id="met_1",
        number=2,
        effective_at=AT,
        aggregation=Aggregation.WEIGHTED_SUM,
        value_property="seats",
        dimensions=("model", "region"),
        carries_over=True,
        revised_at=AT,
    ),
    "price.archived/1": PriceArchived(id="price_1", archived_at=AT),
    "product.updated/1": ProductUpdated(id="prod_1", name="Alpaca.ai tokens", description=None),
    "product.archived/1": ProductArchived(id="prod_1", archived_at=AT),
    "customer.updated/1": CustomerUpdated(id="cus_1", external_id="lover", email=None),
    "customer.archived/1": CustomerArchived(id="cus_1", archived_at=AT),
    **subscription_samples.SAMPLES,
    **invoice_samples.SAMPLES,
    "usage.recorded/1": RECORDED,
    "usage.recorded/2": RECORDED,
    "usage.recorded/2 uuids": UsageRecorded.of(
        [
            UsageRecord(
                f"0192f0c1-0000-7000-8000-00000000000{row}",
                "default",
                ("alpaca_ai_tokens", "alpaca_ai_calls")[row % 2],
                f"alpaca-{row}",
                ENVELOPE.recorded_at_us + row * 1_000,
                ("3000", None)[row % 2],
                {"region": "", "model": ("small", "large")[row // 4]},
            )
            for row in range(8)
        ]
    ),
    "usage.voided/1": UsageVoided(
        source="gateway", id="r2", position=25, row=1, reason="A test 🦙", voided_at=AT
    ),
    "usage.amended/1": UsageAmended(
        source="gateway",
        id="r2",
        position=25,
        row=999,
        value="999999999999999999.999999999999",
        properties={"model": "small", "region": ""},
        reason=None,
        amended_at=AT,
    ),
    "usage.amended/1 without-value": UsageAmended(
        source="default",
        id="0192f0c1-0000-7000-8000-000000000001",
        position=2**40,
        row=0,
        value=None,
        properties={},
        reason="There was none",
        amended_at=AT,
    ),
}
"""What each sample must be read as: an event by its topic, further ones with a word after it."""


def topic_of(name: str) -> str:
    """The topic of a sample."""
    return name.partition(" ")[0]


CURRENT = [name for name in SAMPLES if topic_of(name) in EVENTS]


def file(name: str, suffix: str) -> Path:
    """Where a sample is kept: `meter.created-1.hex` for `meter.created/1`."""
    return FOLDER / f"{name.replace('/', '-').replace(' ', '-')}.{suffix}"


def stored(name: str, state: bytes) -> StoredEvent:
    """These bytes as they come out of the event store."""
    return StoredEvent("stream", 1, topic_of(name), state)


def encoded(event: Event) -> bytes:
    """The event as it is stored today."""
    return LedgerMapper().to_stored_event(Pending("stream", 1, ENVELOPE, event)).state


def readable(name: str, state: bytes) -> str:
    """What stands in the bytes, whatever the event type makes of it."""
    envelope, event = msgspec.msgpack.decode(state)
    content = {"topic": topic_of(name), "envelope": envelope, "event": event}
    return msgspec.json.format(msgspec.json.encode(content)).decode() + "\n"


def write_missing() -> Iterator[Path]:
    """Store the samples that are not there; leave every other as it is."""
    for name in CURRENT:
        state = encoded(SAMPLES[name])
        for suffix, text in (("hex", state.hex("\n", 32) + "\n"), ("json", readable(name, state))):
            path = file(name, suffix)
            if not path.exists():
                path.write_text(text, encoding="utf-8")
                yield path


@pytest.mark.parametrize("topic", sorted({*EVENTS, *UPCASTERS}))
def test_every_event_version_has_a_sample(topic: str) -> None:
    assert topic in SAMPLES, f"describe a sample of {topic} in this file"
    for suffix in ("hex", "json"):
        assert file(topic, suffix).exists(), "run python -m tests.test_golden_events"


def test_every_pricing_model_has_a_sample() -> None:
    models = {type(event.pricing) for event in SAMPLES.values() if isinstance(event, PriceCreated)}
    assert models == set(MODELS.values())


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_read_as_it_was_meant(name: str) -> None:
    state = bytes.fromhex(file(name, "hex").read_text(encoding="utf-8"))
    read = LedgerMapper().to_domain_event(stored(name, state))
    assert (read.envelope, read.event) == (ENVELOPE, SAMPLES[name]), NEVER
    assert file(name, "json").read_text(encoding="utf-8") == readable(name, state), NEVER


@pytest.mark.parametrize("name", CURRENT)
def test_an_event_is_stored_as_it_always_was(name: str) -> None:
    state = bytes.fromhex(file(name, "hex").read_text(encoding="utf-8"))
    assert encoded(SAMPLES[name]).hex() == state.hex(), NEVER


def test_no_sample_is_forgotten() -> None:
    expected = {file(name, suffix) for name in SAMPLES for suffix in ("hex", "json")}
    assert set(FOLDER.iterdir()) == expected


# ------------------------------------------------------------------------------------ upcasting


class Told(Event, frozen=True, kw_only=True):
    """A story was told; twice its shape was found wanting."""

    topic: ClassVar[str] = "story.told/3"
    title: str
    words: int
    language: str


@pytest.fixture
def three_versions() -> Iterator[None]:
    """`story.told` in its third version, the first two retired."""

    @upcasts("story.told/1")
    def count_words(data: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        text = data.pop("text")
        return "story.told/2", {**data, "words": len(text.split())}

    @upcasts("story.told/2")
    def name_the_language(data: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        return "story.told/3", {**data, "language": "en"}

    registered(Told)
    yield
    del EVENTS["story.told/3"], UPCASTERS["story.told/1"], UPCASTERS["story.told/2"]


@pytest.mark.usefixtures("three_versions")
@pytest.mark.parametrize(
    ("topic", "data"),
    [
        ("story.told/1", {"title": "Alpacas", "text": "a flat fee and overages"}),
        ("story.told/2", {"title": "Alpacas", "words": 5}),
        ("story.told/3", {"title": "Alpacas", "words": 5, "language": "en"}),
    ],
)
def test_a_retired_version_is_read_as_the_newest(topic: str, data: dict[str, Any]) -> None:
    state = msgspec.msgpack.encode((ENVELOPE, data))
    read = LedgerMapper().to_domain_event(stored(topic, state))
    assert read.event == Told(title="Alpacas", words=5, language="en")
    assert read.envelope == ENVELOPE


@pytest.mark.parametrize("topic", ["story.told/4", "", "app.store:Store"])
def test_a_name_that_nobody_registered_is_not_guessed(topic: str) -> None:
    with pytest.raises(CorruptLedger, match="no event type is registered under"):
        LedgerMapper().to_domain_event(
            StoredEvent("stream", 1, topic, encoded(SAMPLES["meter.created/1"]))
        )


if __name__ == "__main__":
    for written in write_missing():
        sys.stdout.write(f"{written.name}\n")
