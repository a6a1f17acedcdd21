"""``runner explain``: every declared option has an answer, and a wrong path leads to the right one."""

from __future__ import annotations

import pytest
import yaml

from runner.authoring.option_help import ROOTS, all_options, completions
from runner.authoring.option_search import look_up
from runner.cli.explain import example_lines
from runner.errors import UsageError
from runner.model.job import JobSpec
from runner.model.option import known_options
from runner.model.value_type import INVALID, ignore
from runner.settings.environment import variables
from runner.settings.options import Settings

OPTIONS = {option.path: option for option in all_options()}


def test_every_option_is_found_by_its_path_and_says_what_it_takes() -> None:
    assert {f"jobs.{key}" for key in known_options(JobSpec)} | {f"runner.{key}" for key in known_options(Settings)} <= (
        set(OPTIONS)
    )
    assert {"jobs.retry.backoff", "jobs.steps.approval.within", "jobs.schedule.except.days", "jobs.params.pattern"} <= (
        set(OPTIONS)
    )
    for path, option in OPTIONS.items():
        assert look_up(path) == option, path
        assert option.type, path
        assert "`" not in option.type, path
        assert option.declared.help, path
        assert set(option.document()) >= {"path", "help", "type", "required", "default", "examples", "options"}


def test_every_example_is_accepted_and_stands_where_the_file_wants_it() -> None:
    shown = 0
    for path, option in OPTIONS.items():
        for example in option.examples if option not in ROOTS else ():
            assert option.declared.type.read(example, (), ignore) is not INVALID, path
            wrapped = example
            for step in reversed(option.at):
                wrapped = [wrapped] if isinstance(step, int) else {step: wrapped}
            assert yaml.safe_load("\n".join(example_lines(option.at, example))) == wrapped, path
            shown += 1
    assert shown > 150


def test_the_variable_of_a_setting_is_named() -> None:
    named = {option.path: option.variable for option in OPTIONS.values() if option.variable is not None}
    assert named == {".".join(("runner", *path)): name for name, path, _ in variables(Settings)}


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("retry.backoff", "jobs.retry.backoff"),
        ("worker.concurrency", "runner.worker.concurrency"),
        ("jobs.nightly-report.retry.delay", "jobs.retry.delay"),
        ("jobs.nightly.report.timeout", "jobs.timeout"),
        ("jobs.x.schedule[1].except[0].from", "jobs.schedule.except.from"),
        ("jobs.x.steps.load.each", "jobs.steps.each"),
        ("jobs.x.params.day.format", "jobs.params.format"),
        ("jobs.x.env.HOME", "jobs.env"),
        ("jobs.x.kwargs.a.b", "jobs.kwargs"),
        ("runner.defaults.retry", "runner.defaults.retry"),
        ("runner.web.tokens.alice.role", "runner.web.tokens.role"),
    ],
)
def test_names_in_a_path_and_paths_without_a_file(path: str, meant: str) -> None:
    assert look_up(path).path == meant


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("jobs.retry.backof", "jobs.retry.backoff"),
        ("jobs.rety.delay", "jobs.retry.delay"),
        ("jobs.x.retry.max_retires", "jobs.retry.max_retries"),
        ("jobs.backoff", "jobs.retry.backoff"),
        ("jobs.max_retries", "jobs.retry.max_retries"),
        ("jobs.backoffLimit", "jobs.retry.max_retries"),
        ("jobs.cron", "jobs.schedule"),
        ("job.timeou", "jobs.timeout"),
        ("max_dely", "jobs.retry.max_delay"),
        ("runner.recycle", "runner.worker.recycle"),
        ("runner.worker.recyc.runs", "runner.worker.recycle.runs"),
        ("redis", "runner.redis_url"),
        ("retry.max", "jobs.retry.max_retries"),
        ("retry.max_retry", "jobs.retry.max_retries"),
        ("retry.max_retries.foo", "jobs.retry.max_retries"),
        ("jobs.timeout.x", "jobs.timeout"),
        ("RETRY", "jobs.retry"),
        ("Jobs.x.Retry", "jobs.retry"),
    ],
)
def test_a_typo_or_the_name_of_another_tool(path: str, meant: str) -> None:
    with pytest.raises(UsageError) as wrong:
        look_up(path)
    assert (wrong.value.message, wrong.value.hint) == (f"no option {path!r}, did you mean {meant}?", None)
    assert look_up(meant).path == meant


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("jobs.image", "runner explain jobs"),
        ("frobnicate", "runner explain"),
        ("", "runner explain"),
        ("retention.runs", "write jobs.retention.runs or runner.retention.runs"),
    ],
)
def test_no_guess_is_better_than_a_wild_one(path: str, hint: str) -> None:
    with pytest.raises(UsageError) as wrong:
        look_up(path)
    assert wrong.value.hint == hint
    assert "did you mean" not in wrong.value.message


def test_completion_goes_a_level_deeper_when_a_section_is_the_only_one() -> None:
    assert [completion.path for completion in completions("")] == ["jobs", "runner"]
    assert [completion.path for completion in completions("jobs.ret")] == ["jobs.retry", "jobs.retention"]
    assert [completion.path for completion in completions("jobs.retr")][:3] == [
        "jobs.retry",
        "jobs.retry.max_retries",
        "jobs.retry.delay",
    ]
    assert [completion.path for completion in completions("runner.worker.rec")][1:] == [
        "runner.worker.recycle.runs",
        "runner.worker.recycle.memory",
    ]
    assert completions("jobs.nothing") == []
