"""The strict reader of YAML: plain values, and every problem with line and column. Knows the model at most."""
