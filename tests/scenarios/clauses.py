"""The clauses of a story's longer sentences, each a pattern and what it says about the command."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from domain.collection import CollectionMethod
from domain.late_usage import LateUsage
from domain.meter_filters import DimensionFilter
from domain.periods import Interval, IntervalUnit
from domain.prices import CreatePrice, Timing
from domain.pricing import Graduated, Package, PerUnit, Pricing, Tier, Volume
from domain.proration import ProrationGranularity
from domain.subscription_items import NewItem
from domain.subscriptions import CreateSubscription

TIERED: Mapping[str, Callable[..., Pricing]] = {"graduated": Graduated, "volume": Volume}

AMOUNT = r"(\d+(?:\.\d+)?)"
RATE = re.compile(rf"{AMOUNT} ([A-Z]{{3}})")
PACKAGE = re.compile(rf"{AMOUNT} ([A-Z]{{3}}) for each {AMOUNT} units(?: above {AMOUNT})?")
TIERS = re.compile(r"(graduated|volume) ([A-Z]{3})")
TIER = re.compile(rf"(?:then )?(?:{AMOUNT} flat)?(?: and )?{AMOUNT}?(?: up to {AMOUNT})?")
INTERVAL = re.compile(r"per (?:(\d+) )?(day|week|month|year)s?")
METER = re.compile(r"on (\S+)")
FILTER = re.compile(r"for (\w+) (\w+)")
TIMING = re.compile(r"in (advance|arrears)")
ITEM = re.compile(rf"(\S+?)(?: x {AMOUNT})?")


def price(name: str, product_id: str, terms: str, ids: Mapping[str, str]) -> CreatePrice:
    """A price from its clauses: see `asked`."""
    return CreatePrice(product_id=product_id, nickname=name, **asked(terms, ids))


def asked(terms: str, ids: Mapping[str, str]) -> dict[str, Any]:
    """What a price asks: `graduated USD, per month, on tokens, 0 up to 1000, then 0.04`.

    The rate is `100 USD`, or `0.04 USD for each 100 units above 1000`, or `graduated USD` or
    `volume USD` with tiers: `0 up to 1000`, `100 flat and 0 up to 1000`, `then 0.04`. Usage may be
    filtered, `for model large`, and what comes late for it not billed: `late usage reported`.
    """
    said: dict[str, Any] = {}
    tiers: list[Tier] = []
    for clause in terms.split(", "):
        if found := PACKAGE.fullmatch(clause):
            free = Decimal(found[4] or 0)
            said["pricing"] = Package(
                size=Decimal(found[3]), amount=Decimal(found[1]), free_units=free
            )
            said["currency"] = found[2]
        elif found := RATE.fullmatch(clause):
            said |= {"pricing": PerUnit(unit_amount=Decimal(found[1])), "currency": found[2]}
        elif found := TIERS.fullmatch(clause):
            said |= {"tiered": TIERED[found[1]], "currency": found[2]}
        elif found := INTERVAL.fullmatch(clause):
            unit = IntervalUnit(found[2].upper())
            said["interval"] = Interval(unit, int(found[1] or 1))
        elif found := METER.fullmatch(clause):
            said["meter_id"] = ids[found[1]]
        elif found := FILTER.fullmatch(clause):
            said["meter_filter"] = (DimensionFilter(name=found[1], values=(found[2],)),)
        elif clause == "late usage reported":
            said["late_usage"] = LateUsage.REPORT
        elif found := TIMING.fullmatch(clause):
            said["timing"] = Timing(f"IN_{found[1].upper()}")
        elif found := TIER.fullmatch(clause):
            flat, unit_amount, up_to = map(decimal, found.groups())
            tiers.append(Tier(up_to=up_to, unit_amount=unit_amount, flat_amount=flat))
        else:
            raise AssertionError(f"no such clause of a price: {clause}")
    if tiered := said.pop("tiered", None):
        said["pricing"] = tiered(tiers=tuple(tiers))
    return said


def subscription(
    customer_id: str,
    at: datetime,
    terms: str,
    prices: Mapping[str, str],
    instant: Callable[[str], datetime],
) -> CreateSubscription:
    """A subscription from `licence x 2, usage`, with `from <date>` and `anchored at <date>`.

    Also `trial to <date>`, `usage billed in the trial`, `by whole days` and `sent and due in 14
    days`. It starts when the step happens unless it says otherwise.
    """
    said: dict[str, Any] = {"start_at": at}
    items: list[NewItem] = []
    for clause in terms.split(", "):
        if found := re.fullmatch(r"from (\S+)", clause):
            said["start_at"] = instant(found[1])
        elif found := re.fullmatch(r"anchored at (\S+)", clause):
            said["billing_anchor"] = instant(found[1])
        elif found := re.fullmatch(r"trial to (\S+)", clause):
            said["trial_end"] = instant(found[1])
        elif clause == "usage billed in the trial":
            said["bills_usage_in_trial"] = True
        elif found := re.fullmatch(r"sent and due in (\d+) days", clause):
            said["collection_method"] = CollectionMethod.SEND_INVOICE
            said["days_until_due"] = int(found[1])
        elif clause == "by whole days":
            said["proration_granularity"] = ProrationGranularity.DAY
        elif found := ITEM.fullmatch(clause):
            items.append(NewItem(price_id=prices[found[1]], quantity=decimal(found[2])))
        else:
            raise AssertionError(f"no such clause of a subscription: {clause}")
    return CreateSubscription(customer_id=customer_id, items=tuple(items), **said)


def decimal(text: str | None) -> Decimal | None:
    """A number that may be left out."""
    return None if text is None else Decimal(text)
