"""The output of runs: caught in the taker's process, collected by the worker, kept in the ledger.

Everything that goes to the child's standard output and standard error (``print``, C code, subprocesses) and every
record of ``logging`` goes into one pipe, in order. The worker's parent process reads it, so what a killed child
wrote before it died is not lost.
"""
