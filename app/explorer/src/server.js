// The two things the page asks this server for. Addresses are relative to the page at /graphiql.
import { getIntrospectionQuery } from "graphql";

/** The ledger served and the tabs prepared for it; a page without tabs if there are none. */
export async function preparedTabs() {
  try {
    const response = await fetch("graphiql/tabs.json", { headers: { accept: "application/json" } });
    return response.ok ? await response.json() : { ledger: "unknown", tabs: [] };
  } catch {
    return { ledger: "unknown", tabs: [] };
  }
}

/** Sends one operation to /graphql with the headers typed by the reader. */
export async function ask(operation, options) {
  if (operation.operationName !== "IntrospectionQuery") return post(operation, options);
  // GraphiQL's own question leaves out which inputs take exactly one of their fields.
  const query = getIntrospectionQuery({ oneOf: true, specifiedByUrl: true });
  const answer = await post({ ...operation, query }, options);
  return answer.data ? answer : post(operation, options);
}

async function post(operation, options) {
  const response = await fetch("graphql", {
    method: "POST",
    headers: {
      accept: "application/json",
      "content-type": "application/json",
      ...options?.headers,
    },
    body: JSON.stringify(operation),
  });
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    return { errors: [{ message: `The server answered ${response.status}: ${text}` }] };
  }
}
