"""The jobs that the tests of the command line share."""

from __future__ import annotations

JOBS = """\
jobs:
  hello:
    task: clijobs:hello
    description: Greets
    tags: [greeting]
    params:
      name: {type: string, default: world}
      count: {type: integer}
      words: {type: array}
  fails: {task: "clijobs:fails"}
  sleeps: {task: "clijobs:sleeps", timeout: 5m}
  disabled: {task: "clijobs:hello", enabled: false}
  retries: {task: "clijobs:fails", retry: {max_retries: 1, delay: 1h, max_delay: 1h, backoff: constant, jitter: false}}
  unserved: {task: "clijobs:hello", queue: unserved}
  speaks: {task: "clijobs:speaks"}
  speaks-and-fails: {task: "clijobs:speaks_and_fails"}
"""

MODULE = """\
import sys, time


def hello(name="world", count=1, words=()):
    return {"greeting": " ".join([f"Hello, {name}!"] * count), "words": list(words)}


def fails(name="x"):
    raise ValueError("the coffee is out")


def sleeps():
    print("asleep")
    time.sleep(300)


def speaks():
    print("to stdout")
    print("to stderr", file=sys.stderr)
    return "spoken"


def speaks_and_fails():
    print("last words")
    raise ValueError("the coffee is out")
"""

FILES = {"clijobs.py": MODULE}
