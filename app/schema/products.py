"""What is sold: products, and how to put them into the catalogue."""

from typing import Annotated

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
from app.schema.scalars import InstantText, instant_text
from domain import products


@strawberry.type(description="What is sold: the thing that prices are asked for.")
class Product(Node):
    """A product as it is shown."""

    name: str = strawberry.field(description="What the product is called on invoices.")
    description: str | None = strawberry.field(description="What it is, in your own words.")
    unit_label: str | None = strawberry.field(
        description='What one unit of it is called, such as "token".'
    )
    active: bool = strawberry.field(description="Whether it is in the catalogue.")
    created_at: InstantText = strawberry.field(description="When the product was created.")

    @classmethod
    def of(cls, state: products.Product) -> "Product":
        """The product as it is shown."""
        return cls(
            id=strawberry.ID(state.id),
            name=state.name,
            description=state.description,
            unit_label=state.unit_label,
            active=state.active,
            created_at=instant_text(state.created_at),
        )


@strawberry.input(description="What to put into the catalogue.")
class CreateProductInput:
    """What to put into the catalogue."""

    name: str = strawberry.field(description="What the product is called on invoices.")
    description: str | None = strawberry.field(
        default=None, description="What it is, in your own words."
    )
    unit_label: str | None = strawberry.field(
        default=None, description='What one unit of it is called, such as "token".'
    )
    idempotency_key: str | None = strawberry.field(
        default=None, description="Sent again with the same key, the first result is answered."
    )

    def command(self) -> products.CreateProduct:
        """The command that is meant."""
        return products.CreateProduct(
            name=self.name, description=self.description, unit_label=self.unit_label
        )


@strawberry.type(description="The new product, or why there is none.")
class CreateProductPayload(Payload):
    """The new product, or why there is none."""

    product: Product | None = strawberry.field(description="The product; null when it was refused.")


@strawberry.input(description="What to change of a product: left out stays, null is cleared.")
class UpdateProductInput:
    """What to change of a product."""

    product_id: strawberry.ID = strawberry.field(description="The product to change.")
    name: strawberry.Maybe[str] = strawberry.field(description="What it is called on invoices.")
    description: strawberry.Maybe[str | None] = strawberry.field(description="A note of your own.")
    unit_label: strawberry.Maybe[str | None] = strawberry.field(
        description="What one unit is called, such as token."
    )
    idempotency_key: str | None = strawberry.field(
        default=None, description="Sent again with the same key, the first result is answered."
    )

    def command(self) -> products.UpdateProduct:
        """The command that is meant."""
        return products.UpdateProduct(
            product_id=self.product_id,
            name=wanted(self.name),
            description=wanted(self.description),
            unit_label=wanted(self.unit_label),
        )


@strawberry.input(description="The product that takes no new prices.")
class ArchiveProductInput:
    """The product that takes no new prices."""

    product_id: strawberry.ID = strawberry.field(description="The product to archive.")
    idempotency_key: str | None = strawberry.field(
        default=None, description="Sent again with the same key, the first result is answered."
    )

    def command(self) -> products.ArchiveProduct:
        """The command that is meant."""
        return products.ArchiveProduct(product_id=self.product_id)


@strawberry.type(description="The product as it now is, or why it stayed as it was.")
class UpdateProductPayload(Payload):
    """The product as it now is, or why it stayed as it was."""

    product: Product | None = strawberry.field(
        description="The product; null when the change was refused."
    )


@strawberry.type(description="The archived product, or why it is not.")
class ArchiveProductPayload(Payload):
    """The archived product, or why it is not."""

    product: Product | None = strawberry.field(description="The product; null when it was refused.")


@strawberry.type
class ProductQueries:
    """Asking for products."""

    @resolver(description="The product with this id; null when there is none.")
    async def product(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The id of a product.")],
        as_of: AsKnown = None,
    ) -> Product | None:
        state = await found(info, products.Product, id, as_of)
        return Product.of(state) if state else None

    @resolver(description="Products in the order of their creation.")
    async def products(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        name: Annotated[
            str | None, strawberry.argument(description="Only those called exactly this.")
        ] = None,
    ) -> Connection[Product]:
        page = Page.of(first, after, last, before)
        return await objects(info, products.Product, Product.of, page, name=name)


@strawberry.type
class ProductMutations:
    """Changing products."""

    @mutation(description="Put a product into the catalogue.")
    async def create_product(
        self,
        info: Info,
        input: Annotated[CreateProductInput, strawberry.argument(description="What is sold.")],
    ) -> CreateProductPayload:
        done = await info.context.execute(products.Product, input.command, input.idempotency_key)
        return CreateProductPayload(
            product=Product.of(done.state) if done.state else None,
            user_errors=done.user_errors,
            position=done.position,
        )

    @mutation(description="Describe a product otherwise.")
    async def update_product(
        self,
        info: Info,
        input: Annotated[UpdateProductInput, strawberry.argument(description="What to change.")],
    ) -> UpdateProductPayload:
        done = await info.context.execute(products.Product, input.command, input.idempotency_key)
        return UpdateProductPayload(
            product=Product.of(done.state) if done.state else None,
            user_errors=done.user_errors,
            position=done.position,
        )

    @mutation(description="Take no new prices for a product; those that it has go on.")
    async def archive_product(
        self,
        info: Info,
        input: Annotated[ArchiveProductInput, strawberry.argument(description="Which one.")],
    ) -> ArchiveProductPayload:
        done = await info.context.execute(products.Product, input.command, input.idempotency_key)
        return ArchiveProductPayload(
            product=Product.of(done.state) if done.state else None,
            user_errors=done.user_errors,
            position=done.position,
        )
