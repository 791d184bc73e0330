"""What a price costs by another way: the rules of prices told once more, in integers only.

Nothing of `domain` is used here, not even its way of writing numbers. A case is JSON: texts as a
client sends them. Every number is read as an integer of 10**-12 parts, and amounts are kept over
one common denominator until the one rounding to minor units, which are the answer. To compare many
cases with the domain, none may be off by a single minor unit:

    python -m tests.domain.oracle --cases 100000 [--seed 1]
"""

import argparse
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

Case = dict[str, Any]
Ratio = tuple[int, int]
"""A numerator and a positive denominator."""

ONE = 10**12
DIGITS = {"JPY": 0, "USD": 2, "KWD": 3}
BOUND_TO_ROUNDING = ("UP", "DOWN")


# ------------------------------------------------------------------------------------ the rules


def minor_units(case: Case) -> int:
    """What a case costs in minor units: half away from zero, once."""
    over, under = cost(case)
    minor: int = 10 ** DIGITS[case["currency"]]
    whole, rest = divmod(abs(over * minor), under)
    whole += 2 * rest >= under
    return whole if over >= 0 else -whole


def cost(case: Case) -> Ratio:
    """The exact cost: conversion, included units, price, discount, maximum, minimum."""
    around = case["modifiers"]
    ((model, terms),) = case["pricing"].items()
    running, priced, before = 0, [], (0, 1)
    for record in case["records"]:
        running += parts(record)
        now = to_priced(max(0, running), around)
        priced.append(minus(now, before))
        before = now
    amount = MODELS[model](terms, to_priced(parts(case["quantity"]), around), priced)
    if around.get("percentageDiscount"):
        amount = (
            amount[0] * (100 * ONE - parts(around["percentageDiscount"])),
            amount[1] * 100 * ONE,
        )
    if around.get("maximumAmount") is not None:
        amount = smaller(amount, (parts(around["maximumAmount"]), ONE))
    if around.get("minimumAmount") is not None:
        amount = larger(amount, (parts(around["minimumAmount"]), ONE))
    return amount


def to_priced(quantity: int, around: Case) -> Ratio:
    """A quantity after unit conversion and included units."""
    over, under = quantity, parts(around.get("divideBy") or "1")
    if around.get("divideRounding"):
        over, rest = divmod(over, under)
        if rest and around["divideRounding"] == "UP":
            over += 1
        under = 1
    return larger(minus((over, under), (parts(around.get("includedUnits") or "0"), ONE)), (0, 1))


def per_unit(terms: Case, quantity: Ratio, _: Sequence[Ratio]) -> Ratio:
    """Every unit at the same amount."""
    return quantity[0] * parts(terms["unitAmount"]), quantity[1] * ONE


def package(terms: Case, quantity: Ratio, _: Sequence[Ratio]) -> Ratio:
    """Whole packages of what lies beyond the free units."""
    paid = larger(minus(quantity, (parts(terms.get("freeUnits") or "0"), ONE)), (0, 1))
    count, rest = divmod(paid[0] * ONE, paid[1] * parts(terms["size"]))
    if rest and terms.get("rounding", "UP") == "UP":
        count += 1
    return count * parts(terms["amount"]), ONE


def graduated(terms: Case, quantity: Ratio, _: Sequence[Ratio]) -> Ratio:
    """Unit by unit through the tiers; a flat amount when a tier is entered, the first at once."""
    amount, begin = (0, 1), 0
    for tier in terms["tiers"]:
        if begin and quantity[0] * ONE <= begin * quantity[1]:
            break
        end = tier.get("upTo")
        top = quantity if end is None else smaller(quantity, (parts(end), ONE))
        inside = minus(top, (begin, ONE))
        amount = plus(amount, (inside[0] * parts(tier.get("unitAmount") or "0"), inside[1] * ONE))
        amount = plus(amount, (parts(tier.get("flatAmount") or "0"), ONE))
        begin = parts(end or "0")
    return amount


def volume(terms: Case, quantity: Ratio, _: Sequence[Ratio]) -> Ratio:
    """Everything at the rate of the first tier that reaches as far, and its flat amount."""
    for tier in terms["tiers"]:
        end = tier.get("upTo")
        if end is None or quantity[0] * ONE <= parts(end) * quantity[1]:
            each = parts(tier.get("unitAmount") or "0")
            flat = parts(tier.get("flatAmount") or "0")
            return plus((quantity[0] * each, quantity[1] * ONE), (flat, ONE))
    raise AssertionError("a quantity that no tier holds")


