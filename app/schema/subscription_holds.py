"""Holding subscriptions back: collection that is paused, and bills that somebody must look at."""

from typing import Annotated

import strawberry

from app.schema.context import Info, Outcome
from app.schema.errors import Payload
from app.schema.fields import mutation
from app.schema.subscriptions import Subscription
from domain import subscription_holds, subscriptions


@strawberry.input(description="The subscription whose invoices stay drafts.")
class PauseCollectionInput:
    """The subscription whose invoices stay drafts."""

    subscription_id: strawberry.ID = strawberry.field(description="The subscription.")
    idempotency_key: str | None = strawberry.field(
        default=None, description="Sent again with the same key, the first result is answered."
    )


@strawberry.input(description="The subscription whose invoices are issued again.")
class ResumeCollectionInput:
    """The subscription whose invoices are issued again."""

    subscription_id: strawberry.ID = strawberry.field(description="The subscription.")
    idempotency_key: str | None = strawberry.field(
        default=None, description="Sent again with the same key, the first result is answered."
    )


@strawberry.input(description="The parked subscription that is billed after all.")
class UnparkSubscriptionInput:
    """The parked subscription that is billed after all."""

    subscription_id: strawberry.ID = strawberry.field(description="The subscription.")
    idempotency_key: str | None = strawberry.field(
        default=None, description="Sent again with the same key, the first result is answered."
    )


@strawberry.type(description="The paused subscription, or why it is not.")
class PauseCollectionPayload(Payload):
    """The paused subscription, or why it is not."""

    subscription: Subscription | None = strawberry.field(
        description="The subscription; null when it was refused."
    )


@strawberry.type(description="The resumed subscription, or why it is not.")
class ResumeCollectionPayload(Payload):
    """The resumed subscription, or why it is not."""

    subscription: Subscription | None = strawberry.field(
        description="The subscription; null when it was refused."
    )


@strawberry.type(description="The subscription that is billed again, or why it is not.")
class UnparkSubscriptionPayload(Payload):
    """The subscription that is billed again, or why it is not."""

    subscription: Subscription | None = strawberry.field(
        description="The subscription; null when it was refused."
    )


@strawberry.type
class SubscriptionHoldMutations:
    """Holding subscriptions back."""

    @mutation(description="Keep the invoices of a subscription as drafts until it is resumed.")
    async def pause_collection(
        self,
        info: Info,
        input: Annotated[PauseCollectionInput, strawberry.argument(description="Which one.")],
    ) -> PauseCollectionPayload:
        command = subscription_holds.PauseCollection(subscription_id=input.subscription_id)
        done = await _held(info, command, input.idempotency_key)
        return PauseCollectionPayload(
            subscription=Subscription.of(done.state) if done.state else None,
            user_errors=done.user_errors,
            position=done.position,
        )

    @mutation(description="Issue the invoices of a subscription again; those that waited, at once.")
    async def resume_collection(
        self,
        info: Info,
        input: Annotated[ResumeCollectionInput, strawberry.argument(description="Which one.")],
    ) -> ResumeCollectionPayload:
        command = subscription_holds.ResumeCollection(subscription_id=input.subscription_id)
        done = await _held(info, command, input.idempotency_key)
        return ResumeCollectionPayload(
            subscription=Subscription.of(done.state) if done.state else None,
            user_errors=done.user_errors,
            position=done.position,
        )

    @mutation(
        description="Bill a parked subscription: what is due by now is meant, however absurd it "
        "looks. An invoice of more lines than there can be parks it again."
    )
    async def unpark_subscription(
        self,
        info: Info,
        input: Annotated[UnparkSubscriptionInput, strawberry.argument(description="Which one.")],
    ) -> UnparkSubscriptionPayload:
        command = subscription_holds.UnparkSubscription(subscription_id=input.subscription_id)
        done = await _held(info, command, input.idempotency_key)
        return UnparkSubscriptionPayload(
            subscription=Subscription.of(done.state) if done.state else None,
            user_errors=done.user_errors,
            position=done.position,
        )


async def _held(
    info: Info, command: subscription_holds.Command, key: str | None
) -> Outcome[subscriptions.Subscription]:
    return await info.context.execute(subscriptions.Subscription, lambda: command, key)
