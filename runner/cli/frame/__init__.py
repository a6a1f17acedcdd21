"""Code that the commands share: the group that loads them, options, output, times, faults, following a run."""
