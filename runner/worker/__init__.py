"""The parent process of a worker: it performs no runs, but renews leases, enforces limits, and stops the worker."""
