// Live updates over a websocket, by the reference client of graphql-transport-ws.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient } from "graphql-ws";
import WebSocket from "ws";

const HTTP = process.env.TALLYBOOK_URL + "/graphql";
const WS = HTTP.replace("http", "ws");
const WATCH = `subscription($after: BigInt, $types: [String!]) {
  ledgerEventAdded(after: $after, types: $types) { position type } }`;
const CREATE = `mutation($name: String!) {
  createCustomer(input: { name: $name }) { position userErrors { code } } }`;

const connect = (options) => createClient({ url: WS, webSocketImpl: WebSocket, ...options });

const one = async (client, operation) => {
  for await (const answer of client.iterate(operation)) return answer;
};

test("a query and a mutation are answered", async () => {
  const client = connect();
  const { data } = await one(client, { query: "{ ledger { name } }" });
  assert.equal(data.ledger.name, "main");
  const made = await one(client, { query: CREATE, variables: { name: "By websocket" } });
  assert.deepEqual(made.data.createCustomer.userErrors, []);
  await client.dispose();
});

test("every fact comes once, however often the socket is cut", async () => {
  let socket;
  // By itself it would ask again with the position that it began with.
  const client = connect({ retryAttempts: 0, on: { connected: (opened) => (socket = opened) } });
  const made = await one(client, { query: CREATE, variables: { name: "The last" } });
  const end = Number(made.data.createCustomer.position);
  const seen = [];
  while (seen.length < end) {
    const variables = { after: String(seen.at(-1) ?? 0) };
    const before = seen.length;
    try {
      for await (const { data } of client.iterate({ query: WATCH, variables })) {
        seen.push(Number(data.ledgerEventAdded.position));
        if (seen.length === end) break;
        if (seen.length === before + 5) socket.terminate();
        if (seen.length > before + 5) break; // it was on its way already
      }
    } catch {
      // cut, as it should be: it goes on from the last position
    }
  }
  assert.deepEqual(seen, Array.from({ length: end }, (_, index) => index + 1));
  await client.dispose();
});

test("what is written while somebody watches is told at once", async () => {
  const client = connect();
  const watching = client.iterate({ query: WATCH, variables: { types: ["customer.created"] } });
  const coming = watching.next();
  await one(client, { query: "{ ledger { position } }" });
  const made = await one(client, { query: CREATE, variables: { name: "Watched" } });
  const { value } = await coming;
  assert.equal(value.data.ledgerEventAdded.position, made.data.createCustomer.position);
  await watching.return();
  await client.dispose();
});

test("what cannot be carried out is an error of its operation alone", async () => {
  const client = connect();
  const wrong = { query: WATCH, variables: { types: ["no.such"] } };
  await assert.rejects(one(client, wrong), ([error]) => {
    assert.equal(error.extensions.code, "BAD_USER_INPUT");
    return true;
  });
  assert.ok((await one(client, { query: "{ ledger { name } }" })).data);
  await client.dispose();
});
