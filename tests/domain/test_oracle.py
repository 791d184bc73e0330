"""The domain against an oracle that shares no code with it: not one minor unit off."""

from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

from domain import pricing
from domain.money import exponent, round_to_minor
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
    Step,
    Tier,
    Volume,
)
from tests.domain import oracle

CASES = list(oracle.cases(2_000, seed=20_260_131))


def decimal(terms: dict[str, Any], name: str) -> Decimal | None:
    """A number of a case, if it is there."""
    return None if terms.get(name) is None else Decimal(terms[name])


def tier(terms: dict[str, Any]) -> Tier:
    """A tier of a case."""
    up_to, unit, flat = (decimal(terms, name) for name in ("upTo", "unitAmount", "flatAmount"))
    return Tier(up_to=up_to, unit_amount=unit, flat_amount=flat)


def percentage_tier(terms: dict[str, Any]) -> PercentageTier:
    """A tier of percentages of a case."""
    up_to, rate, flat = (decimal(terms, name) for name in ("upTo", "rate", "flatAmount"))
    return PercentageTier(up_to=up_to, rate=rate, flat_amount=flat)


def model(name: str, terms: dict[str, Any]) -> Pricing:
    """The pricing of a case."""
    match name:
        case "perUnit":
            return PerUnit(unit_amount=Decimal(terms["unitAmount"]))
        case "package":
            return Package(
                size=Decimal(terms["size"]),
                amount=Decimal(terms["amount"]),
                free_units=decimal(terms, "freeUnits") or Decimal(0),
                rounding=RoundingMode(terms.get("rounding", "UP")),
            )
        case "graduated":
            return Graduated(tiers=tuple(map(tier, terms["tiers"])))
        case "volume":
            return Volume(tiers=tuple(map(tier, terms["tiers"])))
        case "percentage":
            return Percentage(
                rate=Decimal(terms["rate"]),
                fixed_amount=decimal(terms, "fixedAmount") or Decimal(0),
                free_records=terms.get("freeRecords"),
                free_amount=decimal(terms, "freeAmount"),
                minimum_per_record=decimal(terms, "minimumPerRecord"),
                maximum_per_record=decimal(terms, "maximumPerRecord"),
            )
        case _:
            return GraduatedPercentage(tiers=tuple(map(percentage_tier, terms["tiers"])))


def modifiers(terms: dict[str, Any]) -> Modifiers:
    """The modifiers of a case."""
    way = terms.get("divideRounding")
    return Modifiers(
        divide_by=decimal(terms, "divideBy"),
        divide_rounding=RoundingMode(way) if way else None,
        included_units=decimal(terms, "includedUnits"),
        percentage_discount=decimal(terms, "percentageDiscount"),
        minimum_amount=decimal(terms, "minimumAmount"),
        maximum_amount=decimal(terms, "maximumAmount"),
    )


def steps(case: dict[str, Any]) -> tuple[Step, ...]:
    """The steps by which the domain prices a case."""
    ((name, terms),) = case["pricing"].items()
    priced, around = model(name, terms), modifiers(case["modifiers"])
    pricing.check(priced, ("pricing",))
    around.check(("modifiers",))
    records = [Decimal(text) for text in case["records"]]
    return pricing.rate(priced, Decimal(case["quantity"]), records, around)


def charged(case: dict[str, Any]) -> int:
    """What the domain charges for a case, in minor units."""
    currency = case["currency"]
    amount = round_to_minor(pricing.total(steps(case)), currency)
    return int(amount.scaleb(exponent(currency)))


@pytest.mark.parametrize("name", oracle.MODELS)
def test_no_case_is_off_by_a_minor_unit(name: str) -> None:
    wrong = [
        (case, expected, found)
        for case in CASES
        if name in case["pricing"]
        for expected, found in [(oracle.minor_units(case), charged(case))]
        if expected != found
    ]
    assert not wrong, wrong[0]


