"""The side of a worker that performs runs: one attempt, from its start to the settled outcome."""
