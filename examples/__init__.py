"""Python code of the example jobs in ``jobs.d``: plain functions, which need no runner to be called."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
