"""What users of other tools type is answered with what to write here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runner.authoring.advice import advice_for
from runner.catalog.catalog import load_files
from runner.errors import InvalidSettings
from runner.model import foreign_names
from runner.model.hooks import HOOKS_ALIASES, UNIQUE_ALIASES
from runner.model.job import JOB, RETENTION_ALIASES, JobSpec
from runner.model.message import Message
from runner.model.option import Section, known_options
from runner.model.retry import RetryPolicy
from runner.model.schedule import ONE_SCHEDULE, SCHEDULES, Schedule
from runner.model.step import APPROVAL_ALIASES, STEP, Approval, Step
from runner.model.task_options import RETRY_ALIASES
from runner.model.timezone import unknown_zone
from runner.settings import Settings, load_settings
from runner.settings.options import SETTINGS
from runner.yaml_reader.problem import Problem

OPTIONS = [
    # Celery beat
    ("schedule: 30.0", "write {every: 30s}"),
    ("schedule: 90", "write {every: 1m30s}"),
    ('schedule: "30.0"', "write {every: 30s}"),
    ("schedule: crontab(minute=0, hour='*/3')", 'write "0 */3 * * *"'),
    ("schedule: celery.schedules.crontab(hour=7, minute=30, day_of_week=1)", 'write "30 7 * * 1"'),
    ("schedule: timedelta(minutes=5)", "write {every: 5m}"),
    ("schedule: {run_every: 30}", "did you mean every?"),
    ("args: (16, 16)", "write [16, 16]"),
    ("args: (16,)", "write [16]"),
    ("options: {queue: x}", "queue, priority, and expires are options of the job itself"),
    ("link_error: x", "write hooks: {failure: [x]}"),
    ("countdown: 5", "runner submit JOB --in 10m, or --at TIME"),
    ("schedule: schedule(run_every=90)", "write {every: 1m30s}"),
    # Plain names
    ("cmd: ls", "write task: runner.tasks.shell:run and kwargs: {script: "),
    ("jitter: 5s", 'write schedule: {cron: "0 2 * * *", jitter: 5s}'),
    ("tz: UTC", 'write schedule: {cron: "0 2 * * *", timezone: UTC}'),
    ("start: 2026-11-24", 'write schedule: {cron: "0 2 * * *", start: "2026-11-24"}'),
    ("backoff: exponential", "write retry: {backoff: exponential}"),
    ("notify: ops", "write hooks: {failure: [ops]}"),
    ("workdir: /srv", "write task: runner.tasks.shell:run and kwargs: {cwd: /srv}"),
    ("singleton: true", "did you mean concurrency?"),
    ("once: true", "runner submit JOB --in 10m, or --at TIME"),
    # APScheduler
    ("trigger: interval", "did you mean schedule?"),
    ("misfire_grace_time: 30", "write catchup_window in schedule, with a unit"),
    ("coalesce: true", "write catchup: last in schedule"),
    ("schedule: {cron: '@daily', coalesce: true}", "write catchup: last"),
    ("schedule: {cron: '@daily', misfire_grace_time: 30}", "write catchup_window with a unit"),
    ("schedule: {minutes: 5}", "did you mean every?"),
    ("schedule: {hour: 2, minute: 0}", 'cron: "0 2 * * *"'),
    ("day_of_week: mon", 'schedule: "0 2 * * *"'),
    ("run_date: 2026-11-24", "runner submit JOB --in 10m, or --at TIME"),
    # Kubernetes CronJob
    ("concurrencyPolicy: Forbid", "write concurrency: {limit: 1, policy: skip}"),
    ("concurrency: {limit: 1, policy: Forbid}", "did you mean skip?"),
    ("jobTemplate: {}", "write the job's options here"),
    ("containers: []", "there are no containers"),
    ("startingDeadlineSeconds: 30", "did you mean expires?"),
    # GitHub Actions
    ("run: echo hello", "write task: runner.tasks.shell:run and kwargs: {script: "),
    ("steps: [{run: echo}]", "use the name of each step as its key, such as load: {…}"),
    ("steps: [{name: build, run: echo}]", "such as build: {…}"),
    ("needs: [build]", "write both as steps of one job"),
    ("runs-on: ubuntu", "did you mean queue?"),
    ("timeout-minutes: 5", "did you mean timeout?"),
    # systemd timers
    ("OnCalendar: daily", "did you mean schedule?"),
    ("schedule: {OnCalendar: daily}", "did you mean cron?"),
    ('schedule: "*-*-* 02:00:00"', "it is an OnCalendar of systemd"),
    ("schedule: Mon..Fri *-*-* 08:00", "it is an OnCalendar of systemd"),
    ("schedule: daily", 'write "@daily"'),
    ("schedule: {cron: '@daily', Persistent: true}", "did you mean catchup?"),
    ("OnFailure: mail", "write hooks: {failure: [mail]}"),
    ("ExecStart: /bin/true", "write task: runner.tasks.shell:run and kwargs: {script: "),
    # Dagu
    ("handlerOn: {}", "did you mean hooks?"),
    ("mailOn: {}", "did you mean hooks?"),
    ("preconditions: []", "check the condition in the job itself"),
    ("schedule: {start: 2026-11-24, stop: x, every: 1h}", "set timeout in the job"),
    ("schedule: {cron: '@daily', catchup: true}", "did you mean all?"),
    # supercronic, Go's cron, Quartz, AWS, Jenkins, OpenBSD
    ('schedule: "CRON_TZ=Europe/Berlin 0 2 * * *"', '{cron: "0 2 * * *", timezone: Europe/Berlin}'),
    ('schedule: "CRON_TZ=Europe/Berlin @every 5m"', "write {every: 5m, timezone: Europe/Berlin}"),
    ('schedule: "CRON_TZ=UTC 0 0 2 ? * MON"', 'write {cron: "0 0 2 * * MON", timezone: UTC}'),
    ('schedule: "CRON_TZ=UTC @midnite"', 'write {cron: "@midnite", timezone: UTC}'),
    ('schedule: "CRON_TZ=UTC H 2 * * *"', "timezone: UTC; and for the rest, H is syntax of Jenkins"),
    ('schedule: "CRON_TZ=Europe/Berlin"', '{cron: "0 2 * * *", timezone: Europe/Berlin}'),
    ('schedule: "CRON_TZ=UTC\\n0 2 * * *"', '{cron: "0 2 * * *", timezone: UTC}'),
    ('schedule: "0 0 2 15W * ?"', "15W as day-of-month is syntax of Quartz"),
    ('schedule: "0 0 2 L-3 * ? 2026"', "L-3 as day-of-month is syntax of Quartz"),
    ("hooks: {failure: (a, b)}", "YAML has no tuples: write [a, …]"),
    ("retry: {for: (ValueError, OSError)}", "YAML has no tuples: write [ValueError, …]"),
    ("params: {a: {enum: (1, 2)}}", "YAML has no tuples: write [1, …]"),
    ("kwargs: {script: 'echo ${HOME}'}", "write $HOME for a shell"),
    ('schedule: "TZ=UTC @daily"', '{cron: "@daily", timezone: UTC}'),
    ('schedule: "@every 1h30m"', "write {every: 1h30m}"),
    ('schedule: {cron: "@every 90s"}', "write {every: 1m30s}"),
    ('schedule: "@every 100ms"', "the shortest interval is {every: 1s}"),
    ('args: "[1, 2]"', "write [1, 2]"),
    ('schedule: "@every day"', "such as {every: 15m}"),
    ('schedule: "0 12 * * ?"', 'here ? is *, write "0 12 * * *"'),
    (
        'schedule: "0 0 12 ? * 2 2026"',
        '"0 0 12 * * 2"; there is no field for the year; here Sunday is 0 or 7, not 1',
    ),
    ('schedule: "*/30 * * * * * *"', "the last of its 7 fields is a year"),
    ("schedule: cron(0 12 ? * MON-FRI *)", 'write "0 12 * * MON-FRI"'),
    ("schedule: rate(5 minutes)", "write {every: 5m}"),
    ('schedule: "H/15 * * * *"', "H is syntax of Jenkins"),
    ('schedule: "0~59 2 * * *"', "~ is syntax of OpenBSD"),
    ("schedule: PT15M", "write {every: 15m}"),
    ("schedule: every 5 minutes", "write {every: 5m}"),
    ('schedule: "02:30"', 'write "30 2 * * *"'),
    ("schedule: 2026-11-24T02:00:00Z", "runner submit JOB --at TIME"),
    # Airflow, RQ
    ("schedule_interval: '@daily'", "did you mean schedule?"),
    ("op_kwargs: {}", "did you mean kwargs?"),
    ("job_timeout: 30", "did you mean timeout?"),
]


@pytest.mark.parametrize(("option", "hint"), OPTIONS, ids=[option for option, _ in OPTIONS])
def test_what_users_of_other_tools_write_in_a_job(tmp_path: Path, option: str, hint: str) -> None:
    path = tmp_path / "jobs.yaml"
    path.write_text(f"jobs:\n  a:\n    task: a:b\n    {option}\n", "utf-8")
    problems = load_files([path], base=tmp_path).problems
    assert any(hint in problem.message and problem.line == 4 for problem in problems), problems


STEP_OPTIONS = [
    # GitHub Actions
    ("run: make", "write task: runner.tasks.shell:run and kwargs: {script: "),
    ("uses: actions/checkout@v4", "did you mean task?"),
    ("strategy: {matrix: {os: [a]}}", "write each: {NAME: [one, two], …} for every combination"),
    ("continue-on-error: true", "did you mean may_fail?"),
    ("timeout-minutes: 5", "did you mean timeout?"),
    ("needs: other", "expected a list, got text, write [other]"),
    ("if: always()", "'always()' is a function of GitHub Actions, write when: ended"),
    ('if: "${{ failure() }}"', "is a function of GitHub Actions, write when: failed"),
    ("if: success()", "is a function of GitHub Actions, remove it, because it is the default"),
    ('kwargs: {os: "${{ matrix.os }}"}', "${{ is the syntax of GitHub Actions, write ${…} with one brace"),
    ("with: {path: x}", "write kwargs for a task, params for a job"),
    # Dagu
    ("depends: [other]", "did you mean needs?"),
    ("command: make", "write task: runner.tasks.shell:run and kwargs: {script: make}"),
    ("continueOn: {failure: true}", "did you mean may_fail?"),
    ("parallel: {items: [a]}", "write each for the items, and at_once for their number at the same time"),
    ("preconditions: []", "did you mean if?"),
    ("output: FILES", "a task's return value is its result: ${steps.NAME.result}"),
    ("repeatPolicy: {repeat: true}", "a flow has no loops"),
    # Argo, Airflow, and others
    ("dependencies: [other]", "did you mean needs?"),
    ("dependsOn: [other]", "did you mean needs?"),
    ("depends_on: [other]", "did you mean needs?"),
    ("withItems: [a, b]", "did you mean each?"),
    ("with_items: [a, b]", "did you mean each?"),
    ("foreach: [a, b]", "did you mean each?"),
    ("withParam: x", "did you mean each?"),
    ("continue_on_error: true", "did you mean may_fail?"),
    ("trigger_rule: all_done", "did you mean when?"),
    ("when: all_done", "did you mean ended?"),
    ("templateRef: x", "did you mean job?"),
    ("suspend: {}", "did you mean approval?"),
    ("retryStrategy: {limit: 3}", "did you mean retry?"),
    ("parallelism: 4", "did you mean at_once?"),
    ("name: load", "the name of a step is the key above its options"),
    # Celery
    ("link: other", "name this step under needs of the next one"),
    ("link_error: other", "write a step with needs, and when: failed"),
    ("schedule: '@daily'", "it is an option of the job, not of a step, write it beside steps"),
    ("hooks: {}", "it is an option of the job, not of a step, write it beside steps"),
]


@pytest.mark.parametrize(("option", "hint"), STEP_OPTIONS, ids=[option for option, _ in STEP_OPTIONS])
def test_what_users_of_other_tools_write_in_a_step(tmp_path: Path, option: str, hint: str) -> None:
    path = tmp_path / "jobs.yaml"
    steps = f"      other: {{task: 'a:b'}}\n      load:\n        task: a:b\n        {option}\n"
    path.write_text(f"jobs:\n  a:\n    steps:\n{steps}", "utf-8")
    problems = load_files([path], base=tmp_path).problems
    assert any(hint in problem.message and problem.line == 7 for problem in problems), problems


def test_every_option_of_a_job_alone_is_explained_in_a_step() -> None:
    alone = set(known_options(JobSpec)) - set(known_options(Step))
    assert {name for name in alone if name not in STEP.aliases} == set()


@pytest.mark.parametrize(
    ("args", "pair"),
    [
        ("[(1, 2)]", '"(1" and "2)"'),
        ("[x, (a, b, c)]", '"(a" and "c)"'),
        ("[(1, 2), 3]", '"(1" and "2)"'),
        ("[(1), 2]", None),
        ("['(1, 2)']", None),
        ("[a(, b]", None),
        ("[[1, 2]]", None),
    ],
)
def test_a_tuple_among_the_arguments_is_told(tmp_path: Path, args: str, pair: str | None) -> None:
    path = tmp_path / "jobs.yaml"
    path.write_text(f"jobs:\n  a:\n    task: a:b\n    args: {args}\n", "utf-8")
    [job] = load_files([path], base=tmp_path).jobs.values()
    texts = [fault.message for fault in advice_for(job) if fault.path == ("args",)]
    assert [text.startswith(f"{pair} are two texts, since YAML has no tuples") for text in texts] == [True] * bool(pair)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("steps: [{run: echo}]", "write steps in a job"),
        ("apiVersion: batch/v1", "write jobs: with the names and options of jobs"),
        ("beat_schedule: {}", "did you mean jobs?"),
        ("'on': push", "use schedule in the job"),
        ("schedule: '@daily'", "did you mean jobs?"),
        ("env: {A: b}", "under defaults for all jobs of the file"),
        ("retry: {delay: 5s}", "under defaults for all jobs of the file"),
        ("handlerOn: {}", "use hooks in the job"),
        ("job_defaults: {}", "did you mean defaults?"),
        ("pipeline: {}", "did you mean jobs?"),
        ("run: echo", "write jobs: with the names and options of jobs"),
        ("timezone: UTC", "it belongs in runner.yaml"),
        ("Timer: {OnCalendar: daily}", "write jobs: with the names and options of jobs"),
    ],
)
def test_what_users_of_other_tools_write_at_the_top(tmp_path: Path, text: str, hint: str) -> None:
    path = tmp_path / "jobs.yaml"
    path.write_text(f"{text}\njobs:\n  a: {{task: a:b}}\n", "utf-8")
    [problem] = load_files([path], base=tmp_path).problems
    assert (problem.line, hint in problem.message) == (1, True), problem.message


@pytest.mark.parametrize(
    ("aliases", "cls"),
    [
        (JOB.aliases, JobSpec),
        (SETTINGS.aliases, Settings),
        (ONE_SCHEDULE.aliases, Schedule),
        (RETRY_ALIASES, RetryPolicy),
        (STEP.aliases, Step),
        (APPROVAL_ALIASES, Approval),
        (RETENTION_ALIASES, known_options(JobSpec)["retention"].type.cls),  # type: ignore[attr-defined]
        (HOOKS_ALIASES, known_options(JobSpec)["hooks"].type.cls),  # type: ignore[attr-defined]
        (UNIQUE_ALIASES, known_options(JobSpec)["unique"].type.cls),  # type: ignore[attr-defined]
    ],
)
def test_each_hint_names_an_option_that_there_is(aliases: dict[str, str], cls: type) -> None:
    for name, meant in aliases.items():
        assert name not in known_options(cls), f"{name} is an option itself, its hint is never shown"
        if isinstance(meant, Message):
            assert re.fullmatch(r"\(.+[^.]\)", meant)
            continue
        known = known_options(cls)
        for step in meant.split("."):
            assert step in known, (name, meant)
            if step == "defaults":
                known = known_options(JobSpec)
                continue
            kind = SCHEDULES.section if known[step].type is SCHEDULES else known[step].type
            known = known_options(kind.cls) if isinstance(kind, Section) else {}


@pytest.mark.parametrize(
    ("setting", "hint"),
    [
        ("timezone: localtime", "is not the same on every host"),
        ("beat_schedule: {}", "declare jobs in the files of jobs_dir"),
        ("steps: []", "declare jobs in the files of jobs_dir"),
        ("include: [a]", "name the function in a job"),
        ("task_time_limit: 30", "write defaults: {timeout: 30s}"),
        ("env: {A: b}", "write defaults: {env: {A: b}}"),
        ("retry: {}", "write defaults: {retry: {}}"),
        ("concurrency: 4", "write worker: {concurrency: 4}"),
    ],
)
def test_what_users_of_other_tools_write_in_the_settings(tmp_path: Path, setting: str, hint: str) -> None:
    (tmp_path / "jobs.d").mkdir()
    (tmp_path / "runner.yaml").write_text(setting + "\n")
    with pytest.raises(InvalidSettings, match=re.escape(hint)):
        load_settings(str(tmp_path))


def test_each_hint_at_the_top_names_a_key_that_there_is() -> None:
    assert {name for name in foreign_names.FOREIGN_TOP_NAMES.values() if not isinstance(name, Message)} == {
        "jobs",
        "defaults",
    }


@pytest.mark.parametrize("length", [1, 16, 256])
def test_no_text_takes_long_to_explain(tmp_path: Path, length: int) -> None:
    path = tmp_path / "jobs.yaml"
    for part in ("0", "-", "*", "a", "0-", "*-", "1s", "9 ", "?", "P1", "(=", "TZ=", "every ", "R/", "0 ?", "H~"):
        text = (part * length)[:256]
        path.write_text(f"jobs:\n  a: {{task: 'a:b', schedule: {text!r}}}\n", "utf-8")
        assert load_files([path], base=tmp_path).problems


ZONES = ["localtime", ":localtime", "Local", "LOCALTIME", "Factory", "posixrules", "right/Europe/Berlin", "posix/UTC"]
ZONES += ["/usr/share/zoneinfo/Europe/Berlin", "/etc/localtime", "europe/berlin", "EUROPE/BERLIN", "utc", "system"]
ZONES += ["Europe/Berln", "+02:00", "UTC+2", "CET-1CEST", "../UTC", "Europe//Berlin", "", "Europe/Berlin "]


@pytest.mark.parametrize("zone", ZONES)
def test_a_zone_that_is_not_the_same_on_every_host(tmp_path: Path, zone: str) -> None:
    message = unknown_zone(zone)
    assert message is not None
    assert re.search("write a name such as Europe/Berlin|did you mean", message)
    path = tmp_path / "jobs.yaml"
    path.write_text(f"jobs:\n  a: {{task: 'a:b', schedule: {{every: 1h, timezone: {zone!r}}}}}\n", "utf-8")
    [problem] = load_files([path], base=tmp_path).problems
    assert message in problem.message


@pytest.mark.parametrize(
    ("zone", "meant"),
    [
        ("GMT+2", "did you mean Etc/GMT-2?"),
        ("UTC-05:00", "did you mean Etc/GMT+5?"),
        ("+0200", "did you mean Etc/GMT-2?"),
        ("+99", "write a name such as Europe/Berlin or UTC"),
        ("BST", "write a name such as Europe/Berlin or UTC"),
        ("CEST", "write a name such as Europe/Berlin or UTC"),
        ("Europe/Berln", "did you mean Europe/Berlin?"),
    ],
)
def test_an_offset_is_turned_into_a_zone_and_an_abbreviation_is_not_guessed(zone: str, meant: str) -> None:
    assert str(unknown_zone(zone)).endswith(meant)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/Argentina/Ushuaia", "Etc/GMT+2", "EST5EDT", "GB"])
def test_a_zone_that_is_the_same_on_every_host(zone: str) -> None:
    assert unknown_zone(zone) is None


def places() -> list[tuple[str, str]]:
    """Return a name and a text for each file of the specs and each option of another tool."""
    files = sorted((Path(__file__).parents[1] / "specs" / "invalid").glob("*.yaml"))
    texts = [(file.stem, file.read_bytes().decode("utf-8", "surrogateescape")) for file in files]
    return texts + [(option, f"jobs:\n  a:\n    task: a:b\n    {option}\n") for option, _ in OPTIONS]


def problems_of(path: Path, text: str) -> list[Problem]:
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return list(load_files([path], base=path.parent).problems)


MISTAKES = """
jobs:
  good: {task: a:b, enabled: yes}
  keys: {task: a:b, timeuot: 5m, retyr: {max_retires: 3}, params: {day: {tpye: string}}}
  both: {task: a:b, timeout: 5m, timeuot: 6m}
  misread: {task: a:b, timeout: 1:30, priority: 07, queue: no, env: {A: 010, B: 1.10, C: on}}
  any: {task: a:b, kwargs: {a: yes, b: 0o17, c: 1:30}, args: [on]}
  words: {task: a:b, retry: {backoff: expnential}, concurrency: {limit: 1, policy: 'quue'}, "descripton": x}
  zones: {task: a:b, schedule: {cron: "@daily", timezone: europe/berlin}}
  hooked: {task: a:b, hooks: {failure: [tkaes-run], success: [tkaes-run, takes-run]}}
  takes-run: {task: a:b, params: {run: {type: object}}}
  by: {task: a:b, params: {day: {type: string}}, unique: {for: 1h, by: [dya]}}
