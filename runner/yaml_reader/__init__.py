"""A strict YAML reader that reports every problem with line and column. It imports only the model."""
