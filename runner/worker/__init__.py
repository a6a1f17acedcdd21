"""The parent of a worker: it performs no run, but keeps leases, enforces limits, and stops in order."""
