// Live updates as event streams, by the reference client of graphql-sse.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient } from "graphql-sse";

const URL = process.env.TALLYBOOK_URL + "/graphql";
const WATCH = `subscription($after: BigInt, $types: [String!]) {
  ledgerEventAdded(after: $after, types: $types) { position type } }`;
const CREATE = `mutation($name: String!) {
  createCustomer(input: { name: $name }) { position userErrors { code } } }`;

const client = createClient({ url: URL, retryAttempts: 0 });

const all = async (operation) => {
  const answers = [];
  for await (const answer of client.iterate(operation)) answers.push(answer);
  return answers;
};

test("a query and a mutation have one answer and an end", async () => {
  const [{ data }, ...more] = await all({ query: "{ ledger { name } }" });
  assert.equal(data.ledger.name, "main");
  assert.deepEqual(more, []);
  const [made] = await all({ query: CREATE, variables: { name: "By event stream" } });
  assert.deepEqual(made.data.createCustomer.userErrors, []);
});

test("every fact comes once, however often the stream is cut", async () => {
  const [made] = await all({ query: CREATE, variables: { name: "The last" } });
  const end = Number(made.data.createCustomer.position);
  const seen = [];
  while (seen.length < end) {
    const before = seen.length;
    const variables = { after: String(seen.at(-1) ?? 0) };
    for await (const { data } of client.iterate({ query: WATCH, variables })) {
      seen.push(Number(data.ledgerEventAdded.position));
      if (seen.length === end || seen.length === before + 5) break;
    }
  }
  assert.deepEqual(seen, Array.from({ length: end }, (_, index) => index + 1));
});

test("what is written while somebody watches is told at once", async () => {
  const [{ data }] = await all({ query: "{ ledger { position } }" });
  const variables = { after: data.ledger.position, types: ["customer.created"] };
  const watching = client.iterate({ query: WATCH, variables });
  const coming = watching.next();
  const [made] = await all({ query: CREATE, variables: { name: "Watched" } });
  const { value } = await coming;
  assert.equal(value.data.ledgerEventAdded.position, made.data.createCustomer.position);
  await watching.return();
});

test("what cannot be carried out is one answer with errors", async () => {
  const [{ errors }] = await all({ query: WATCH, variables: { types: ["no.such"] } });
  assert.equal(errors[0].extensions.code, "BAD_USER_INPUT");
});
