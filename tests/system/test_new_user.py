"""The path of a new user, from an empty folder: init, new, validate, run, edit, see the change.

``python -m pytest -s tests/system/test_new_user.py`` prints how long each command takes.
"""

from __future__ import annotations

import time
from pathlib import Path

from tests.support.deadline import wait_until
from tests.support.project import Result, runner_cli

FUNCTION = '''\
def total(prices: list[float], currency: str = "EUR") -> str:
    """Add prices up.

    Args:
        prices: What was sold, in whole units and parts.
        currency: A three-letter code.
    """
    return f"{sum(prices):.2f} {currency}"
'''


class Clock:
    """Runs commands, and keeps how long each took."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[tuple[str, float]] = []

    def run(self, *words: str, code: int = 0) -> Result:
        start = time.monotonic()
        done = runner_cli(*words, cwd=self.folder, timeout=120)
        self.rows.append((f"runner {' '.join(words)}", time.monotonic() - start))
        return done.check(code)


def test_the_path_of_a_new_user(tmp_path: Path) -> None:
    clock = Clock(tmp_path)
    try:
        message = clock.run("init").stderr
        assert "now: runner up -d && runner submit hello --wait" in message
        (tmp_path / "sales.py").write_text(FUNCTION, "utf-8")
        made = clock.run("new", "daily-total", "sales:total")
        assert "now: runner run daily-total -p prices=VALUE" in made.stderr
        assert clock.run("validate", "--imports").stdout == ""
        assert clock.run("run", "daily-total", "-p", "prices=[1, 2.5]").json == "3.50 EUR"

        # A mistake is shown before it costs a run.
        job = tmp_path / "jobs.d" / "daily-total.yaml"
        text = job.read_text("utf-8")
        job.write_text(text.replace("default: EUR", "defualt: USD"), "utf-8")
        assert "did you mean default?" in clock.run("validate", code=2).stdout

        job.write_text(text, "utf-8")
        clock.run("up", "-d")
        submit = ("submit", "daily-total", "-p", "prices=[1, 2.5]", "--wait", "--json")
        assert clock.run(*submit).json["result"] == "3.50 EUR"

        # Edited, and the worker that runs has it.
        job.write_text(text.replace("default: EUR", "default: USD"), "utf-8")
        assert clock.run("validate", "--imports").stdout == ""
        wait_until(lambda: clock.run(*submit).json["result"] == "3.50 USD", 20.0, "the change is live")
    finally:
        runner_cli("down", cwd=tmp_path)
        for command, seconds in clock.rows:
            print(f"{seconds:6.2f} s  {command}")
        print(f"{sum(seconds for _, seconds in clock.rows):6.2f} s  all commands")


def test_a_hint_can_be_pasted_anywhere(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    runner_cli("init", folder, cwd=tmp_path).check()
    done = runner_cli("submit", "helo", "--project", folder, cwd=tmp_path).check(2)
    assert done.stderr.endswith("hint: Did you mean hello?\n")
    done = runner_cli("submit", "zzz", "--project", folder, cwd=tmp_path).check(2)
    assert f"hint: runner --project '{folder}' jobs lists all jobs." in done.stderr
    (folder / "jobs.d" / "broken.yaml").write_text("jobs:\n  zzz: {task: 3}\n", "utf-8")
    done = runner_cli("submit", "zzz", "--project", folder, "--json", cwd=tmp_path).check(2)
    assert done.json["error"]["hint"] == f"runner --project '{folder}' validate lists them."
