"""How the world gets in and out: HTTP, GraphQL, the command line, and the ledger on disk."""
