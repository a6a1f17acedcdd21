"""``runner explain``, as a person and a program see it."""

from __future__ import annotations

import json

from click.testing import CliRunner

from runner.cli.main import root
from runner.model.option import known_options
from runner.model.retry import RetryPolicy

BACKOFF = """\
  Type:     one of constant, linear, exponential
  Default:  exponential

  Example:
    jobs:
      nightly-report:
        retry:
          backoff: constant
"""


def explain(*arguments: str) -> str:
    done = CliRunner().invoke(root, ["explain", *arguments], prog_name="runner", env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    return done.output


def test_an_option_has_its_type_default_help_and_an_example() -> None:
    path, _, rest = explain("jobs.retry.backoff").partition("\n")
    help, _, facts = rest.partition("\n\n")
    assert path == "jobs.retry.backoff"
    assert " ".join(help.split()) == known_options(RetryPolicy)["backoff"].help
    assert facts == BACKOFF


def test_a_section_lists_its_options_within_80_columns() -> None:
    shown = explain("runner.worker").splitlines()
    assert "    concurrency: 4" in [line.removeprefix("  ") for line in shown]
    listed = shown[shown.index("  Options:") + 1 :]
    assert [line.split()[0] for line in listed if line.startswith("    ") and line[4] != " "] == [
        "concurrency",
        "queues",
        "lease",
        "shutdown_grace",
        "remote_control",
        "archive",
        "recycle",
    ]
    assert max(map(len, shown)) <= 80
    assert "  Variable:  RUNNER_WORKER_LEASE" in explain("runner.worker.lease").splitlines()
    assert "    # or: {every: 15m}" in explain("schedule").splitlines()


def test_json_has_the_bounds_as_they_are_written_in_yaml() -> None:
    found = json.loads(explain("jobs.memory", "--json"))
    assert (found["path"], found["minimum"], found["maximum"]) == ("jobs.memory", "32MiB", "1024GiB")
    assert [found["path"] for found in json.loads(explain("--json"))] == ["jobs", "runner"]
    assert json.loads(explain("jobs.retry.backoff", "--json"))["values"] == ["constant", "linear", "exponential"]
