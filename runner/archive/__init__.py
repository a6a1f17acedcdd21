"""Finished runs in a SQL database, which keeps them after the ledger has dropped them."""
