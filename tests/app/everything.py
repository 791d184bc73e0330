"""All that can be asked about an object, and about what it leads to, in one query."""

EVERYTHING = """
query($id: ID!, $asOf: AsOf) {
  node(id: $id, asOf: $asOf) {
    __typename id
    history(last: 3) { totalCount nodes { position type subjectId hash } }
    ... on Ledger {
      name openedAt position headHash clock { now isTest } forkedFrom { ledgerId position }
    }
    ... on Meter { name active aggregation valueProperty dimensions versions { number } }
    ... on Product { name about: description unitLabel active }
    ... on Price { ...price }
    ... on Customer {
      name email externalId timeZone archivedAt
      balances { amount currency }
      subscriptions { totalCount pageInfo { startCursor endCursor } nodes { ...subscription } }
      invoices { totalCount pageInfo { startCursor endCursor } nodes { ...invoice } }
    }
    ... on Subscription {
      ...subscription
      customer { name archivedAt balances { amount } }
      invoices { totalCount nodes { ...invoice } }
      upcomingInvoice { ...invoice }
    }
    ... on Invoice {
      ...invoice
      customer { name archivedAt balances { amount } }
      subscription { ...subscription }
    }
    ... on InvoiceItem {
      description amount { amount } with: subscription { status } invoice { ...invoice }
    }
  }
}
fragment price on Price {
  nickname active versions { number effectiveAt pricing } pricing modifiers
  product { name active } meter { name versions { number } }
}
fragment subscription on Subscription {
  stands: status startAt cancelAt canceledAt pausedAt parkedReason trialEnd
  currentPeriod { start end }
  items { id quantity price { ...price } currentPeriod { start end } }
}
fragment invoice on Invoice {
  id number status reason at finalizesAt issuedAt dueAt overdue voidedAt uncollectibleAt
  position contentHash
  subtotal { amount } total { amount } balanceApplied { amount } amountCredited { amount }
  amountPaid { amount } amountDue { amount }
  payments { amount { amount } reference } creditNotes { number total { amount } }
  billedTo { name email }
  lines {
    id kind description quantity amount { amount } exactAmount period { start end }
    adjustsInvoiceId steps { description } price { ...price } priceVersion { number }
    usage(first: 10) {
      totalCount
      nodes { id state value customer { name } corrections { kind position }
        history(first: 3) { totalCount nodes { position type } } }
    }
    explanation {
      sentences
      priceEvent { position hash } event { position type }
      meters { meterId version { number } period { start end } event { position } }
      shares { elapsed total }
      charged { lineId quantity amount { amount } }
      records { totalCount nodes { value text record { id state position row } } }
      check { holds quantity exactAmount amount { amount } sentences }
    }
  }
}
"""
"""The whole of one object, as known at a moment, or now."""
