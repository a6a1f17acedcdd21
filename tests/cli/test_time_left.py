"""How long a run takes yet is told from how far it is, and not guessed where that is not known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runner.cli.terminal.live import LiveRuns, expected_left
from runner.model.run import Run, State

START = 1_700_000_000.0


def run(state: State = State.STARTED, fraction: float | None = 0.25) -> Run:
    progress = None if fraction is None else {"fraction": fraction, "message": None}
    return Run(id="i", job="j", state=state, progress=progress, started_at="2023-11-14T22:13:20.000Z")


@pytest.mark.parametrize(("fraction", "left"), [(0.25, 30.0), (0.5, 10.0), (1.0, 0.0), (0.0, None), (None, None)])
def test_expected(fraction: float | None, left: float | None) -> None:
    assert expected_left(run(fraction=fraction), START + 10) == left


def test_a_run_that_does_not_run_takes_nobody_knows_how_long() -> None:
    assert expected_left(run(State.RETRY), START + 10) is None
    assert expected_left(run(), START - 10) == 0.0  # this host's clock is behind Redis'


def test_a_flow_takes_as_long_as_its_steps_like() -> None:
    assert expected_left(replace(run(), steps=[]), START + 10) is None


def test_it_is_drawn(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    with LiveRuns() as display:
        display.see(run())
        display._progress.refresh()
    assert " left" in capsys.readouterr().err
