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
  if (isSubscription(operation, options)) return watch(operation, options);
  if (operation.operationName !== "IntrospectionQuery") return post(operation, options);
  // GraphiQL's own question leaves out which inputs take exactly one of their fields.
  const query = getIntrospectionQuery({ oneOf: true, specifiedByUrl: true });
  const answer = await post({ ...operation, query }, options);
  return answer.data ? answer : post(operation, options);
}

function isSubscription({ operationName }, options) {
  const operations = options?.documentAST?.definitions ?? [];
  return operations.some(
    ({ operation, name }) =>
      operation === "subscription" && (!operationName || name?.value === operationName),
  );
}

/** Every answer of a subscription. An event stream, for a websocket could not send the headers. */
function watch(operation, options) {
  return {
    subscribe(observer) {
      const stop = new AbortController();
      follow(operation, options, observer, stop.signal).catch((error) => {
        if (!stop.signal.aborted) observer.error(error);
      });
      return { unsubscribe: () => stop.abort() };
    },
  };
}

async function follow(operation, options, observer, signal) {
  const response = await send(operation, options, "text/event-stream", signal);
  if (!response.headers.get("content-type")?.startsWith("text/event-stream")) {
    observer.next(await read(response));
    observer.complete();
    return;
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let unread = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error("The server ended the stream.");
    const events = (unread + value).split("\n\n");
    unread = events.pop();
    for (const event of events) {
      if (event.startsWith("event: complete")) {
        observer.complete();
        return;
      }
      const [, data] = /^data: (.*)$/m.exec(event) ?? [];
      if (data) observer.next(JSON.parse(data));
    }
  }
}

async function post(operation, options) {
  return read(await send(operation, options, "application/json"));
}

function send(operation, options, accept, signal) {
  return fetch("graphql", {
    method: "POST",
    signal,
    headers: {
      accept,
      "content-type": "application/json",
      ...options?.headers,
    },
    body: JSON.stringify(operation),
  });
}

async function read(response) {
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    return { errors: [{ message: `The server answered ${response.status}: ${text}` }] };
  }
}
