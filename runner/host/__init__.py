"""What the host gives: files and their owners, users, processes. Knows nothing of jobs or Redis."""
