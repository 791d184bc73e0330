// urql: its normalised cache with our pages, mutations, and documents that are registered as they come.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Client, fetchExchange, gql } from "@urql/core";
import { cacheExchange } from "@urql/exchange-graphcache";
import { relayPagination } from "@urql/exchange-graphcache/extras";
import { persistedExchange } from "@urql/exchange-persisted";
import { introspectionFromSchema } from "graphql";
import { introspect } from "./introspect.mjs";
import { AMOUNTS, DUE, GRAPHQL, LICENCE, USAGE, told } from "./story.mjs";

const PRICE = gql`
  query ($lookupKey: String!) {
    prices(lookupKey: $lookupKey) {
      nodes {
        id
      }
    }
  }
`;
const JOIN = gql`
  mutation ($input: CreateCustomerInput!) {
    done: createCustomer(input: $input) {
      customer {
        id
        name
      }
      userErrors {
        code
        path
      }
    }
  }
`;
const RENAME = gql`
  mutation ($input: UpdateCustomerInput!) {
    done: updateCustomer(input: $input) {
      customer {
        id
        name
      }
    }
  }
`;
const SUBSCRIBE = gql`
  mutation ($input: CreateSubscriptionInput!) {
    done: createSubscription(input: $input) {
      subscription {
        id
      }
      userErrors {
        message
      }
    }
  }
`;
const USE = gql`
  mutation ($input: RecordUsageInput!) {
    done: recordUsage(input: $input) {
      accepted
    }
  }
`;
const PREVIEW = gql`
  query ($subscriptionId: ID!) {
    invoicePreview(subscriptionId: $subscriptionId) {
      id
      lines {
        id
        amount {
          amount
        }
      }
      amountDue {
        amount
        currency
      }
    }
  }
`;
const CUSTOMER = gql`
  query ($id: ID!) {
    node(id: $id) {
      id
      ... on Customer {
        name
      }
    }
  }
`;
const CUSTOMERS = gql`
  query ($after: String) {
    customers(first: 2, after: $after) {
      edges {
        node {
          id
        }
      }
      pageInfo {
        hasNextPage
        endCursor
      }
    }
  }
`;

// What has no id of its own is part of what it stands in.
const EMBEDDED = ["Money", "PricingStep", "PageInfo", "CustomerConnection", "CustomerEdge"];

async function client(fetch) {
  const schema = introspectionFromSchema(await introspect());
  // Where nothing is said of it, this cache takes a type called Subscription for a root type.
  schema.__schema.subscriptionType ??= { name: "None" };
  const keys = Object.fromEntries(EMBEDDED.map((name) => [name, () => null]));
  const resolvers = { Query: { customers: relayPagination() } };
  const exchanges = [
    cacheExchange({ schema, keys, resolvers }),
    persistedExchange({ preferGetForPersistedQueries: true }),
    fetchExchange,
  ];
  return new Client({ url: GRAPHQL, exchanges, fetch, preferGetMethod: false });
}

async function answered(result) {
  const { data, error } = await result;
  assert.equal(error, undefined);
  return data;
}

test("3,000 tokens are 80.00", async () => {
  const urql = await client();
  const mutate = async (mutation, input) => (await answered(urql.mutation(mutation, { input }))).done;
  const { customer, record } = told("urql");
  const items = [];
  for (const lookupKey of [USAGE, LICENCE]) {
    const { prices } = await answered(urql.query(PRICE, { lookupKey }));
    items.push({ priceId: prices.nodes[0].id });
  }
  const joined = await mutate(JOIN, customer);
  const { id } = joined.customer;
  const { subscription, userErrors } = await mutate(SUBSCRIBE, { customerId: id, items });
  assert.deepEqual(userErrors, []);
  assert.equal((await mutate(USE, { records: [record] })).accepted, 1);
  const { invoicePreview: bill } = await answered(
    urql.query(PREVIEW, { subscriptionId: subscription.id }),
  );
  assert.deepEqual(bill.lines.map((line) => line.amount.amount), AMOUNTS);
  const { amount, currency } = bill.amountDue;
  assert.deepEqual({ amount, currency }, DUE);
});

test("a mutation changes what the cache answers", async () => {
  const urql = await client();
  const { customer } = (await answered(urql.mutation(JOIN, { input: told("urql").customer }))).done;
  await answered(urql.query(CUSTOMER, { id: customer.id }));
  const input = { customerId: customer.id, name: "Renamed" };
  await answered(urql.mutation(RENAME, { input }));
  const { node } = urql.readQuery(CUSTOMER, { id: customer.id }).data;
  assert.equal(node.name, "Renamed");
});

test("a refusal is data with its code and path", async () => {
  const urql = await client();
  const { done } = await answered(urql.mutation(JOIN, { input: { name: "" } }));
  const [{ code, path }] = done.userErrors;
  assert.deepEqual({ code, path }, { code: "REQUIRED", path: ["input", "name"] });
});

test("pages join into one list, and their document is sent once", async () => {
  const sent = [];
  const urql = await client(async (url, options) => {
    const parameters = options.body ? JSON.parse(options.body) : new URL(url).searchParams;
    sent.push(Boolean(options.body ? parameters.query : parameters.get("query")));
    return fetch(url, options);
  });
  let after = null;
  let customers;
  do {
    ({ customers } = await answered(urql.query(CUSTOMERS, { after })));
    assert.notEqual(customers.pageInfo.endCursor, after);
    after = customers.pageInfo.endCursor;
  } while (customers.pageInfo.hasNextPage);
  const ids = customers.edges.map((edge) => edge.node.id);
  assert(ids.length > 3);
  assert.equal(new Set(ids).size, ids.length);
  assert(sent.filter(Boolean).length <= 1);
  assert(sent.length > 2);
});
