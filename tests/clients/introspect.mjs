// Writes the schema as a running server describes it, with everything that a tool may ask for.
import { mkdir, writeFile } from "node:fs/promises";
import { buildClientSchema, getIntrospectionQuery, printSchema } from "graphql";

export const EVERYTHING = {
  descriptions: true,
  specifiedByUrl: true,
  directiveIsRepeatable: true,
  schemaDescription: true,
  inputValueDeprecation: true,
  oneOf: true,
};

export async function introspect(options = EVERYTHING) {
  const answer = await fetch(process.env.TALLYBOOK_URL + "/graphql", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ query: getIntrospectionQuery(options) }),
  });
  const { data, errors } = await answer.json();
  if (errors) throw new Error(JSON.stringify(errors));
  return buildClientSchema(data);
}

// The printer leaves the root types out where it thinks that their names say enough. Here a type is
// called Subscription that is none.
function printed(schema) {
  const text = printSchema(schema);
  const roots = { query: schema.getQueryType(), mutation: schema.getMutationType() };
  const lines = Object.entries(roots).map(([operation, type]) => `  ${operation}: ${type}\n`);
  return /^schema /m.test(text) ? text : `schema {\n${lines.join("")}}\n\n${text}\n`;
}

if (import.meta.url === `file://${process.argv[1]}`) {
  for (const folder of ["__generated__/manifests", "relay/__generated__"]) {
    await mkdir(folder, { recursive: true });
  }
  const schema = await introspect();
  await writeFile("__generated__/schema.graphql", printed(schema));
  // Relay's compiler refetches by a `node` that has no other argument than the id, not even one that
  // may be left out.
  const { node } = schema.getQueryType().getFields();
  node.args = node.args.filter(({ name }) => name === "id");
  await writeFile("__generated__/relay.graphql", printed(schema));
  // Relay's compiler adds to a file that must be there.
  await writeFile("__generated__/manifests/relay.json", "{}");
}
