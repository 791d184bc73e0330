"""What the next bill will say: previews, computed from the ledger at the moment of asking."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, cast

import strawberry

from app.commands import imagined_subscription
from app.schema.as_of import AsKnown, go_back
from app.schema.context import Info, existing
from app.schema.fields import resolver
from app.schema.invoices import Invoice
from app.schema.scalars import DecimalText, InstantText, Json, optional_instant
from app.schema.subscription_inputs import PreviewSubscriptionInput
from domain import subscriptions, usage
from domain.decider import Code, Path, Rejected
from domain.periods import to_us
from domain.text import check_text
from projections import due_work, invoice_previews, usage_records
from projections.needed_properties import needs
from projections.supposed import NOTHING, Hypothetical, Supposed
from projections.tables import Views

EXTRA_USAGE_LIMIT = 1_000


@strawberry.input(description="Usage that was never sent, to see what it would cost.")
class HypotheticalUsageInput:
    """Usage that was never sent."""

    event_name: str = strawberry.field(description="What would be used, as meters know it.")
    timestamp: InstantText | None = strawberry.field(
        default=None, description="When; left out, in whatever period is billed."
    )
    value: DecimalText | None = strawberry.field(
        default=None, description="How much; short for the property of that name."
    )
    properties: Json | None = strawberry.field(
        default=None, description="A flat object of up to 20 strings; numbers as decimal strings."
    )

    def read(self, views: Views, at: datetime, path: Path) -> Hypothetical:
        """The usage that is meant, judged as if it had been sent, at `at` unless it says when.

        Raises `Rejected`.
        """
        check_text(self.event_name, (*path, "eventName"))
        offered = usage.RecordInput(
            id="extra",
            event_name=self.event_name,
            customer="anybody",
            timestamp=self.timestamp,
            value=self.value,
            properties=cast("dict[str, Any] | None", self.properties),
        )
        needed = needs(usage_records.meters_over(views, self.event_name))
        facts = usage.Facts(
            at_us=to_us(at),
            value_properties={self.event_name: needed.numbers},
            text_properties={self.event_name: needed.texts},
            at_times={self.event_name: needed.at_times},
            customers=(),
            recorded={},
        )
        decided = usage.decide(usage.RecordUsage(records=[offered]), facts)
        refusal = decided.verdicts[0].error
        if refusal is not None:
            raise Rejected(refusal.code, (*path, *refusal.path), refusal.message)
        record = decided.events[0].record(0)
        return Hypothetical(
            event_name=record.event_name,
            timestamp=optional_instant(self.timestamp, (*path, "timestamp")),
            value=record.value,
            properties=record.properties,
        )


async def previewed(
    info: Info,
    find: Callable[[Views], subscriptions.Subscription],
    *,
    customer: str | None = None,
    at: datetime | None = None,
    extra: Sequence[HypotheticalUsageInput] = (),
) -> Invoice | None:
    """The invoice of a subscription at an instant, by default its next one.

    `customer` is whose it is, if that is known. None when the subscription has not started by then.
    Raises `Rejected`.
    """
    if len(extra) > EXTRA_USAGE_LIMIT:
        message = f"at most {EXTRA_USAGE_LIMIT} records"
        raise Rejected(Code.LIMIT_EXCEEDED, ("extraUsage",), message)

    now = info.context.now()

    def make(views: Views) -> Invoice | None:
        subscription = find(views)
        within = invoice_previews.last_instant(views, subscription, now=now, at=at)
        imagined = [
            one.read(views, within, ("extraUsage", str(index))) for index, one in enumerate(extra)
        ]
        supposed = Supposed(usage=imagined) if imagined else NOTHING
        instant = at or due_work.next_invoice(views, subscription, now, supposed)
        preview = invoice_previews.preview(
            views, subscription, now=now, at=instant, supposed=supposed
        )
        return Invoice.previewed(views, preview) if preview else None

    return await info.context.read(make, customer=customer)


def subscription_named(id: str) -> Callable[[Views], subscriptions.Subscription]:
    """Finds the subscription that an argument names. Raises `Rejected` NOT_FOUND."""

    def find(views: Views) -> subscriptions.Subscription:
        found = existing(views, subscriptions.Subscription, id, "subscriptionId")
        state: subscriptions.Subscription = found.state
        return state

    return find


@strawberry.type
class PreviewQueries:
    """Asking what would be owed."""

    @resolver(
        description="The invoice that would be issued, without any lag; null before the start."
    )
    async def invoice_preview(
        self,
        info: Info,
        subscription_id: Annotated[
            strawberry.ID, strawberry.argument(description="The subscription to bill.")
        ],
        at: Annotated[
            InstantText | None,
            strawberry.argument(
                description="When it would be issued; left out, at the current period's end."
            ),
        ] = None,
        as_of: AsKnown = None,
        extra_usage: Annotated[
            list[HypotheticalUsageInput] | None,
            strawberry.argument(
                description="Usage to add as if it had been sent; what lies in a billed period "
                "comes as an adjustment, as it would."
            ),
        ] = [],  # noqa: B006  # the schema prints it, nobody changes it
    ) -> Invoice | None:
        instant, find = optional_instant(at, ("at",)), subscription_named(subscription_id)
        customer = (await info.context.read(find)).customer_id if as_of else None
        await go_back(info, as_of)
        if as_of and await info.context.find(subscriptions.Subscription, subscription_id) is None:
            return None
        extra = extra_usage or ()
        return await previewed(info, find, customer=customer, at=instant, extra=extra)

    @resolver(
        description="An invoice of a subscription that does not exist: what would be owed if it "
        "did, the usage already sent included. Nothing is written."
    )
    async def subscription_preview(
        self,
        info: Info,
        input: Annotated[
            PreviewSubscriptionInput, strawberry.argument(description="Who would subscribe.")
        ],
        at: Annotated[
            InstantText | None,
            strawberry.argument(
                description="When it would be issued; left out, at the end of the period that "
                "is running, or at a start to come. At the start it is the first invoice."
            ),
        ] = None,
        extra_usage: Annotated[
            list[HypotheticalUsageInput] | None,
            strawberry.argument(description="Usage to add as if it had been sent."),
        ] = [],  # noqa: B006  # the schema prints it, nobody changes it
    ) -> Invoice | None:
        command, instant = input.command(), optional_instant(at, ("at",))
        now = info.context.now()

        def imagine(views: Views) -> subscriptions.Subscription:
            return imagined_subscription(views, command, now)

        return await previewed(info, imagine, at=instant, extra=extra_usage or ())
