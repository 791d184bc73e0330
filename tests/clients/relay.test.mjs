// Relay: what its compiler makes of the schema, run by its runtime. The server knows the documents
// from the file that the compiler wrote, and nothing else.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { before, test } from "node:test";
import relay from "relay-runtime";
import { AMOUNTS, DUE, LICENCE, TRUSTING, USAGE, told } from "./story.mjs";

const { Environment, Network, RecordSource, Store } = relay;
const require = createRequire(import.meta.url);
const artifact = (name) => require(`./relay/__generated__/story${name}.graphql.js`);

async function ask({ id, text }, variables) {
  assert.equal(text, null, "the compiler keeps the text to its file");
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify({ documentId: `sha256:${id}`, variables });
  return (await fetch(TRUSTING, { method: "POST", headers, body })).json();
}

let environment;
before(() => {
  environment = new Environment({
    network: Network.create(ask),
    store: new Store(new RecordSource()),
  });
});

const fetched = (name, variables) =>
  relay.fetchQuery(environment, artifact(name), variables).toPromise();

const done = (name, input) =>
  new Promise((onCompleted, onError) => {
    const mutation = artifact(name);
    relay.commitMutation(environment, { mutation, variables: { input }, onCompleted, onError });
  });

// What a component would be given that reads this fragment.
function read(name, reference) {
  return environment.lookup(relay.getSelector(artifact(`_${name}`), reference)).data;
}

test("3,000 tokens are 80.00", async () => {
  const story = told("relay");
  const items = [];
  for (const lookupKey of [USAGE, LICENCE]) {
    const [price] = (await fetched("PriceQuery", { lookupKey })).prices.nodes;
    items.push({ priceId: price.id });
  }
  const { customer } = (await done("CustomerMutation", story.customer)).createCustomer;
  const { subscription } = (
    await done("SubscribeMutation", { customerId: customer.id, items })
  ).createSubscription;
  assert.equal(subscription.status, "ACTIVE");
  const { receipts } = (await done("UsageMutation", { records: [story.record] })).recordUsage;
  assert.deepEqual(receipts, [{ id: story.record.id, status: "ACCEPTED" }]);
  const asked = await fetched("InvoiceQuery", { subscriptionId: subscription.id });
  const invoice = read("invoice", asked.invoicePreview);
  assert.deepEqual(invoice.lines.map((line) => line.amount.amount), AMOUNTS);
  assert.deepEqual(invoice.amountDue, DUE);
});

test("a refusal is data with its code", async () => {
  const input = { customerId: "cus_none", items: [{ priceId: "price_none" }] };
  const { subscription, userErrors } = (await done("SubscribeMutation", input)).createSubscription;
  assert.equal(subscription, null);
  assert.equal(userErrors[0].code, "NOT_FOUND");
});

test("a mutation changes the record that every query reads", async () => {
  const { customer } = (await done("CustomerMutation", told("relay").customer)).createCustomer;
  await done("RenameMutation", { customerId: customer.id, name: "Renamed" });
  assert.equal(environment.getStore().getSource().get(customer.id).name, "Renamed");
});

async function pages(query, fragment, variables, page, connection) {
  const asked = await fetched(query, variables);
  const selector = relay.getSingularSelector(artifact(`_${fragment}`), page.reference(asked));
  const seen = () => environment.lookup(selector).data[connection];
  const retained = environment.retain(
    relay.createOperationDescriptor(artifact(query), variables),
  );
  const lengths = [seen().edges.length];
  while (seen().pageInfo.hasNextPage) {
    const cursor = seen().pageInfo.endCursor;
    await fetched(page.query, { ...page.variables, cursor });
    assert.notEqual(seen().pageInfo.endCursor, cursor);
    lengths.push(seen().edges.length);
  }
  retained.dispose();
  return { lengths, edges: seen().edges };
}

test("pages join into one connection", async () => {
  const page = {
    query: "CustomersPageQuery",
    variables: { count: 2 },
    reference: (asked) => asked,
  };
  const { lengths, edges } = await pages("CustomersQuery", "customers", {}, page, "customers");
  assert.deepEqual(lengths.slice(0, 2), [2, 4]);
  const ids = edges.map((edge) => edge.node.id);
  assert.equal(new Set(ids).size, ids.length);
  assert(edges.some((edge) => edge.node.name === "Alpaca Lover Inc."));
});

test("an object is refetched by its node, a page at a time", async () => {
  const { customer } = (await done("CustomerMutation", told("relay").customer)).createCustomer;
  await done("RenameMutation", { customerId: customer.id, name: "Renamed" });
  const page = {
    query: "HistoryPageQuery",
    variables: { count: 1, id: customer.id },
    reference: (asked) => asked.node.story_history,
  };
  const variables = { id: customer.id };
  const { lengths, edges } = await pages("HistoryQuery", "history", variables, page, "history");
  assert.deepEqual(lengths, [1, 2]);
  assert.deepEqual(
    edges.map((edge) => edge.node.type),
    ["customer.created", "customer.updated"],
  );
});
