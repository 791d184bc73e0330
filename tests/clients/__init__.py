"""The clients of others, each asking a running Tallybook: `make clients`."""
