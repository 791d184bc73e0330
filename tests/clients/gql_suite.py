"""gql, the Python client: requests built and checked by the schema that it fetched from the server.

It runs in an environment of its own (`requirements.txt` beside this file), by `unittest`.
"""

import os
import unittest
import uuid
from typing import Any

from gql import Client, gql
from gql.dsl import DSLField, DSLMutation, DSLQuery, DSLSchema, dsl_gql
from gql.transport.exceptions import TransportQueryError
from gql.transport.httpx import HTTPXTransport
from graphql import GraphQLError

GRAPHQL = os.environ["TALLYBOOK_URL"] + "/graphql"
EVERYTHING = {
    "descriptions": True,
    "specified_by_url": True,
    "directive_is_repeatable": True,
    "schema_description": True,
    "input_value_deprecation": True,
    "input_object_one_of": True,
}


def connect() -> Client:
    """A client that has fetched the schema with everything there is to say of it."""
    client = Client(
        transport=HTTPXTransport(url=GRAPHQL, timeout=60),
        fetch_schema_from_transport=True,
        introspection_args=EVERYTHING,
    )
    with client:
        return client


class Story(unittest.TestCase):
    """The guide's story, told by requests that are built instead of written."""

    def setUp(self) -> None:
        """Fetch the schema."""
        self.client = connect()
        assert self.client.schema is not None, "it was fetched"
        self.schema = DSLSchema(self.client.schema)

    def ask(self, field: DSLField) -> Any:
        """The answer to one query."""
        return self.client.execute(dsl_gql(DSLQuery(asked=field)))["asked"]

    def do(self, field: DSLField) -> Any:
        """The payload of one mutation."""
        return self.client.execute(dsl_gql(DSLMutation(done=field)))["done"]

    def test_3000_tokens_are_80_00(self) -> None:
        """A customer takes two prices, uses 3,000 tokens and asks for the next invoice."""
        s, id = self.schema, f"gql-{uuid.uuid4()}"
        prices = [
            self.ask(
                s.Query.prices(lookupKey=key).select(s.PriceConnection.nodes.select(s.Price.id))
            )
            for key in ("alpaca-usage", "alpaca-licence")
        ]
        joined = self.do(
            s.Mutation.createCustomer(input={"name": "Told by gql", "externalId": id}).select(
                s.CreateCustomerPayload.customer.select(s.Customer.id)
            )
        )
        items = [{"priceId": price["nodes"][0]["id"]} for price in prices]
        subscribed = self.do(
            s.Mutation.createSubscription(
                input={"customerId": joined["customer"]["id"], "items": items}
            ).select(s.CreateSubscriptionPayload.subscription.select(s.Subscription.id))
        )
        record = {"id": id, "eventName": "alpaca_ai_tokens", "customer": id, "value": "3000"}
        used = self.do(
            s.Mutation.recordUsage(input={"records": [record]}).select(
                s.RecordUsagePayload.receipts.select(s.UsageReceipt.status)
            )
        )
        assert used["receipts"] == [{"status": "ACCEPTED"}]
        bill = self.ask(
            s.Query.invoicePreview(subscriptionId=subscribed["subscription"]["id"]).select(
                s.Invoice.lines.select(s.InvoiceLine.amount.select(s.Money.amount)),
                s.Invoice.amountDue.select(s.Money.amount, s.Money.currency),
            )
        )
        assert [line["amount"]["amount"] for line in bill["lines"]] == ["80.00", "100.00"]
        assert bill["amountDue"] == {"amount": "180.00", "currency": "USD"}

    def test_a_request_is_checked_before_it_is_sent(self) -> None:
        """The fetched schema knows what there is, and what is exactly one of several."""
        with self.assertRaises(GraphQLError):
            self.client.execute(gql("{ ledger { colour } }"))
        both = '{ perUnit: { unitAmount: "1" }, volume: { tiers: [{ unitAmount: "1" }] } }'
        quote = (
            f'{{ priceQuote(pricing: {both}, currency: "USD", quantity: "1") {{ exactAmount }} }}'
        )
        with self.assertRaises(GraphQLError):
            self.client.execute(gql(quote))

    def test_a_refused_query_is_an_error_with_its_code(self) -> None:
        """What a server refuses arrives with the code and the path."""
        with self.assertRaises(TransportQueryError) as refused:
            self.client.execute(gql("{ meters(first: 1000) { totalCount } }"))
        errors = refused.exception.errors or []
        assert errors[0]["extensions"] == {
            "code": "BAD_USER_INPUT",
            "reason": "INVALID_VALUE",
            "path": ["first"],
        }, errors


if __name__ == "__main__":
    unittest.main()
