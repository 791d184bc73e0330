// Apollo Client: its cache by __typename and id, its pages, refusals as data, and documents that are
// named: registered as they come, or from the manifest that Apollo's own tool wrote.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache } from "@apollo/client";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries";
import { relayStylePagination } from "@apollo/client/utilities";
import { generatePersistedQueryIdsFromManifest } from "@apollo/persisted-query-lists";
import { CUSTOMERS, JOIN, PREVIEW, PRICE, RENAME, SUBSCRIBE, USE } from "./apollo/documents.mjs";
import { AMOUNTS, DUE, GRAPHQL, LICENCE, TRUSTING, USAGE, told } from "./story.mjs";

const cache = () =>
  new InMemoryCache({ typePolicies: { Query: { fields: { customers: relayStylePagination() } } } });

const over = (...links) => new ApolloClient({ cache: cache(), link: ApolloLink.from(links) });

const digest = (text) => createHash("sha256").update(text).digest("hex");

async function story(client) {
  const { customer, record } = told("apollo");
  const items = [];
  for (const lookupKey of [USAGE, LICENCE]) {
    const { data } = await client.query({ query: PRICE, variables: { lookupKey } });
    items.push({ priceId: data.prices.nodes[0].id });
  }
  const mutate = async (mutation, input) =>
    Object.values((await client.mutate({ mutation, variables: { input } })).data)[0];
  const joined = await mutate(JOIN, customer);
  const customerId = joined.customer.id;
  const { subscription } = await mutate(SUBSCRIBE, { customerId, items });
  const { receipts } = await mutate(USE, { records: [record] });
  const variables = { subscriptionId: subscription.id };
  const { data } = await client.query({ query: PREVIEW, variables });
  return { customerId, mutate, receipts, bill: data.invoicePreview };
}

function assertBilled({ receipts, bill }) {
  assert.deepEqual(receipts.map((receipt) => receipt.status), ["ACCEPTED"]);
  assert.deepEqual(bill.lines.map((line) => line.amount.amount), AMOUNTS);
  const { amount, currency } = bill.amountDue;
  assert.deepEqual({ amount, currency }, DUE);
}

test("3,000 tokens are 80.00, and objects are one in the cache", async () => {
  const client = over(new HttpLink({ uri: GRAPHQL }));
  const told = await story(client);
  assertBilled(told);
  const key = client.cache.identify({ __typename: "Customer", id: told.customerId });
  assert.equal(key, `Customer:${told.customerId}`);
  await told.mutate(RENAME, { customerId: told.customerId, name: "Renamed" });
  const objects = client.cache.extract();
  assert.equal(objects[key].name, "Renamed");
  const owners = Object.values(objects).filter((one) => one.__typename === "Subscription");
  assert.deepEqual(owners.map((one) => one.customer), [{ __ref: key }]);
});

test("pages join into one list", async () => {
  const client = over(new HttpLink({ uri: GRAPHQL }));
  const asked = { query: CUSTOMERS, variables: { first: 2 } };
  const watched = client.watchQuery(asked);
  const listening = watched.subscribe(() => {});
  await watched.refetch();
  const seen = () => client.readQuery(asked).customers;
  const lengths = [seen().edges.length];
  let more = seen().pageInfo;
  while (more.hasNextPage) {
    await watched.fetchMore({ variables: { after: more.endCursor } });
    assert.notEqual(seen().pageInfo.endCursor, more.endCursor);
    more = seen().pageInfo;
    lengths.push(seen().edges.length);
  }
  listening.unsubscribe();
  assert.deepEqual(lengths.slice(0, 2), [2, 4]);
  const ids = seen().edges.map((edge) => edge.node.id);
  assert.equal(new Set(ids).size, ids.length);
});

test("a refusal is data with its code and path", async () => {
  const client = over(new HttpLink({ uri: GRAPHQL }));
  const { data } = await client.mutate({ mutation: JOIN, variables: { input: { name: "" } } });
  assert.equal(data.createCustomer.customer, null);
  const [{ code, path }] = data.createCustomer.userErrors;
  assert.deepEqual({ code, path }, { code: "REQUIRED", path: ["input", "name"] });
});

// Notes what goes over the wire.
function noting(notes) {
  return async (uri, options) => {
    const answer = await fetch(uri, options);
    const query = options.body ? JSON.parse(options.body).query : new URL(uri).searchParams.get("query");
    notes.push([options.method, query == null ? "named" : "sent", answer.status]);
    return answer;
  };
}

for (const method of ["GET", "POST"]) {
  test(`a document is registered by its digest, by ${method}`, async () => {
    const notes = [];
    const link = new PersistedQueryLink({
      sha256: digest,
      useGETForHashedQueries: method === "GET",
    });
    const client = over(link, new HttpLink({ uri: GRAPHQL, fetch: noting(notes) }));
    // Another document at each run, which nobody has registered yet.
    const query = structuredClone(CUSTOMERS);
    query.definitions[0].name.value = `Named${Date.now()}${method}`;
    const ask = () =>
      client.query({ query, variables: { first: 1 }, fetchPolicy: "network-only" });
    const first = (await ask()).data.customers.edges[0].node.id;
    assert.match(first, /^cus_/);
    assert.equal((await ask()).data.customers.edges[0].node.id, first);
    assert.deepEqual(notes.map(([, what]) => what), ["named", "sent", "named"]);
    assert.equal(notes[0][0], method);
    assert.equal(notes[2][0], method);
  });
}

test("a server that trusts the manifest only tells the whole story", async () => {
  const manifest = JSON.parse(await readFile("__generated__/manifests/apollo.json", "utf8"));
  const notes = [];
  const ids = generatePersistedQueryIdsFromManifest({ loadManifest: async () => manifest });
  const link = new PersistedQueryLink(ids);
  const client = over(link, new HttpLink({ uri: TRUSTING, fetch: noting(notes) }));
  assertBilled(await story(client));
  assert(notes.every(([, what, status]) => what === "named" && status === 200));
});

test("a server that trusts the manifest only refuses everything else", async () => {
  const client = over(new PersistedQueryLink({ sha256: digest }), new HttpLink({ uri: TRUSTING }));
  const query = structuredClone(CUSTOMERS);
  query.definitions[0].name.value = "Unknown";
  await assert.rejects(client.query({ query }), (error) => {
    const said = error.bodyText ? JSON.parse(error.bodyText).errors : error.errors;
    assert.equal(said[0].extensions.code, "DOCUMENT_NOT_TRUSTED");
    return true;
  });
});
