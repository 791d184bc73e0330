"""How HTTP reaches the ledger: what stands between the routes and what they serve."""
