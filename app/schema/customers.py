"""Who is billed: customers, and how to take them on."""

from typing import TYPE_CHECKING, Annotated

import strawberry

from app.schema.as_of import AsKnown, found
from app.schema.connections import (
    After,
    Before,
    Connection,
    First,
    Last,
    Node,
    Page,
    objects,
)
from app.schema.context import Info
from app.schema.errors import Payload
from app.schema.fields import mutation, resolver, wanted
from app.schema.scalars import InstantText, Money, instant_text, money
from domain import customers
from projections import invoices

if TYPE_CHECKING:
    from app.schema.invoices import Invoice
    from app.schema.subscriptions import Subscription


@strawberry.type(description="Who is billed.")
class Customer(Node):
    """A customer as it is shown."""

    name: str = strawberry.field(description="Who the customer is, as invoices say it.")
    email: str | None = strawberry.field(description="Where invoices are sent.")
    description: str | None = strawberry.field(description="A note of your own.")
    external_id: str | None = strawberry.field(
        description="The customer's id in your own system; usage may name it instead of ours."
    )
    time_zone: str = strawberry.field(
        description="The IANA time zone whose midnights the billing periods follow."
    )
    created_at: InstantText = strawberry.field(description="When the customer was created.")
    archived_at: InstantText | None = strawberry.field(
        description="Since when it takes no new subscriptions; null while it does."
    )

    @classmethod
    def of(cls, state: customers.Customer) -> "Customer":
        """The customer as it is shown."""
        return cls(
            id=strawberry.ID(state.id),
            name=state.name,
            email=state.email,
            description=state.description,
            external_id=state.external_id,
            time_zone=state.time_zone,
            created_at=instant_text(state.created_at),
            archived_at=None if state.archived_at is None else instant_text(state.archived_at),
        )

    @resolver(description="What we owe the customer, in each currency; its next invoices use it.")
    async def balances(self, info: Info) -> list[Money]:
        id = self.id
        held = await info.context.read(
            lambda views: invoices.balances(views, id), customer=id, usage=False
        )
        return [money(amount, currency) for amount, currency in held]

    @resolver(description="Its subscriptions in the order of their creation.")
    async def subscriptions(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Annotated["Subscription", strawberry.lazy("app.schema.subscriptions")]]:
        # A subscription shows its customer, and a customer its subscriptions: one of the two has to
        # import the other late. So it is with invoices.
        from app.schema.subscriptions import subscription_page

        page = Page.of(first, after, last, before)
        return await subscription_page(info, page, customer=self.id, customerId=self.id)

    @resolver(description="Its invoices in the order in which they were drafted.")
    async def invoices(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Annotated["Invoice", strawberry.lazy("app.schema.invoices")]]:
        from app.schema.invoice_queries import invoice_page

        page = Page.of(first, after, last, before)
        return await invoice_page(info, page, customer=self.id, customerId=self.id)


@strawberry.input(description="Who is to be billed.")
class CreateCustomerInput:
    """Who is to be billed."""

    name: str = strawberry.field(description="Who the customer is, as invoices say it.")
    email: str | None = strawberry.field(default=None, description="Where invoices are sent.")
    description: str | None = strawberry.field(default=None, description="A note of your own.")
    external_id: str | None = strawberry.field(
        default=None,
        description="The customer's id in your own system; usage already sent for it counts.",
    )
    time_zone: str | None = strawberry.field(
        default=None, description="An IANA time zone such as Europe/Paris; UTC when left out."
    )
    idempotency_key: str | None = strawberry.field(
        default=None, description="Sent again with the same key, the first result is answered."
    )

    def command(self) -> customers.CreateCustomer:
        """The command that is meant."""
        return customers.CreateCustomer(
            name=self.name,
            email=self.email,
            description=self.description,
            external_id=self.external_id,
            time_zone=self.time_zone,
        )


@strawberry.type(description="The new customer, or why there is none.")
class CreateCustomerPayload(Payload):
    """The new customer, or why there is none."""

    customer: Customer | None = strawberry.field(
        description="The customer; null when it was refused."
    )


