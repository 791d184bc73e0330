"""What a subscription consists of: its items, each a price and a quantity, all in one currency."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

import msgspec

from domain.decider import Code, Path, Rejected
from domain.money import check_amount
from domain.periods import Interval

ITEMS_LIMIT = 100


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One price on the subscription; `quantity` is licensed units, None when metered."""

    id: str
    price_id: str
    quantity: Decimal | None


class NewItem(msgspec.Struct, frozen=True, kw_only=True):
    """A price to subscribe to, with the licensed quantity (one unit when left out)."""

    price_id: str
    quantity: Decimal | None = None


class PriceTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What a subscription must know of a price to accept it."""

    currency: str
    metered: bool
    interval: Interval
    in_advance: bool
    archived: bool = False


def quantity_of(new: NewItem, prices: Mapping[str, PriceTerms]) -> Decimal | None:
    """A licensed item counts one unit unless told otherwise; a metered one counts usage."""
    if prices[new.price_id].metered:
        return None
    return Decimal(1) if new.quantity is None else new.quantity


def check_items(items: Sequence[NewItem], prices: Mapping[str, PriceTerms]) -> str:
    """Every item can be billed, all in one currency, which is returned. Raises `Rejected`."""
    path: Path = ("input", "items")
    if not items:
        raise Rejected(Code.REQUIRED, path, "a subscription needs at least one item")
    if len(items) > ITEMS_LIMIT:
        message = f"a subscription has at most {ITEMS_LIMIT} items"
        raise Rejected(Code.LIMIT_EXCEEDED, path, message)
    currency: str | None = None
    seen: set[str] = set()
    for index, new in enumerate(items):
        here = (*path, str(index))
        terms = check_price(new.price_id, prices, currency, here)
        if new.price_id in seen:
            message = f"price {new.price_id} is listed twice; give one item the whole quantity"
            raise Rejected(Code.INVALID_VALUE, (*here, "priceId"), message)
        seen.add(new.price_id)
        check_quantity(new.quantity, terms, (*here, "quantity"))
        currency = terms.currency
    return currency or ""


def check_price(
    price_id: str, prices: Mapping[str, PriceTerms], currency: str | None, path: Path
) -> PriceTerms:
    """The terms of a price that may be subscribed to, in this currency. Raises `Rejected`."""
    terms = prices.get(price_id)
    if terms is None:
        message = f"there is no price {price_id}"
        raise Rejected(Code.NOT_FOUND, (*path, "priceId"), message)
    if terms.archived:
        message = f"price {price_id} is archived"
        raise Rejected(Code.WRONG_STATE, (*path, "priceId"), message)
    if currency not in (None, terms.currency):
        message = f"a subscription has one currency, {currency}; this price is in {terms.currency}"
        raise Rejected(Code.WRONG_CURRENCY, (*path, "priceId"), message)
    return terms


def check_quantity(quantity: Decimal | None, terms: PriceTerms, path: Path) -> None:
    """Licensed units are never negative; metered items take their quantity from usage."""
    if quantity is None:
        return
    if terms.metered:
        message = "a metered price takes its quantity from usage; leave quantity out"
        raise Rejected(Code.INVALID_VALUE, path, message)
    check_amount(quantity, path)
