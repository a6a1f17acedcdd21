"""The ledger: the record of every run, in Redis. It is the source of truth; queues only deliver runs to workers."""
