// What the Relay suite asks. The compiler reads this file; what it makes of it is what is run.
const { graphql } = require("relay-runtime");

graphql`
  query storyPriceQuery($lookupKey: String!) {
    prices(lookupKey: $lookupKey) {
      nodes {
        id
        product {
          name
        }
      }
    }
  }
`;

graphql`
  mutation storyCustomerMutation($input: CreateCustomerInput!) {
    createCustomer(input: $input) {
      customer {
        id
        name
      }
      userErrors {
        code
        path
      }
    }
  }
`;

graphql`
  mutation storyRenameMutation($input: UpdateCustomerInput!) {
    updateCustomer(input: $input) {
      customer {
        id
        name
      }
      userErrors {
        code
      }
    }
  }
`;

graphql`
  mutation storySubscribeMutation($input: CreateSubscriptionInput!) {
    createSubscription(input: $input) {
      subscription {
        id
        status
      }
      userErrors {
        code
        path
      }
    }
  }
`;

graphql`
  mutation storyUsageMutation($input: RecordUsageInput!) {
    recordUsage(input: $input) {
      receipts {
        id
        status
      }
    }
  }
`;

graphql`
  query storyInvoiceQuery($subscriptionId: ID!) {
    invoicePreview(subscriptionId: $subscriptionId) {
      ...story_invoice
    }
  }
`;

graphql`
  fragment story_invoice on Invoice {
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
`;

graphql`
  query storyCustomersQuery {
    ...story_customers
  }
`;

graphql`
  fragment story_customers on Query
  @refetchable(queryName: "storyCustomersPageQuery")
  @argumentDefinitions(count: { type: "Int", defaultValue: 2 }, cursor: { type: "String" }) {
    customers(first: $count, after: $cursor) @connection(key: "story_customers") {
      edges {
        node {
          id
          name
        }
      }
    }
  }
`;

graphql`
  query storyHistoryQuery($id: ID!) {
    node(id: $id) {
      __typename
      ...story_history @alias
    }
  }
`;

graphql`
  fragment story_history on Customer
  @refetchable(queryName: "storyHistoryPageQuery")
  @argumentDefinitions(count: { type: "Int", defaultValue: 1 }, cursor: { type: "String" }) {
    name
    history(first: $count, after: $cursor) @connection(key: "story_history") {
      edges {
        node {
          type
        }
      }
    }
  }
`;
