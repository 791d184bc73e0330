"""Random histories of a ledger, each told as a story, and the identities that every one keeps."""
