"""The explorer page: try every request in the browser, with a worked story to start from.

The page itself is built from `app/explorer` and lies in `ASSETS`. What the server adds at run time
is the story: each tab is one request of `app/examples`, filled in with the ids of its ledger.
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TypedDict

from domain import billing_calendar
from domain.customers import Customer
from domain.meters import Meter
from domain.periods import format_instant, to_us
from domain.subscriptions import Subscription
from projections import current, invoice_previews
from projections.tables import Views

STORY_CUSTOMER = "alpaca-lover"
"""The external id of the customer in the worked story, as the demo creates it."""

ASSETS = Path(__file__).parent / "static" / "graphiql"
EXAMPLES = Path(__file__).parent / "examples"

# Nothing but this server's own files runs on the page, and the page talks to nobody else. The
# editor places its text by style attributes, which is why inline styles are the one exception.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "worker-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

# What the reader sees where a ledger has no object to fill in, so that the gap explains itself.
HINTS: Mapping[str, str] = {
    "customer": "customer id",
    "eventName": "alpaca_ai_tokens",
    "meter": "meter id",
    "month": "2026-01",
    "monthEnd": "2026-02-01T00:00:00Z",
    "monthStart": "2026-01-01T00:00:00Z",
    "price.licence": "id of the licence price",
    "previous": "0",
    "price.usage": "id of the usage price",
    "product.licence": "id of the licence product",
    "product.usage": "id of the usage product",
    "subscription": "subscription id",
    "unique": "1",
}

_KEY_HINT = """\
# Every request needs a key. Write it into the tab Headers below, it is forgotten with the page:
# {"Authorization": "Bearer tbk_..."}

"""
_PLACEHOLDER = re.compile(r"\$([a-z][A-Za-z]*(?:\.[a-z][A-Za-z]*)?)")
_OPERATION_NAME = re.compile(r"^(?:query|mutation|subscription)\s+(\w+)", re.MULTILINE)


class Tab(TypedDict):
    """One request ready to run: the name on its tab, its text, and its variables as JSON text."""

    title: str
    query: str
    variables: str


class PreparedTabs(TypedDict):
    """The answer of `/graphiql/tabs.json`: whose ledger the tabs are for, and the tabs in order."""

    ledger: str
    tabs: list[Tab]


def tabs(values: Mapping[str, str]) -> list[Tab]:
    """The worked story, from a meter to the growing ledger, with the ledger's own ids filled in.

    `values` is keyed by the names in `HINTS`; a name left out shows its hint instead.

    >>> story = tabs({"subscription": "sub_1"})
    >>> [tab["title"] for tab in story][:3]
    ['TryAggregation', 'CreateMeter', 'CreateProducts']
    >>> print(story[8]["variables"])
    {
      "subscriptionId": "sub_1"
    }
    """
    return [_tab(path, values) for path in sorted(EXAMPLES.glob("*.graphql"))]


def prepared_tabs(ledger: str, values: Mapping[str, str]) -> PreparedTabs:
    """The story for one ledger; `ledger` must stay the same for as long as the ledger lives.

    The browser keeps the reader's edits per ledger, so another id means a fresh set of tabs.
    """
    return {"ledger": ledger, "tabs": tabs(values)}


def tabs_for_keys() -> PreparedTabs:
    """The story for a page that does not know yet whose ledger its reader may ask."""
    prepared = prepared_tabs("of whoever has a key", {})
    for tab in prepared["tabs"]:
        tab["query"] = _KEY_HINT + tab["query"]
    return prepared


def values(views: Views, now: datetime) -> dict[str, str]:
    """What this ledger fills the placeholders with: the story's subscription, else the newest."""
    found: dict[str, str] = {
        "now": format_instant(now),
        "unique": f"{to_us(now) // 1_000_000:x}",
        "month": f"{now:%Y-%m}",
        "previous": str(views.checkpoint() - 1),
    }
    subscription = _subscription(views)
    if subscription is None:
        return found
    found |= {"subscription": subscription.id, "customer": subscription.customer_id}
    for price in invoice_previews.prices_of(views, subscription).values():
        part = "usage" if price.metered else "licence"
        found.setdefault(f"price.{part}", price.id)
        found.setdefault(f"product.{part}", price.product_id)
        period = billing_calendar.current_period(subscription, price, now)
        found["monthStart"] = format_instant(period.start)
        found["monthEnd"] = format_instant(period.end)
        meter = current.get(views, Meter, price.meter_id) if price.meter_id else None
        if meter is not None:
            found |= {"meter": meter.id, "eventName": meter.event_name}
    return found


def _subscription(views: Views) -> Subscription | None:
    """The first subscription of the story's customer if there is one, else the newest of all."""
    customer = current.owner(views, Customer, "externalId", STORY_CUSTOMER)
    keys = {"customerId": customer} if customer else {}
    found = current.select(views, Subscription, keys, limit=1, backwards=customer is None)
    return found[0].state if found else None


def _tab(path: Path, values: Mapping[str, str]) -> Tab:
    query = path.read_text(encoding="utf-8")
    name = _OPERATION_NAME.search(query)
    if name is None:
        raise ValueError(f"{path.name} has no named operation")
    variables = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    text = json.dumps(_filled(variables, values), indent=2, ensure_ascii=False)
    # The page names a tab after its operation as soon as the text is touched: start with that name.
    return {"title": name.group(1), "query": query, "variables": text}


def _filled(value: object, values: Mapping[str, str]) -> object:
    """The variables with every placeholder replaced, whatever their depth."""
    if isinstance(value, dict):
        return {key: _filled(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, values) for item in value]
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda found: _value(found.group(1), values), value)
    return value


def _value(name: str, values: Mapping[str, str]) -> str:
    """What stands for one placeholder; an unknown one is a mistake in the examples."""
    return values.get(name) or HINTS[name]