def graduated_percentage(terms: Case, quantity: Ratio, _: Sequence[Ratio]) -> Ratio:
    """Graduated, where a tier's rate is of a hundred."""
    tiers = [{"upTo": tier.get("upTo"), "unitAmount": tier.get("rate")} for tier in terms["tiers"]]
    over, under = graduated({"tiers": tiers}, quantity, ())
    flats = [{**tier, "unitAmount": None} for tier in terms["tiers"]]
    return plus((over, under * 100), graduated({"tiers": flats}, quantity, ()))


def percentage(terms: Case, _: Ratio, records: Sequence[Ratio]) -> Ratio:
    """Record by record: what the allowance leaves of it, at its rate, within its limits.

    The state between two records is what was used free, what was paid for, and their number.
    """
    free_records, free_amount = terms.get("freeRecords") or 0, parts(terms.get("freeAmount") or "0")
    amount: Ratio = (0, 1)
    total: Ratio = (0, 1)
    charged_before: Ratio = (0, 1)
    ceiling: Ratio | None = (free_amount, ONE) if free_amount or not free_records else None
    for number, record in enumerate(records, start=1):
        total = plus(total, record)
        allowance = total if ceiling is None else smaller(total, ceiling)
        beyond = minus(total, allowance)
        part = minus(beyond, charged_before)
        charged_before = beyond
        one: Ratio = (part[0] * parts(terms["rate"]), part[1] * ONE * 100)
        if not is_free(number, beyond, free_records, free_amount):
            one = within(plus(one, (parts(terms.get("fixedAmount") or "0"), ONE)), terms)
        amount = plus(amount, one)
        if number == free_records:
            ceiling = allowance
    return larger(amount, (0, 1))


def is_free(number: int, beyond: Ratio, free_records: int, free_amount: int) -> bool:
    """Whether a record is free: every allowance that is given still holds."""
    if not free_records and not free_amount:
        return False
    if free_records and number > free_records:
        return False
    return beyond[0] == 0


def within(amount: Ratio, terms: Case) -> Ratio:
    """A record's amount between its minimum and its maximum."""
    if terms.get("minimumPerRecord") is not None:
        amount = larger(amount, (parts(terms["minimumPerRecord"]), ONE))
    if terms.get("maximumPerRecord") is not None:
        amount = smaller(amount, (parts(terms["maximumPerRecord"]), ONE))
    return amount


MODELS = {
    "perUnit": per_unit,
    "package": package,
    "graduated": graduated,
    "volume": volume,
    "percentage": percentage,
    "graduatedPercentage": graduated_percentage,
}


# --------------------------------------------------------------------------------- arithmetic


def parts(text: str) -> int:
    """A decimal text as a number of 10**-12 parts."""
    sign = -1 if text.startswith("-") else 1
    whole, _, fraction = text.lstrip("-").partition(".")
    return sign * int(whole + (fraction + "0" * 12)[:12])


def plus(a: Ratio, b: Ratio) -> Ratio:
    """The sum of two ratios."""
    return (a[0] + b[0], a[1]) if a[1] == b[1] else (a[0] * b[1] + b[0] * a[1], a[1] * b[1])


def minus(a: Ratio, b: Ratio) -> Ratio:
    """The difference of two ratios."""
    return plus(a, (-b[0], b[1]))


def smaller(a: Ratio, b: Ratio) -> Ratio:
    """The smaller of two ratios."""
    return a if a[0] * b[1] <= b[0] * a[1] else b


def larger(a: Ratio, b: Ratio) -> Ratio:
    """The larger of two ratios."""
    return b if smaller(a, b) is a else a


# -------------------------------------------------------------------------------------- cases


def cases(count: int, seed: int) -> Iterator[Case]:
    """Cases that lean on the edges: bounds, zeros, halves of a minor unit, long fractions."""
    chance = random.Random(seed)
    for number in range(count):
        model = list(MODELS)[number % len(MODELS)]
        terms = TERMS[model](chance)
        records = [] if chance.random() < 0.1 else amounts(chance, chance.randint(1, 6), terms)
        whole = sum(map(parts, records))
        if whole < 0:
            records, whole = [], 0
        yield {
            "currency": chance.choice(list(DIGITS)),
            "pricing": {model: terms},
            "modifiers": around(chance),
            "records": records,
            "quantity": text(whole),
        }


