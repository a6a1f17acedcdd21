"""Which steps of a flow run again from where it failed."""

from __future__ import annotations

from runner.flows.reuse import FormerStep, steps_that_run
from runner.model.step import Step

LINE = {"a": Step(task="m:a"), "b": Step(task="m:b", needs=("a",)), "c": Step(task="m:c", needs=("b",))}
SAME = dict.fromkeys("abc", "d")
DONE = FormerStep(succeeded=True, digest="d")
FAILED = FormerStep(succeeded=False, digest="d")


def test_what_succeeded_does_not_run_again() -> None:
    assert steps_that_run(LINE, SAME, {"a": DONE, "b": FAILED, "c": FAILED}) == {"b": None, "c": None}
    assert steps_that_run(LINE, SAME, dict.fromkeys("abc", DONE)) == {}


def test_a_step_that_has_changed_runs_again_and_those_that_need_it() -> None:
    assert steps_that_run(LINE, {**SAME, "a": "other"}, dict.fromkeys("abc", DONE)) == {
        "a": "it has changed since",
        "b": "it needs a, which runs again",
        "c": "it needs b, which runs again",
    }


def test_a_step_of_which_no_digest_is_known_is_the_same() -> None:
    assert steps_that_run(LINE, {}, dict.fromkeys("abc", DONE)) == {}
    assert steps_that_run(LINE, SAME, {**dict.fromkeys("abc", DONE), "b": FormerStep(True, None)}) == {}


def test_a_new_step_runs_and_those_that_need_it_again() -> None:
    graph = {"new": Step(task="m:n"), **LINE, "b": Step(task="m:b", needs=("a", "new"))}
    assert steps_that_run(graph, SAME, dict.fromkeys("abc", DONE)) == {
        "new": None,
        "b": "it needs new, which runs again",
        "c": "it needs b, which runs again",
    }
