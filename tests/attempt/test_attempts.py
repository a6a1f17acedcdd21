"""What one attempt does, in a real worker."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from runner.model.run import State
from tests.support.deadline import wait_until
from tests.support.processes import is_alive
from tests.support.work import Work


def read(notes: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in notes.read_text().splitlines()]


def test_fixed_arguments_and_params_reach_the_target(work: Work) -> None:
    run = work.run("echo", x=5)
    assert run.state is State.SUCCESS
    assert run.result == {"args": [1, "two"], "kwargs": {"fixed": {"a": []}, "x": 5, "y": "why"}}
    assert (run.attempts, run.retries, run.trigger) == (1, 0, "api")


def test_env_holds_for_the_run_only(work: Work) -> None:
    for _ in range(8):
        assert work.run("environment").result == "full"
        assert work.run("no-environment").result is None


def test_an_exception_is_a_failure_with_the_frames_of_the_job_alone(work: Work) -> None:
    run = work.run("value-error")
    assert (run.state, run.reason, run.attempts) == (State.FAILURE, "exception", 1)
    assert run.error is not None
    assert (run.error["type"], run.error["message"]) == ("ValueError", "wrong value")
    assert 'raise ValueError("wrong value")' in run.error["traceback"]
    assert "celery" not in run.error["traceback"]


@pytest.mark.parametrize(
    ("code", "state"), [(0, State.SUCCESS), (None, State.SUCCESS), (3, State.FAILURE), ("sorry", State.FAILURE)]
)
def test_sys_exit_is_an_outcome(work: Work, code: object, state: State) -> None:
    run = work.run("leave", code=code)
    assert run.state is state
    assert run.losses == 0
    if state is State.FAILURE:
        assert run.error is not None
        assert repr(code) in run.error["message"]


def test_a_job_cannot_leave_its_run_without_an_outcome(work: Work) -> None:
    run = work.run("ignore")
    assert (run.state, run.reason) == (State.FAILURE, "exception")


def test_what_is_no_exception_is_an_outcome_as_any_other(work: Work) -> None:
    run = work.run("cancelled")
    assert (run.state, run.reason, run.attempts, run.losses) == (State.FAILURE, "exception", 1, 0)
    assert run.error is not None
    assert run.error["message"] == "the job raised CancelledError, which is not an Exception"
    assert "by itself" in run.error["traceback"]


def test_an_exception_that_cannot_be_pickled_is_told_by_its_own_name(work: Work) -> None:
    run = work.run("own-error")
    assert (run.state, run.reason) == (State.FAILURE, "exception")
    assert run.error is not None
    assert (run.error["type"], run.error["message"]) == ("work.OwnError", "it is wrong")
    assert "own_error" in run.error["traceback"]


def test_an_exception_that_cannot_be_shown_is_an_outcome(work: Work) -> None:
    run = work.run("shy-error")
    assert (run.state, run.reason, run.losses) == (State.FAILURE, "exception", 0)
    assert run.error is not None
    assert run.error["type"] == "ValueError"


def test_a_result_that_is_no_json_is_a_failure_that_says_so(work: Work) -> None:
    run = work.run("unstorable")
    assert (run.state, run.reason) == (State.FAILURE, "exception")
    assert run.error is not None
    assert "cannot be kept as JSON" in run.error["message"]


def test_a_result_over_the_limit_is_a_failure_that_says_so(work: Work) -> None:
    assert work.run("large", size=4000).state is State.SUCCESS
    run = work.run("large", size=5000)
    assert run.state is State.FAILURE
    assert run.error is not None
    assert "limits.result" in run.error["message"]


def test_common_values_are_written_as_json(work: Work) -> None:
    assert work.run("plain-values").result == {
        "day": "2026-11-23",
        "price": "1.10",
        "set": [1, 2, 3],
        "path": "a/b",
    }


def test_progress_and_the_current_run(work: Work) -> None:
    run = work.run("progress")
    assert run.result == run.id
    assert run.progress == {"fraction": 0.5, "message": "half"}


@pytest.mark.parametrize("job", ["attribute", "method"])
def test_both_forms_of_an_import_path(work: Work, job: str) -> None:
    assert work.run(job).result == 42


def test_a_shared_task_works(work: Work) -> None:
    assert work.run("shared").result == 2


def test_a_bound_shared_task_retries_by_our_policy_and_its_states_are_progress(work: Work, notes: Path) -> None:
    run = work.run("bound", notes=str(notes))
    assert (run.state, run.result, run.retries, run.attempts) == (State.SUCCESS, 1, 1, 2)
    assert run.progress == {"fraction": 0.25, "message": "PROGRESS"}
    assert [(note["id"], note["retries"]) for note in read(notes)] == [(run.id, 0), (run.id, 1)]


@pytest.mark.parametrize("job", ["no-module", "no-attribute", "no-callable", "exits-at-import", "no-exception"])
def test_a_job_that_cannot_be_imported_fails_and_the_others_run(work: Work, job: str) -> None:
    run = work.run(job)
    assert (run.state, run.reason, run.attempts) == (State.FAILURE, "import_error", 0)
    assert run.error is not None
    assert run.error["message"]
    assert work.run("shared").state is State.SUCCESS


def test_retry_for_names_what_is_retried(work: Work) -> None:
    assert (work.run("retried-for").retries, work.run("retried-not-for").retries) == (2, 0)


def test_a_timeout_kills_and_fails(work: Work) -> None:
    run = work.run("timeout")
    assert (run.state, run.reason, run.losses) == (State.FAILURE, "timeout", 0)
    assert run.error is not None
    assert run.error["message"] == "the job ran longer than its timeout of 0.5s"
    assert (run.error["type"], run.error["traceback"]) == ("celery.exceptions.TimeLimitExceeded", None)


def test_a_timeout_is_retried_only_if_for_names_it(work: Work, notes: Path) -> None:
    named, unnamed = work.run("timeout-retried", notes=str(notes)), work.run("timeout-not-retried")
    assert (named.reason, named.retries, len(read(notes))) == ("timeout", 1, 2)
    assert (unnamed.reason, unnamed.retries) == ("timeout", 0)


def test_a_timeout_is_not_retried_past_the_expiry(work: Work) -> None:
    run = work.run("timeout-late")
    assert (run.state, run.reason, run.retries) == (State.FAILURE, "timeout", 0)


def test_a_soft_timeout_lets_the_job_clean_up(work: Work, notes: Path) -> None:
    run = work.run("soft-timeout", notes=str(notes))
    assert (run.state, run.reason) == (State.FAILURE, "timeout")
    assert read(notes)[0]["cleaned"]


def test_a_timeout_ends_the_process_group_before_the_run_is_final(work: Work, notes: Path) -> None:
    run = work.run("family-timeout", notes=str(notes))
    assert run.reason == "timeout"
    noted = read(notes)[0]
    assert not any(is_alive(noted[name]) for name in ("pid", "child", "grandchild"))


def test_terminate_ends_the_process_group_before_the_run_is_final(work: Work, notes: Path) -> None:
    handle = work.submit("family", notes=str(notes))
    wait_until(lambda: notes.read_text(), 30.0, "the family lives")
    handle.revoke(terminate=True, comment="enough")
    run = handle.wait(20.0)
    assert (run.state, run.reason, run.losses, run.deaths) == (State.REVOKED, "terminated", 0, [])
    noted = read(notes)[0]
    assert not any(is_alive(noted[name]) for name in ("pid", "child", "grandchild"))


def test_terminate_ends_what_ignores_sigterm(work: Work, notes: Path) -> None:
    handle = work.submit("stubborn", notes=str(notes))
    wait_until(lambda: notes.read_text(), 30.0, "the job runs")
    handle.revoke(terminate=True)
    run = handle.wait(20.0)
    assert (run.state, run.reason) == (State.REVOKED, "terminated")
    assert not is_alive(read(notes)[0]["pid"])


def test_revoking_without_terminate_lets_the_attempt_end(work: Work, notes: Path) -> None:
    handle = work.submit("sleep", seconds=1, notes=str(notes))
    wait_until(lambda: notes.read_text(), 30.0, "the job runs")
    assert handle.revoke().state is State.STARTED
    assert handle.wait(20.0).result == "slept"


def test_a_killed_child_is_a_loss_and_the_third_in_a_row_is_poison(work: Work, notes: Path) -> None:
    bystander = work.submit("sleep", seconds=1)
    run = work.run("die", notes=str(notes))
    assert (run.state, run.reason, run.losses, run.retries) == (State.FAILURE, "poisoned", 3, 0)
    assert [death["signal"] for death in run.deaths] == ["SIGKILL"] * 3
    gaps = [later["at"] - earlier["at"] for earlier, later in zip(read(notes), read(notes)[1:], strict=False)]
    assert gaps[0] >= 1.0
    assert gaps[1] >= 2.0
    assert bystander.wait(20.0).losses == 0


def test_a_child_killed_from_outside_is_redelivered(work: Work, notes: Path) -> None:
    handle = work.submit("sleep", seconds=1, notes=str(notes))
    wait_until(lambda: notes.read_text(), 30.0, "the job runs")
    os.kill(read(notes)[0]["pid"], 9)
    run = handle.wait(30.0)
    assert (run.state, run.losses, run.attempts) == (State.SUCCESS, 1, 2)
