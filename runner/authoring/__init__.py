"""What helps to write jobs: ``init``, ``new``, schemas, advice, and the check of the code that jobs run."""
