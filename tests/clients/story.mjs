// The guide's story, as far as every suite tells it: a customer takes the demo's two prices and uses
// 3,000 tokens, of which 1,000 are included and each one beyond costs 0.04 USD.
import { randomUUID } from "node:crypto";

export const USAGE = "alpaca-usage";
export const LICENCE = "alpaca-licence";
export const AMOUNTS = ["80.00", "100.00"];
export const DUE = { amount: "180.00", currency: "USD" };

export const GRAPHQL = process.env.TALLYBOOK_URL + "/graphql";
// The same demo on a server that carries out the documents of the suites' manifests only.
export const TRUSTING = process.env.TALLYBOOK_TRUSTING_URL + "/graphql";

// What one suite calls its customer and its usage record; another run is another story.
export function told(suite) {
  const id = `${suite}-${randomUUID()}`;
  return {
    customer: { name: `Told by ${suite}`, externalId: id },
    record: { id, eventName: "alpaca_ai_tokens", customer: id, value: "3000" },
  };
}
