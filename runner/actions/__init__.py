"""Use cases, one a file: what the command line and the Python API call. They return objects and print nothing."""
