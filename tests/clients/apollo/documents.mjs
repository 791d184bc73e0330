// What the Apollo suite asks; the manifest of trusted documents is made of this file.
import { gql } from "@apollo/client";

export const PRICE = gql`
  query ApolloPrice($lookupKey: String!) {
    prices(lookupKey: $lookupKey) {
      nodes {
        id
      }
    }
  }
`;

export const JOIN = gql`
  mutation ApolloJoin($input: CreateCustomerInput!) {
    createCustomer(input: $input) {
      customer {
        id
        name
      }
      userErrors {
        code
        message
        path
      }
    }
  }
`;

export const RENAME = gql`
  mutation ApolloRename($input: UpdateCustomerInput!) {
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

export const SUBSCRIBE = gql`
  mutation ApolloSubscribe($input: CreateSubscriptionInput!) {
    createSubscription(input: $input) {
      subscription {
        id
        status
        customer {
          id
          name
        }
      }
      userErrors {
        code
        path
      }
    }
  }
`;

export const USE = gql`
  mutation ApolloUse($input: RecordUsageInput!) {
    recordUsage(input: $input) {
      receipts {
        id
        status
      }
    }
  }
`;

export const PREVIEW = gql`
  query ApolloPreview($subscriptionId: ID!) {
    invoicePreview(subscriptionId: $subscriptionId) {
      id
      lines {
        id
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
`;

export const CUSTOMERS = gql`
  query ApolloCustomers($first: Int, $after: String) {
    customers(first: $first, after: $after) {
      edges {
        cursor
        node {
          id
          name
        }
      }
      pageInfo {
        hasNextPage
        hasPreviousPage
        startCursor
        endCursor
      }
    }
  }
`;
