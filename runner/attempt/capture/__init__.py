"""The output of runs: captured in the taker's process, collected by the worker, and stored in the ledger.

Everything that goes to the child's standard output and standard error (``print``, C code, subprocesses) and every
record of ``logging`` goes into one pipe, in order. The worker's parent process reads it, so output that
a child wrote before it was killed is not lost.
"""
