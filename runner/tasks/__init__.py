"""Stock tasks: callables to name in ``task:`` of a job."""
