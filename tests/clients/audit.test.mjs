// What the GraphQL-over-HTTP specification asks of a server, by its reference audit.
import { test } from "node:test";
import { serverAudits } from "graphql-http";

const audits = serverAudits({ url: () => process.env.TALLYBOOK_URL + "/graphql" });

for (const audit of audits) {
  test(audit.name, async () => {
    const result = await audit.fn();
    if (result.status !== "ok") throw new Error(`${result.status}: ${result.reason}`);
  });
}
