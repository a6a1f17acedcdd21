"""From the files of ``jobs.d`` to jobs and problems: reading, caching, and the live view of a process that goes on."""
