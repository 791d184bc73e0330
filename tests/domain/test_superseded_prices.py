"""Superseding a price: each version charges what happened while it was in force."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import msgspec
from hypothesis import given as for_all
from hypothesis import strategies as st

from domain import charges, prices, pricing, rating
from domain.aggregation import Aggregation
from domain.decider import fold
from domain.money import format_decimal
from domain.periods import Interval, IntervalUnit, Period
from domain.prices import CreatePrice, Facts, Price, PriceSuperseded, SupersedePrice
from domain.pricing import (
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
from domain.rating import Line, Reading
from domain.subscription_changes import ItemChange
from tests.domain.billing import OVERAGES, Book, amounts, day, days, each, price
from tests.spec import Given, given

NOW = day("2026-05-01")
FACTS = Facts(
    id="price_1",
    at=NOW,
    product_exists=True,
    meter_dimensions=(),
    meter_aggregation=Aggregation.SUM,
    lookup_key_owner=None,
)
CREATED = prices.decide(
    None,
    CreatePrice(
        product_id="prod_1",
        currency="USD",
        interval=Interval(IntervalUnit.MONTH),
        meter_id="met_1",
        pricing=each("1"),
        modifiers=Modifiers(included_units=Decimal(10)),
    ),
    FACTS,
)


def superseded(
    number: int, effective: str, pricing: Pricing, modifiers: Modifiers | None
) -> PriceSuperseded:
    """The fact that a price asks this from then on."""
    return PriceSuperseded(
        id="price_1",
        number=number,
        effective_at=day(effective),
        pricing=pricing,
        modifiers=modifiers,
        superseded_at=NOW,
    )


def created(*later: PriceSuperseded) -> Given:
    """A price at 1 each with 10 included, and its later versions."""
    return given(*CREATED, *later)


TEN = Modifiers(included_units=Decimal(10))


# ---------------------------------------------------------------------------------- the decision


def test_a_price_is_superseded_now_or_from_an_instant_on() -> None:
    dearer = SupersedePrice(price_id="price_1", pricing=each("2"))
    created().when(dearer, FACTS).then(superseded(2, "2026-05-01", each("2"), TEN))
    later = msgspec.structs.replace(dearer, effective_at=day("2026-06-01"))
    created().when(later, FACTS).then(superseded(2, "2026-06-01", each("2"), TEN))


def test_what_is_left_out_stays_and_null_modifiers_are_none() -> None:
    only = SupersedePrice(price_id="price_1", modifiers=None)
    created().when(only, FACTS).then(superseded(2, "2026-05-01", each("1"), None))
    created().when(SupersedePrice(price_id="price_1"), FACTS).then_rejected(
        "REQUIRED", "input.pricing"
    )


def test_what_is_left_out_is_what_is_in_force_at_that_instant() -> None:
    in_june = superseded(2, "2026-06-01", each("2"), None)
    in_july = SupersedePrice(price_id="price_1", effective_at=day("2026-07-01"), modifiers=TEN)
    created(in_june).when(in_july, FACTS).then(superseded(3, "2026-07-01", each("2"), TEN))


def test_asking_what_is_asked_already_changes_nothing() -> None:
    same = SupersedePrice(price_id="price_1", pricing=each("1"))
    created().when(same, FACTS).then()


def test_what_could_not_be_billed_is_refused() -> None:
    for refused, path in (
        (
            SupersedePrice(price_id="price_1", pricing=each("-1")),
            "input.pricing.perUnit.unitAmount",
        ),
        (
            SupersedePrice(
                price_id="price_1", modifiers=Modifiers(percentage_discount=Decimal(101))
            ),
            "input.modifiers.percentageDiscount",
        ),
    ):
        created().when(refused, FACTS).then_rejected("INVALID_VALUE", path)
    by_record = Percentage(rate=Decimal(1), fixed_amount=Decimal(1))
    over_a_maximum = msgspec.structs.replace(FACTS, meter_aggregation=Aggregation.MAX)
    created().when(
        SupersedePrice(price_id="price_1", pricing=by_record), over_a_maximum
    ).then_rejected("INVALID_VALUE", "input.pricing")
    given().when(SupersedePrice(price_id="price_1", pricing=each("1")), FACTS).then_rejected(
        "NOT_FOUND", "input.priceId"
    )


def test_a_price_has_a_hundred_versions() -> None:
    versions = [superseded(n, "2026-05-01", each(str(n)), TEN) for n in range(2, 101)]
    more = SupersedePrice(price_id="price_1", pricing=each("7000"))
    created(*versions).when(more, FACTS).then_rejected("LIMIT_EXCEEDED", "input.priceId")


# --------------------------------------------------------------------------- which is in force


def in_force(state: Price, period: Period) -> list[str]:
    """The parts of a period and the number of the version in force."""
    return [f"{days(part)} {version.number}" for part, version in state.parts(period)]


def test_versions_are_in_force_from_their_instant_to_the_next_ones() -> None:
    state = fold(
        prices.evolve,
        [
            *CREATED,
            superseded(2, "2026-05-20", each("2"), None),
            superseded(3, "2026-05-10", each("3"), None),
            superseded(4, "2026-05-20", each("4"), None),
        ],
    )
    assert state is not None
    assert [version.number for version in state.versions] == [1, 3, 2, 4]
    may = Period(day("2026-05-01"), day("2026-06-01"))
    assert in_force(state, may) == ["05-01..05-10 1", "05-10..05-20 3", "05-20..06-01 4"]
    assert in_force(state, Period(day("2026-05-10"), day("2026-05-20"))) == ["05-10..05-20 3"]
    assert state.version(2).pricing == each("2")


# ------------------------------------------------------------------------------ what it charges


def versions(first: Price, *later: tuple[str, Pricing], said: str = "2025-12-15") -> Price:
    """A price that asks something else from some days on, as was said on a day."""
    events = [
        msgspec.structs.replace(
            superseded(number, effective, pricing, first.versions[0].modifiers),
            superseded_at=day(said),
        )
        for number, (effective, pricing) in enumerate(later, start=2)
    ]
    state = first
    for event in events:
        changed = prices.evolve(state, event)
        assert changed is not None
        state = changed
    return state


def lines(book: Book, at: str, *cumulative: str) -> list[Line]:
    """The lines of a bill whose meter had read these quantities as each part of a period ended."""
    readings = [Reading(Decimal(one)) for one in cumulative]
    due = charges.charges(book.subscription, book.prices, day(at))
    assert len(due) == len(readings)
    return [
        rating.rate(one, reading, before)
        for one, reading, before in zip(due, readings, [rating.NOTHING, *readings], strict=False)
    ]


def test_usage_is_charged_by_the_version_in_force_when_it_happened() -> None:
    """800 at nothing, then 200 at nothing and 1,500 at 0.05: the allowance is one."""
    dearer = Graduated(
        tiers=(Tier(up_to=Decimal(1000), unit_amount=Decimal(0)), Tier(unit_amount=Decimal("0.05")))
    )
    usage = versions(price("usage", OVERAGES, metered=True), ("2026-01-11", dearer))
    [before, after] = lines(Book(usage), "2026-02-01", "800", "2500")
    assert (days(before.period), before.price_version) == ("01-01..01-11", 1)
    assert (days(after.period), after.price_version) == ("01-11..02-01", 2)
    assert [str(one.amount) for one in (before, after)] == ["0.00", "75.00"]
    assert [format_decimal(one.quantity) for one in (before, after)] == ["800", "1700"]
    assert after.steps[-1].description == "less 800 used before 2026-01-11T00:00:00Z"


def test_a_flat_amount_is_due_once() -> None:
    flat = Graduated(tiers=(Tier(flat_amount=Decimal(100), unit_amount=Decimal(0)),))
    more = Graduated(tiers=(Tier(flat_amount=Decimal(100), unit_amount=Decimal(1)),))
    usage = versions(price("usage", flat, metered=True), ("2026-01-11", more))
    found = lines(Book(usage), "2026-02-01", "5", "8")
    assert [str(one.amount) for one in found] == ["100.00", "3.00"]


def test_a_licence_is_charged_by_the_version_in_force_when_its_period_begins() -> None:
    for arrears in (False, True):
        seats = versions(price("seats", each("100"), arrears=arrears), ("2026-01-11", each("200")))
        book, billed = Book(seats), ["2026-01-01", "2026-02-01", "2026-03-01"][arrears:]
        assert amounts(book.bill(billed[0])) == ["100.00"]
        assert amounts(book.bill(billed[1])) == ["200.00"]


def test_what_is_credited_is_what_was_billed_whatever_is_said_later() -> None:
    seats = versions(price("seats", each("31")), ("2026-01-01", each("62")), said="2026-01-10")
    book = Book(seats)
    assert amounts(book.bill("2026-01-01")) == ["31.00"]
    book.change("2026-01-08", ItemChange(item_id="item_seats", quantity=Decimal(2)))
    book.change("2026-01-16", ItemChange(item_id="item_seats", quantity=Decimal(1)))
    assert amounts(book.bill("2026-02-01")) == ["-24.00", "48.00", "-32.00", "32.00", "62.00"]


def test_a_change_at_a_boundary_splits_nothing() -> None:
    usage = versions(price("usage", each("1"), metered=True), ("2026-02-01", each("2")))
    book = Book(usage)
    assert amounts(book.bill("2026-02-01", Decimal(3))) == ["3.00"]
    assert amounts(book.bill("2026-03-01", Decimal(3))) == ["6.00"]


AMOUNTS = st.integers(0, 500).map(lambda cents: Decimal(cents).scaleb(-2))
TIERS = st.tuples(AMOUNTS, AMOUNTS, AMOUNTS).map(
    lambda some: (
        Tier(up_to=Decimal(10), unit_amount=some[0], flat_amount=some[1]),
        Tier(unit_amount=some[2]),
    )
)
PRICINGS: st.SearchStrategy[Pricing] = st.one_of(
    AMOUNTS.map(lambda amount: PerUnit(unit_amount=amount)),
    TIERS.map(lambda tiers: Graduated(tiers=tiers)),
    TIERS.map(lambda tiers: Volume(tiers=tiers)),
    AMOUNTS.map(lambda amount: Package(size=Decimal(7), amount=amount, rounding=RoundingMode.DOWN)),
    AMOUNTS.map(lambda rate: Percentage(rate=rate, free_amount=Decimal(5))),
    AMOUNTS.map(
        lambda rate: GraduatedPercentage(tiers=(PercentageTier(rate=rate, flat_amount=rate),))
    ),
)
MODIFIERS = st.sampled_from([None, TEN, Modifiers(maximum_amount=Decimal(30))])


@for_all(
    PRICINGS,
    MODIFIERS,
    st.lists(st.integers(0, 4000), min_size=1, max_size=5).map(sorted),
)
def test_a_version_that_asks_the_same_changes_nothing(
    asked: Pricing, modifiers: Modifiers | None, cumulative: Sequence[int]
) -> None:
    """However often it is superseded: nothing is lost, nothing is charged twice."""
    plain = price("usage", asked, metered=True, modifiers=modifiers)
    begin = day("2026-01-01")
    state = plain
    for number in range(2, len(cumulative) + 1):
        changed = prices.evolve(
            state,
            PriceSuperseded(
                id=plain.id,
                number=number,
                effective_at=begin + timedelta(days=number),
                pricing=asked,
                modifiers=modifiers,
                superseded_at=begin,
            ),
        )
        assert changed is not None
        state = changed
    readings = [str(Decimal(one).scaleb(-1)) for one in cumulative]
    found = lines(Book(state), "2026-02-01", *readings)
    once = pricing.total(pricing.rate(asked, Decimal(readings[-1]), None, modifiers))
    assert sum((line.exact for line in found), Fraction(0)) == once
