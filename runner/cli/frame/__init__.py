"""What the commands share: the group that loads them, options, output, times, faults and following a run."""