"""


@pytest.mark.parametrize(("name", "text"), [*places(), ("mistakes", MISTAKES)], ids=lambda text: text[:40])
def test_a_line_as_corrected_has_no_fault_there_and_brings_none(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / "jobs.yaml"
    before = problems_of(path, text)
    known = {(problem.path, problem.message) for problem in before}
    for problem in before:
        if not problem.corrected:
            continue
        lines = text.split("\n")
        assert lines[problem.line - 1].rstrip("\r") == problem.source
        lines[problem.line - 1] = problem.corrected
        after = problems_of(path, "\n".join(lines))
        if not problem.path:
            # An error of the syntax ended the reading: what follows is read now, and may have problems.
            assert all(problem_after.line > problem.line for problem_after in after), problem.corrected
            continue
        left = {(problem_after.path, problem_after.message) for problem_after in after}
        assert (problem.path, problem.message) not in left
        assert left <= known, problem.corrected


def test_mistakes_that_have_one_meaning_are_corrected(tmp_path: Path) -> None:
    found = [problem.replacement for problem in problems_of(tmp_path / "jobs.yaml", MISTAKES) if problem.corrected]
    assert found == [
        *("true", "timeout", "type", "7", '"no"', '"010"', '"1.10"', '"on"', '"1:30"', "exponential", "queue"),
        *("description", "Europe/Berlin", "takes-run", "day"),
    ]
