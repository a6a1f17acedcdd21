"""The part of a worker that performs runs: one attempt, from its start to its settled outcome."""
