// Introspection as tools ask for it: within the limits of a request, and the same schema as committed.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { buildSchema, findBreakingChanges, lexicographicSortSchema, printSchema } from "graphql";
import { EVERYTHING, introspect } from "./introspect.mjs";

test("the schema that a server describes is the committed one", async () => {
  const committed = buildSchema(await readFile("../../schema.graphql", "utf8"));
  const described = await introspect();
  assert.deepEqual(findBreakingChanges(committed, described), []);
  assert.equal(
    printSchema(lexicographicSortSchema(described)),
    printSchema(lexicographicSortSchema(committed)),
  );
});

for (const option of Object.keys(EVERYTHING)) {
  test(`introspection without ${option} is answered too`, async () => {
    assert((await introspect({ ...EVERYTHING, [option]: false })).getType("Invoice"));
  });
}
