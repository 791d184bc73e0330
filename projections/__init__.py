"""What the log says, in tables: disposable views that a replay of the ledger makes anew."""
