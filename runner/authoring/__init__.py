"""Help for writing jobs: ``init``, ``new``, schemas, advice, and the check of the code that jobs run."""
