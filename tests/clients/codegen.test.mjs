// GraphQL Code Generator: a typed program that was compiled against the schema, asking by the names of
// its documents a server that knows them from the generated manifest, and nothing else.
import assert from "node:assert/strict";
import { test } from "node:test";
import { quote, story } from "./codegen/__generated__/js/story.js";
import { AMOUNTS, DUE, LICENCE, TRUSTING, USAGE, told } from "./story.mjs";

async function ask(document, variables) {
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify({ documentId: document.__meta__.hash, variables });
  const { data, errors } = await (await fetch(TRUSTING, { method: "POST", headers, body })).json();
  if (errors) throw new Error(JSON.stringify(errors));
  return data;
}

test("3,000 tokens are 80.00", async () => {
  const { customer, record } = told("codegen");
  const { statuses, amounts, due } = await story(ask, [USAGE, LICENCE], customer, record);
  assert.deepEqual(statuses, ["ACCEPTED"]);
  assert.deepEqual(amounts, AMOUNTS);
  assert.deepEqual(due, DUE);
  assert.equal(await quote(ask, "3000"), "80");
});
