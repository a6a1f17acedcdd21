"""Python code of the example jobs in ``jobs.d``: plain functions, which you can also call without the runner."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
