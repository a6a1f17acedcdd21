"""Access to the host: files and their owners, users, processes. It knows nothing of jobs or Redis."""
