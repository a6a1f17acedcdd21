"""Finished runs in a SQL database, where they stay when the ledger no longer keeps them."""
