// The story with types that GraphQL Code Generator made of the schema.
import { graphql } from "./__generated__/gql.js";
import type {
  CreateSubscriptionInput,
  RecordUsageInput,
  TypedDocumentString,
} from "./__generated__/graphql.js";

export type Ask = <Data, Variables>(
  document: TypedDocumentString<Data, Variables>,
  variables: Variables,
) => Promise<Data>;

const Price = graphql(`
  query TypedPrice($lookupKey: String!) {
    prices(lookupKey: $lookupKey) {
      nodes {
        id
      }
    }
  }
`);

const Join = graphql(`
  mutation TypedJoin($input: CreateCustomerInput!) {
    createCustomer(input: $input) {
      customer {
        id
      }
      userErrors {
        code
      }
    }
  }
`);

const Subscribe = graphql(`
  mutation TypedSubscribe($input: CreateSubscriptionInput!) {
    createSubscription(input: $input) {
      subscription {
        id
        status
      }
    }
  }
`);

const Use = graphql(`
  mutation TypedUse($input: RecordUsageInput!) {
    recordUsage(input: $input) {
      receipts {
        status
      }
      position
    }
  }
`);

const Preview = graphql(`
  query TypedPreview($subscriptionId: ID!) {
    invoicePreview(subscriptionId: $subscriptionId) {
      status
      lines {
        amount {
          amount
        }
      }
      amountDue {
        amount
        currency
      }
    }
  }
`);

const Quote = graphql(`
  query TypedQuote($pricing: PricingInput!, $quantity: Decimal!) {
    priceQuote(pricing: $pricing, currency: "USD", quantity: $quantity) {
      exactAmount
    }
  }
`);

export async function story(
  ask: Ask,
  lookupKeys: string[],
  customer: { name: string; externalId: string },
  record: RecordUsageInput["records"][number],
) {
  const items: CreateSubscriptionInput["items"] = [];
  for (const lookupKey of lookupKeys) {
    const [price] = (await ask(Price, { lookupKey })).prices.nodes;
    items.push({ priceId: price!.id });
  }
  const joined = (await ask(Join, { input: customer })).createCustomer;
  const customerId = joined.customer!.id;
  const subscribed = await ask(Subscribe, { input: { customerId, items } });
  const subscriptionId = subscribed.createSubscription.subscription!.id;
  const used = (await ask(Use, { input: { records: [record] } })).recordUsage;
  const { invoicePreview: bill } = await ask(Preview, { subscriptionId });
  return {
    statuses: used.receipts.map((receipt) => receipt.status),
    amounts: bill!.lines.map((line): string => line.amount.amount),
    due: bill!.amountDue,
  };
}

export async function quote(ask: Ask, quantity: string) {
  const tiers = [{ upTo: "1000", unitAmount: "0" }, { unitAmount: "0.04" }];
  const quoted = await ask(Quote, { pricing: { graduated: { tiers } }, quantity });
  return quoted.priceQuote.exactAmount;
}

// What must not compile. A line that does, is an error of the compiler.
export async function mistakes(ask: Ask) {
  const { invoicePreview: bill } = await ask(Preview, { subscriptionId: "sub_none" });
  // @ts-expect-error there may be no such subscription
  bill.lines;
  // @ts-expect-error an amount is a decimal text, never a number
  const amount: number = bill!.amountDue.amount;
  // @ts-expect-error this is no state of an invoice
  const settled: boolean = bill!.status === "SETTLED";
  // @ts-expect-error exactly one model of a price
  await ask(Quote, { pricing: { perUnit: { unitAmount: "1" }, volume: { tiers: [] } }, quantity: "1" });
  // @ts-expect-error a record needs an id
  const records: RecordUsageInput = { records: [{ eventName: "tokens", customer: "cus_none" }] };
  return [amount, settled, records];
}