@strawberry.input(description="What to change of a customer: left out stays, null is cleared.")
class UpdateCustomerInput:
    """What to change of a customer."""

    customer_id: strawberry.ID = strawberry.field(description="The customer to change.")
    name: strawberry.Maybe[str] = strawberry.field(
        description="Who the customer is, as invoices say it."
    )
    email: strawberry.Maybe[str | None] = strawberry.field(description="Where invoices are sent.")
    description: strawberry.Maybe[str | None] = strawberry.field(description="A note of your own.")
    external_id: strawberry.Maybe[str | None] = strawberry.field(
        description="The customer's id in your own system. Usage already sent for the new one "
        "counts; usage sent for the former one from now on does not."
    )
    time_zone: strawberry.Maybe[str] = strawberry.field(
        description="An IANA time zone for subscriptions to come."
    )
    idempotency_key: str | None = strawberry.field(
        default=None, description="Sent again with the same key, the first result is answered."
    )

    def command(self) -> customers.UpdateCustomer:
        """The command that is meant."""
        return customers.UpdateCustomer(
            customer_id=self.customer_id,
            name=wanted(self.name),
            email=wanted(self.email),
            description=wanted(self.description),
            external_id=wanted(self.external_id),
            time_zone=wanted(self.time_zone),
        )


@strawberry.input(description="The customer that takes no new subscriptions.")
class ArchiveCustomerInput:
    """The customer that takes no new subscriptions."""

    customer_id: strawberry.ID = strawberry.field(description="The customer to archive.")
    idempotency_key: str | None = strawberry.field(
        default=None, description="Sent again with the same key, the first result is answered."
    )

    def command(self) -> customers.ArchiveCustomer:
        """The command that is meant."""
        return customers.ArchiveCustomer(customer_id=self.customer_id)


@strawberry.type(description="The customer as it now is, or why it stayed as it was.")
class UpdateCustomerPayload(Payload):
    """The customer as it now is, or why it stayed as it was."""

    customer: Customer | None = strawberry.field(
        description="The customer; null when the change was refused."
    )


@strawberry.type(description="The archived customer, or why it is not.")
class ArchiveCustomerPayload(Payload):
    """The archived customer, or why it is not."""

    customer: Customer | None = strawberry.field(
        description="The customer; null when it was refused."
    )


@strawberry.type
class CustomerQueries:
    """Asking for customers."""

    @resolver(description="The customer with this id; null when there is none.")
    async def customer(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="Our id of a customer.")],
        as_of: AsKnown = None,
    ) -> Customer | None:
        state = await found(info, customers.Customer, id, as_of)
        return Customer.of(state) if state else None

    @resolver(description="Customers in the order of their creation.")
    async def customers(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        name: Annotated[
            str | None, strawberry.argument(description="Only those called exactly this.")
        ] = None,
        email: Annotated[
            str | None, strawberry.argument(description="Only those with exactly this address.")
        ] = None,
        external_id: Annotated[
            str | None, strawberry.argument(description="Only the one with this id of yours.")
        ] = None,
    ) -> Connection[Customer]:
        page = Page.of(first, after, last, before)
        return await objects(
            info,
            customers.Customer,
            Customer.of,
            page,
            name=name,
            email=email,
            externalId=external_id,
        )


@strawberry.type
class CustomerMutations:
    """Changing customers."""

    @mutation(description="Take on a customer.")
    async def create_customer(
        self,
        info: Info,
        input: Annotated[
            CreateCustomerInput, strawberry.argument(description="Who is to be billed.")
        ],
    ) -> CreateCustomerPayload:
        done = await info.context.execute(customers.Customer, input.command, input.idempotency_key)
        return CreateCustomerPayload(
            customer=Customer.of(done.state) if done.state else None,
            user_errors=done.user_errors,
            position=done.position,
        )

    @mutation(description="Change what is known of a customer.")
    async def update_customer(
        self,
        info: Info,
        input: Annotated[UpdateCustomerInput, strawberry.argument(description="What to change.")],
    ) -> UpdateCustomerPayload:
        done = await info.context.execute(customers.Customer, input.command, input.idempotency_key)
        return UpdateCustomerPayload(
            customer=Customer.of(done.state) if done.state else None,
            user_errors=done.user_errors,
            position=done.position,
        )

    @mutation(description="Take no new subscriptions for a customer; what it has goes on.")
    async def archive_customer(
        self,
        info: Info,
        input: Annotated[ArchiveCustomerInput, strawberry.argument(description="Which one.")],
    ) -> ArchiveCustomerPayload:
        done = await info.context.execute(customers.Customer, input.command, input.idempotency_key)
        return ArchiveCustomerPayload(
            customer=Customer.of(done.state) if done.state else None,
            user_errors=done.user_errors,
            position=done.position,
        )
