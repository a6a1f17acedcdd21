"""What an editor shows, asked of the real yaml-language-server over its protocol."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.model.concurrency import Concurrency
from runner.model.job import JobSpec
from runner.model.keyword import PARAM_KEYWORDS, TYPES
from runner.model.option import known_options, options_of
from runner.model.rate import Rate
from runner.model.retry import RetryPolicy
from runner.model.schedule import Schedule
from runner.model.step import Step
from runner.model.watch import Watch
from runner.model.webhook import Webhook
from tests.support.language_server import Editor
from tests.support.project import runner_cli

JOB = "jobs:\n  a:\n    task: a:b\n"


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Editor]:
    """An editor in a project that ``runner init`` made."""
    folder = tmp_path_factory.mktemp("editor")
    runner_cli("init", cwd=folder).check()
    with Editor(folder) as editor:
        yield editor


def test_options_of_a_job_are_offered_with_their_help(editor: Editor) -> None:
    offered = editor.completions(JOB + "    ")
    wanted = {option.key: option.help for option in options_of(JobSpec) if option.key != "task"}
    assert {name: offered.get(name) for name in wanted} == wanted


SECTIONS: dict[str, type] = {
    "concurrency": Concurrency,
    "rate": Rate,
    "retry": RetryPolicy,
    "schedule": Schedule,
    "watch": Watch,
    "webhook": Webhook,
}


@pytest.mark.parametrize("section", SECTIONS)
def test_options_of_a_section_are_offered_with_their_help(editor: Editor, section: str) -> None:
    offered = editor.completions(JOB + f"    {section}:\n      ")
    wanted = {option.key: option.help for option in options_of(SECTIONS[section])}
    assert {name: offered.get(name) for name in wanted} == wanted


STEP = "jobs:\n  a:\n    steps:\n      load:\n        task: a:b\n"


def test_options_of_a_step_are_offered_with_their_help(editor: Editor) -> None:
    offered = editor.completions(STEP + "        ")
    wanted = {option.key: option.help for option in options_of(Step) if option.key != "task"}
    assert {name: offered.get(name) for name in wanted} == wanted
    offered = editor.completions(STEP + "      ask:\n        approval:\n          ")
    assert set(offered) >= {"within"}
    assert set(editor.completions(STEP + "        when: ")) >= {"succeeded", "failed", "ended"}
    assert set(editor.completions("jobs:\n  a:\n    on_failure: ")) >= {"finish", "stop"}


def test_values_and_keywords_are_offered(editor: Editor) -> None:
    assert set(editor.completions(JOB + "    delivery: ")) >= {"at_least_once", "at_most_once"}
    assert set(editor.completions(JOB + "    params:\n      p:\n        type: ")) >= set(TYPES)
    keywords = editor.completions(JOB + "    params:\n      p:\n        ")
    assert set(keywords) >= set(PARAM_KEYWORDS)
    assert all(keywords[name] for name in PARAM_KEYWORDS)


def test_the_help_is_shown_for_a_word(editor: Editor) -> None:
    assert known_options(JobSpec)["timeout"].help in editor.hover(JOB + "    timeout: 5m\n", "timeout")


def test_a_sound_file_is_not_marked(editor: Editor) -> None:
    specs = Path(__file__).parents[1] / "specs" / "valid"
    sound = ("all-options", "anchors", "durations", "japanese", "flow-style")
    for name in (
        *sound,
        "env-file",
        "hooks",
        "rate",
        "require",
        "schedule-params",
        "schedule-rules",
        "steps",
        "watch",
        "webhook",
    ):
        text = (specs / f"{name}.yaml").read_text("utf-8")
        text = "\n".join(line for line in text.splitlines() if "yaml-language-server" not in line) + "\n"
        assert editor.problems(text) == [], name


TEMPLATE = "use ${run.id}, ${run.slot}, ${params.NAME}, or ${env.NAME}; write $${ for a literal ${"
SLOT_TEMPLATE = (
    "write ${run.slot.date}, ${run.slot.date - 1d}, or ${run.slot - 1d | %Y%m%d}; write $${ for a literal ${"
)
MARKS = {
    "timeout: 30": (5, 14, "write a duration with a unit, such as 90s, 15m, 1h30m, or 2d"),
    "timeout: 30 minutes": (5, 14, "write a duration with a unit, such as 90s, 15m, 1h30m, or 2d"),
    "timeuot: 30s": (5, 5, "Property timeuot is not allowed."),
    "priority: 12": (5, 15, "Value is above the maximum of 9."),
    "delivery: once": (5, 15, 'Value is not accepted. Valid values: "at_least_once", "at_most_once", null.'),
    "enabled: maybe": (5, 14, "Incorrect type. Expected one of boolean, null."),
    "retry: {max_retires: 3}": (5, 13, "Property max_retires is not allowed."),
    "kwargs: {1a: 3}": (5, 14, "use letters, digits, and underscores, no digit first"),
    'kwargs: {a: "${HOME}"}': (5, 17, TEMPLATE),
    'env: {A: "x ${params.a b}"}': (5, 14, TEMPLATE),
    "secrets: {A: hunter2}": (
        5,
        18,
        "write env:NAME, file:PATH, or exec:COMMAND, where the worker finds the secret; "
        "do not write the secret itself here",
    ),
    "overrun: 30": (5, 14, "write a duration with a unit, such as 90s, 15m, 1h30m, or 2d"),
    "pause_after: 0": (5, 18, "Value is below the minimum of 1."),
    "rate: {limit: 0, per: 1m}": (5, 19, "Value is below the minimum of 1."),
    "rate: {limit: 5}": (5, 5, 'Missing property "per".'),
    "require: [extract]": (5, 15, 'Incorrect type. Expected "object(Jobs of celery-runner)".'),
    "env_file: 5": (5, 15, "Incorrect type. Expected one of string, null."),
    "watch: {settle: 5s}": (5, 5, 'Missing property "path".'),
    'webhook: {signature: gitlab, secret: "env:A"}': (
        5,
        26,
        'Value is not accepted. Valid values: "github", "stripe", "token".',
    ),
    'schedule: {every: 1h, params: {day: "${run.slot.dat}"}}': (5, 41, SLOT_TEMPLATE),
    "schedule: {every: 1h, except: [2026-13]}": (
        5,
        36,
        'write a date such as 2026-12-25, calendar:NAME, or {from: "22:00", to: "06:00"}',
    ),
    "schedule: {every: 1h, only: [{from: 22}]}": (5, 41, 'write a time in quotes, such as "22:00"'),
    "hooks: {failure: [{job: a, after: 0}]}": (5, 39, "Value is below the minimum of 1."),
    "params: {p: {minLenght: 3}}": (5, 18, "Property minLenght is not allowed."),
    "params: {p: {type: strin}}": (5, 24, "Value is not accepted. Valid values: " + ", ".join(f'"{t}"' for t in TYPES)),
    "params: {p: {type: string, required: true, default: x}}": (
        5,
        42,
        "a param with a default is never missing, remove required or default",
    ),
}


@pytest.mark.parametrize("line", MARKS)
def test_a_wrong_value_is_marked_with_a_clear_message(editor: Editor, line: str) -> None:
    [(at, column, message)] = editor.problems(f"{JOB}    {line}\n")
    wanted = MARKS[line]
    assert (at + 1, column) == wanted[:2]
    assert message.removesuffix(".") == wanted[2].removesuffix(".")


STEP_TEMPLATE = (
    "use ${run.id}, ${run.slot}, ${params.NAME}, ${env.NAME}, ${item}, ${steps.NAME.result}, ${steps.NAME.results}, or "
    "${steps.NAME.state}; write $${ for a literal ${"
)
STEP_MARKS = {
    "needs: load": (7, 16, "Incorrect type. Expected one of array, null."),
    "when: always": (7, 15, 'Value is not accepted. Valid values: "succeeded", "failed", "ended", null.'),
    'kwargs: {a: "${steps.extract.output}"}': (7, 21, STEP_TEMPLATE),
    "each: eu": (7, 15, 'write [one, two], or one placeholder such as "${steps.extract.result.files}"'),
    'if: "${params.a} and more"': (
        7,
        13,
        'write one such as "${steps.check.result.ok}", which must give true or false',
    ),
    "paralel: 4": (7, 9, "Property paralel is not allowed."),
    "at_once: 4": (5, 7, 'Missing property "each".'),
    "params: {a: 1}": (7, 17, "is only for a step with job, use kwargs"),
    "job: other": (6, 15, "is only for a step with task"),
}


@pytest.mark.parametrize("line", STEP_MARKS)
def test_a_wrong_value_in_a_step_is_marked_with_a_clear_message(editor: Editor, line: str) -> None:
    [(at, column, message)] = editor.problems(f"{STEP}        {line}\n")
    wanted = STEP_MARKS[line]
    assert (at + 1, column) == wanted[:2]
    assert message.removesuffix(".") == wanted[2].removesuffix(".")


def test_a_missing_task_and_a_wrong_name_are_marked(editor: Editor) -> None:
    [(_, _, message)] = editor.problems("jobs:\n  a: {queue: q}\n")
    assert message == 'Missing property "task".'
    [(_, _, message)] = editor.problems("jobs:\n  A_: {task: a:b}\n")
    assert message.startswith("use 1 to 64 lower-case letters")