def amounts(chance: random.Random, count: int, terms: Case) -> list[str]:
    """The values of so many records; now and then one that lands on a bound, or a refund."""
    found: list[str] = []
    bounds = [tier["upTo"] for tier in terms.get("tiers", ()) if tier.get("upTo")]
    bounds += [terms[key] for key in ("freeAmount", "freeUnits", "size") if terms.get(key)]
    for _ in range(count):
        if bounds and chance.random() < 0.4:
            found.append(text(parts(chance.choice(bounds)) - sum(map(parts, found))))
        elif chance.random() < 0.05:
            found.append(f"-{number(chance, 100)}")
        else:
            found.append(number(chance, chance.choice((10, 100, 5000, 10**9))))
    return [one.lstrip("-") if chance.random() < 0.7 else one for one in found]


def around(chance: random.Random) -> Case:
    """Some modifiers, half of the time none."""
    if chance.random() < 0.5:
        return {}
    limits = sorted((number(chance, 500), number(chance, 5000)), key=parts)
    every = {
        "divideBy": chance.choice(["3", "7", "1000", "1024", "0.5", "0.000000000001", "1000000"]),
        "divideRounding": chance.choice(BOUND_TO_ROUNDING),
        "includedUnits": number(chance, 50),
        "percentageDiscount": chance.choice(["0", "10", "12.5", "33.333333333333", "100"]),
        "minimumAmount": limits[0],
        "maximumAmount": limits[1],
    }
    return {name: value for name, value in every.items() if chance.random() < 0.4}


def text(number: int) -> str:
    """A number of 10**-12 parts as a decimal text without spare zeros."""
    whole, fraction = divmod(abs(number), ONE)
    shown = f"{whole}.{fraction:012}".rstrip("0").rstrip(".")
    return f"-{shown}" if number < 0 else shown


def number(chance: random.Random, most: int) -> str:
    """A decimal that is not negative: whole, of a few places, or of all twelve."""
    places = chance.choice((0, 0, 1, 2, 3, 12))
    return text(chance.randint(0, most * 10**places) * 10 ** (12 - places))


def amount(chance: random.Random) -> str:
    """An amount, often one that makes halves of a minor unit."""
    return chance.choice(
        ["0", "0.005", "0.0005", "0.5", "0.04", "1", "0.000000000001", number(chance, 20)]
    )


def tiers(chance: random.Random, rate: str) -> Case:
    """Rising tiers with an open end."""
    bounds = sorted({parts(number(chance, 1000)) for _ in range(chance.randint(0, 4))} - {0})
    found = []
    for bound in [*bounds, None]:
        tier: Case = {} if bound is None else {"upTo": text(bound)}
        kept = chance.choice(([rate], [rate], ["flatAmount"], [rate, "flatAmount"]))
        found.append({**tier, **{name: amount(chance) for name in kept}})
    return {"tiers": found}


def some_package(chance: random.Random) -> Case:
    """A package."""
    terms = {"size": number(chance, 200), "amount": amount(chance)}
    if not parts(terms["size"]):
        terms["size"] = "1"
    if chance.random() < 0.5:
        terms["freeUnits"] = number(chance, 300)
    if chance.random() < 0.7:
        terms["rounding"] = chance.choice(BOUND_TO_ROUNDING)
    return terms


def some_percentage(chance: random.Random) -> Case:
    """A percentage with any of its parts."""
    limits = sorted((number(chance, 10), number(chance, 100)), key=parts)
    every = {
        "fixedAmount": amount(chance),
        "freeRecords": chance.randint(0, 4),
        "freeAmount": number(chance, 500),
        "minimumPerRecord": limits[0],
        "maximumPerRecord": limits[1],
    }
    kept = {name: value for name, value in every.items() if chance.random() < 0.45}
    return {
        "rate": chance.choice(["0", "1.5", "2.9", "0.000000000001", "100", amount(chance)]),
        **kept,
    }


TERMS: dict[str, Callable[[random.Random], Case]] = {
    "perUnit": lambda chance: {"unitAmount": amount(chance)},
    "package": some_package,
    "graduated": lambda chance: tiers(chance, "unitAmount"),
    "volume": lambda chance: tiers(chance, "unitAmount"),
    "percentage": some_percentage,
    "graduatedPercentage": lambda chance: tiers(chance, "rate"),
}


def main() -> None:
    """Compare as many cases as are asked for; say where the first few differ, and fail."""
    from tests.domain.test_oracle import charged  # the only place that knows both sides

    parser = argparse.ArgumentParser(
        description="Compare the prices of the domain with the oracle."
    )
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    wrong = 0
    for case in cases(options.cases, options.seed):
        expected, found = minor_units(case), charged(case)
        if expected != found:
            wrong += 1
            if wrong <= 3:
                sys.stdout.write(f"{case}\n  is {found} minor units, should be {expected}\n")
    sys.stdout.write(f"{options.cases} cases, {wrong} off by a minor unit or more\n")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
