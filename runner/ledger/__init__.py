"""The ledger: the record of every run, in Redis. The truth; queues are only a way to get work to workers."""