def test_the_cases_lean_on_everything() -> None:
    costs = [oracle.minor_units(case) for case in CASES]
    assert len(CASES) == 2_000
    assert set(Counter(case["currency"] for case in CASES)) == set(oracle.DIGITS)
    assert sum(cost > 0 for cost in costs) > 1_000
    assert sum(cost == 0 for cost in costs) > 50
    assert {name for case in CASES for name in case["modifiers"]} == {
        "divideBy",
        "divideRounding",
        "includedUnits",
        "percentageDiscount",
        "minimumAmount",
        "maximumAmount",
    }
    assert any("-" in record for case in CASES for record in case["records"])


@pytest.mark.parametrize(
    ("pricing", "quantity", "currency", "units"),
    [
        ({"perUnit": {"unitAmount": "0.005"}}, "1", "USD", 1),
        ({"perUnit": {"unitAmount": "0.0049"}}, "1", "USD", 0),
        ({"perUnit": {"unitAmount": "2.5"}}, "1", "JPY", 3),
        ({"perUnit": {"unitAmount": "2.5"}}, "1", "KWD", 2_500),
        ({"package": {"size": "100", "amount": "0.04", "freeUnits": "1000"}}, "3000", "USD", 80),
        (
            {"graduated": {"tiers": [{"upTo": "1000", "unitAmount": "0"}, {"unitAmount": "0.04"}]}},
            "3000",
            "USD",
            8_000,
        ),
        (
            {"volume": {"tiers": [{"upTo": "10", "unitAmount": "5"}, {"unitAmount": "4"}]}},
            "10.5",
            "USD",
            4_200,
        ),
        ({"percentage": {"rate": "1.5"}}, "200", "USD", 300),
        ({"graduatedPercentage": {"tiers": [{"rate": "2", "flatAmount": "1"}]}}, "50", "USD", 200),
    ],
)
def test_the_oracle_knows_what_people_worked_out(
    pricing: dict[str, Any], quantity: str, currency: str, units: int
) -> None:
    case = {
        "pricing": pricing,
        "quantity": quantity,
        "records": [quantity],
        "modifiers": {},
        "currency": currency,
    }
    assert oracle.minor_units(case) == units


# Worked out by hand: a rate, an allowance, and limits for each of the records.
PAYMENTS = ["50", "100", "250", "400"]
TRANSFERS = ["10", "80", "10000"]


@pytest.mark.parametrize(
    ("terms", "records", "thousandths"),
    [
        ({"rate": "1.3", "fixedAmount": "2"}, PAYMENTS, 18_400),
        ({"rate": "1.3", "fixedAmount": "2", "freeRecords": 3}, PAYMENTS, 7_200),
        ({"rate": "1.3", "fixedAmount": "2", "freeAmount": "250"}, PAYMENTS, 11_150),
        (
            {"rate": "1.3", "fixedAmount": "2", "freeRecords": 3, "freeAmount": "250"},
            PAYMENTS,
            11_150,
        ),
        ({"rate": "2.99", "minimumPerRecord": "1.75", "maximumPerRecord": "12"}, TRANSFERS, 16_142),
        (
            {
                "rate": "2.99",
                "fixedAmount": "2",
                "minimumPerRecord": "1.75",
                "maximumPerRecord": "12",
            },
            TRANSFERS,
            18_691,
        ),
    ],
)
def test_the_oracle_knows_what_records_cost(
    terms: dict[str, Any], records: list[str], thousandths: int
) -> None:
    case = {
        "pricing": {"percentage": terms},
        "quantity": "0",
        "records": records,
        "modifiers": {},
        "currency": "KWD",
    }
    assert oracle.minor_units(case) == thousandths


@pytest.mark.parametrize("name", oracle.MODELS)
def test_every_step_says_how_its_amount_came_about(name: str) -> None:
    for case in (case for case in CASES if name in case["pricing"]):
        for step in steps(case):
            if step.quantity is not None or step.flat_amount is not None:
                each = (step.quantity or 0) * (step.unit_amount or 0)
                assert step.amount == each + (step.flat_amount or 0)
            assert step.description
