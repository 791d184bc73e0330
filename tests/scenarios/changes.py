"""The sentences of a story about how subscriptions change and end."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from app.commands import imagined_change
from domain import billing_calendar, subscription_holds
from domain.subscription_changes import (
    CancelForm,
    CancelSubscription,
    ChangeSubscription,
    Command,
    ItemChange,
    ProrationBehavior,
    ReactivateSubscription,
)
from projections.invoice_previews import Preview, preview, prices_of
from projections.tables import Views
from tests.scenarios.clauses import AMOUNT, ITEM, decimal
from tests.scenarios.sentences import Sentences

if TYPE_CHECKING:
    from tests.scenarios.story import Story

sentence = Sentences()

BEHAVIORS = {
    "invoiced now": ProrationBehavior.INVOICE_NOW,
    "without prorations": ProrationBehavior.NONE,
}

END = r"(now|at period end|at [^ ,]+)(, .+)?"


@sentence(r"change (\S+?): (.+)")
def change(story: "Story", at: datetime, name: str, terms: str) -> None:
    """`change alpaca-lover: licence x 3, add support, remove usage, from 2026-01-16`."""
    story.ledger.execute_now(change_command(story, name, terms))


@sentence(rf"cancel (\S+) {END}")
def cancel(story: "Story", at: datetime, name: str, when: str, how: str | None) -> None:
    """`cancel alpaca-lover now, discarding usage, without prorations`; also `at 2026-03-15`."""
    story.ledger.execute_now(cancel_command(story, name, when, how))


@sentence(r"reactivate (\S+)")
def reactivate(story: "Story", at: datetime, name: str) -> None:
    """`reactivate alpaca-lover`: it goes on after all."""
    with story.ledger.snapshot() as views:
        id = story.subscription(views, name).id
    story.ledger.execute_now(ReactivateSubscription(subscription_id=id))


HOLDS: Mapping[str, type[subscription_holds.Command]] = {
    "pause": subscription_holds.PauseCollection,
    "resume": subscription_holds.ResumeCollection,
    "unpark": subscription_holds.UnparkSubscription,
}


@sentence(r"(pause|resume|unpark) (\S+)")
def hold(story: "Story", at: datetime, verb: str, name: str) -> None:
    """`pause alpaca-lover`: its invoices stay drafts; `resume` and `unpark` let it go on."""
    with story.ledger.snapshot() as views:
        id = story.subscription(views, name).id
    command: Any = HOLDS[verb]
    story.ledger.execute_now(command(subscription_id=id))


def change_command(story: "Story", name: str, terms: str) -> ChangeSubscription:
    """A change from its clauses; an item goes by the name of its price.

    `licence x 3` is another quantity, `basic becomes premium x 2` another price; `invoiced now` or
    `without prorations` say how it is billed, `from 2026-01-16` says when it takes effect.
    """
    with story.ledger.snapshot() as views:
        state = story.subscription(views, name)
    items = {item.price_id: item.id for item in state.items}
    said: dict[str, Any] = {}
    changes: list[ItemChange] = []
    for clause in terms.split(", "):
        if found := re.fullmatch(r"from (\S+)", clause):
            said["effective_at"] = story.instant(found[1])
        elif clause in BEHAVIORS:
            said["behavior"] = BEHAVIORS[clause]
        else:
            changes.append(_item_change(clause, items, story.prices))
    return ChangeSubscription(subscription_id=state.id, items=tuple(changes), **said)


def _item_change(clause: str, items: dict[str, str], prices: dict[str, str]) -> ItemChange:
    if found := re.fullmatch(rf"add {ITEM.pattern}", clause):
        return ItemChange(price_id=prices[found[1]], quantity=decimal(found[2]))
    if found := re.fullmatch(r"remove (\S+)", clause):
        return ItemChange(item_id=items.get(prices[found[1]], "none"), remove=True)
    if found := re.fullmatch(rf"(\S+) becomes {ITEM.pattern}", clause):
        return ItemChange(
            item_id=items.get(prices[found[1]], "none"),
            price_id=prices[found[2]],
            quantity=decimal(found[3]),
        )
    found = re.fullmatch(rf"(\S+) x {AMOUNT}", clause)
    assert found, f"no such clause of a change: {clause}"
    return ItemChange(item_id=items.get(prices[found[1]], "none"), quantity=decimal(found[2]))


def cancel_command(story: "Story", name: str, when: str, how: str | None) -> CancelSubscription:
    """An end from its clauses: when it is, and how it is billed."""
    clauses = how.removeprefix(", ").split(", ") if how else []
    assert set(clauses) <= {"discarding usage", "without prorations"}, how
    said: dict[str, Any] = {"form": CancelForm.NOW}
    if when == "at period end":
        said["form"] = CancelForm.AT_PERIOD_END
    elif when != "now":
        said |= {"form": CancelForm.AT, "at": story.instant(when.removeprefix("at "))}
    with story.ledger.snapshot() as views:
        id = story.subscription(views, name).id
    return CancelSubscription(
        subscription_id=id,
        discard_usage="discarding usage" in clauses,
        prorate="without prorations" not in clauses,
        **said,
    )


def billed(views: Views, command: Command, now: datetime) -> Preview | None:
    """What a change, or an end, would be billed on, if it were made now; None for nothing."""
    state = imagined_change(views, command, now)
    ends = isinstance(command, CancelSubscription) and state.end is not None
    bill_at = state.end.bill_at if ends and state.end else state.changes[-1].bill_at
    at = billing_calendar.first_billing(state, prices_of(views, state), bill_at)
    return preview(views, state, now=now, at=at) if at else None
