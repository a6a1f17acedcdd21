"""Writes the reference pages that say what the code says: jobs.md, settings.md, cli.md, and submit-and-filter.md.

``python docs/generate.py`` writes them; ``--check`` writes nothing and exits 1 when one is stale.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import yaml

from runner.catalog.step_defaults import SHARED
from runner.catalog.subflows import MOST_LEVELS
from runner.cli.commands import COMMANDS, GROUPS
from runner.cli.main import root
from runner.cli.terminal.group import WithExample
from runner.cli.terminal.options import DurationType, WholeNumber
from runner.model import expected
from runner.model.hooks import JOB_NAME
from runner.model.job import JOB_ALIASES, JobSpec
from runner.model.keyword import FORMATS, PARAM_KEYWORDS, TYPES
from runner.model.option import ListOf, Option, Section, options_of
from runner.model.param import Params
from runner.model.run_query import RunQuery
from runner.model.schedule import CronExpression, Schedules
from runner.model.slot_rule import WINDOW, SlotRules
from runner.model.step import MOST_ITEMS, MOST_STEPS, Approval, Step, Steps
from runner.model.submit_options import SubmitOptions
from runner.model.timezone import Moment, Timezone
from runner.model.value_type import ValueType
from runner.settings.celery_settings import OWNED, CelerySettings
from runner.settings.environment import variables
from runner.settings.option_types import Folders, JobDefaults, OneFolder
from runner.settings.options import Settings

REFERENCE = Path(__file__).resolve().parent / "reference"
_NOTE = "<!-- Written by docs/generate.py out of the code. Change the code, then run: make docs -->\n\n"


def inline(value: Any) -> str:
    """Return a value as one line of YAML, as code."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True).strip()
    return f"`{text.removesuffix('...').strip()}`"


def cell(text: str) -> str:
    """Return ``text`` so that a table takes it."""
    return " ".join(text.replace("|", "\\|").split())


def value_words(value_type: ValueType) -> str:
    """Return a description of the values that a type takes."""
    match value_type:
        case Section():
            return "section, see below"
        case Params():
            return "mapping of names to schemas, see below"
        case Steps():
            return "mapping of names to steps, see below"
        case Schedules():
            return "cron expression, section, or list of them, see below"
        case CronExpression():
            return "five or six fields, or `@daily` and the like"
        case Moment():
            return "date, or date and time"
        case Folders():
            return "folder or list of folders" if value_type.one else "list of folders"
        case OneFolder():
            return "folder"
        case Timezone():
            return "name of a time zone"
        case JobDefaults():
            return "mapping of [options of jobs](jobs.md)"
        case CelerySettings():
            return "mapping of Celery's lower-case settings, see below"
    found = expected.describe_type(value_type)
    if not found:
        raise TypeError(f"{type(value_type).__name__} has no description, add it to runner/model/expected.py")
    return found


def default_words(declared: Option, none: str) -> str:
    """Return the default as it would stand in YAML."""
    if declared.required:
        return "required"
    if isinstance(declared.type, Section):
        return ""
    if declared.default is None:
        return none
    return inline(declared.type.write(declared.default))


def option_table(section: type, prefix: str = "", none: str = "none") -> Iterator[str]:
    """Yield a table of the options of a section; ``none`` is what stands for no default."""
    yield "| option | value | default | what it does |\n|---|---|---|---|\n"
    for declared in options_of(section):
        examples = ", ".join(inline(example) for example in declared.examples)
        told = declared.help + (f" Example: {examples}" if examples else "")
        yield (
            f"| `{prefix}{declared.key}` | {cell(value_words(declared.type))} | {cell(default_words(declared, none))} "
            f"| {cell(told)} |\n"
        )
    yield "\n"


def sections(section: type) -> Iterator[tuple[str, Section]]:
    """Yield the sections that stand in a section."""
    for declared in options_of(section):
        if isinstance(declared.type, Section):
            yield declared.key, declared.type
        elif isinstance(declared.type, Schedules):
            yield declared.key, declared.type.section
        elif isinstance(declared.type, ListOf) and isinstance(declared.type.item, Section):
            yield declared.key, declared.type.item
        elif declared.type == SlotRules():
            yield f"{declared.key}[]", WINDOW


_VALUES = """\
A **duration** carries a unit: `500ms`, `90s`, `15m`, `1h30m`, `2d`, `1w`; ten years are the longest. A **size** is a
whole number with `B`, `KiB`, `MiB` or `GiB`. `null` resets an option to its built-in default.
"""


def jobs_page() -> str:
    """Return the page about files of jobs."""
    return "".join(_jobs_page())


def _jobs_page() -> Iterator[str]:
    yield _NOTE
    yield f"""\
# Files of jobs

Every `*.yaml` and `*.yml` file in `jobs.d`, and in its sub-folders, holds `jobs:` and, if need be, `defaults:`. Hidden
files and backups of editors are left out. The name of a job stands once in all files; {JOB_NAME.advice}.

```yaml
defaults:
  tags: [reports]
jobs:
  nightly-report:
    task: reports.nightly:build
    params:
      day: {{type: string, format: date, required: true}}
    timeout: 15m
    retry: {{max_retries: 3, delay: 10s}}
```

Options merge: a job's own over `defaults` of its file over `defaults` of [`runner.yaml`](settings.md). Mappings merge
by key; lists and single values replace. Anchors and `<<` work. Top-level keys that begin with `x-` are ignored, so
that they can hold anchors.

{_VALUES}
`runner validate` checks all of it. `runner schema jobs` prints the same rules as a JSON Schema for editors.

## Options of a job

"""
    yield from option_table(JobSpec)
    for key, value_type in sections(JobSpec):
        yield f"## {key}\n\n"
        # Only the section `retention` has options without a default of their own.
        yield from option_table(value_type.cls, f"{key}.", none="that of [`runner.yaml`](settings.md)")
        for inner, nested in sections(value_type.cls):
            yield f"A window of `{key}.except` or `{key}.only`:\n\n"
            yield from option_table(nested.cls, f"{key}.{inner}.")
    yield f"""\
## steps

The name of a step has lower-case letters, digits, dashes, and underscores, but no dots. A job has at most
{MOST_STEPS:,} steps, and a step at most {MOST_ITEMS:,} items. A step has exactly one of `task`, `job`, and `approval`.
These options of the job are the defaults of its steps with `task`, and mappings merge by key:
{", ".join(f"`{name}`" for name in SHARED)}. [Flows](../how-to/flows.md) shows examples.

"""
    yield from option_table(Step, "steps.NAME.")
    yield from option_table(Approval, "steps.NAME.approval.")
    yield f"""\
`${{run.id}}`, `${{run.slot}}`, and `${{params.NAME}}` mean what they mean in a job, and so does `${{env.NAME}}` in a
step with `task`. Besides them, the steps of a job know:

| placeholder | value |
|---|---|
| `${{item}}` | the item of a step with `each`, also `${{item.key}}` and `${{item[0]}}` |
| `${{steps.NAME.result}}` | the result of another step, also a part of it: `${{steps.NAME.result.key[0]}}` |
| `${{steps.NAME.results}}` | the results of a step with `each`, in the order of its items; null where an item failed |
| `${{steps.NAME.state}}` | the state in which a step ended: `SUCCESS`, `FAILURE`, or `REVOKED` |

A step can name another one only if it needs it, directly or indirectly. It can use a result only if that step has
certainly run: not if it may have been skipped by its `if`, or may have failed. `if`, `each`, and `params` are resolved
before the step starts, without the environment of a worker. A step may name a job that has steps itself, up to
{MOST_LEVELS} flows one inside the other, and no circle.

## params

A submitter may give the declared params and no other. A job without `params` takes none. Each one is a JSON Schema
(2020-12) without references, and these two:

- `required: true`: a submission without it is refused. A param without `required` and `default` may be left out; the
  function must have a default of its own then.
- `default`: filled in when the param is not given.

A keyword with null takes away what was inherited from `defaults`; where nothing was, it is an error.

On the command line `-p NAME=VALUE` reads the value as the declared type. Types: {", ".join(f"`{t}`" for t in TYPES)}.
Formats: {", ".join(f"`{f}`" for f in FORMATS)}. Keywords: {", ".join(f"`{k}`" for k in PARAM_KEYWORDS)}.

`pattern`, and the keys of `patternProperties`, are matched by [RE2](https://github.com/google/re2/wiki/Syntax) in
linear time, so that no value can stop a worker or the web server. It has no lookaround, backreferences, or possessive
quantifiers; `\\d`, `\\w`, and `\\s` mean ASCII, and `$` is the very end. A pattern may have 1,000 characters, a text
that is matched 65,536; less if counts such as `{{1000}}` make the pattern large.

```yaml
jobs:
  export:
    task: reports.export:run
    params:
      day: {{type: string, format: date, required: true, description: Day to export}}
      region: {{type: string, enum: [eu, us], default: eu}}
      limit: {{type: integer, minimum: 1, default: 100}}
```

"""
    later = [name for name, told in JOB_ALIASES.items() if "not in this version" in told]
    if not later:
        return
    yield "## Not in this version\n\n"
    yield "These are refused, and not ignored: " + ", ".join(f"`{name}`" for name in sorted(later)) + ".\n"


def settings_page() -> str:
    """Return the page about runner.yaml."""
    return "".join(_settings_page())


def _settings_page() -> Iterator[str]:
    yield _NOTE
    yield f"""\
# runner.yaml

The file is optional: a folder with `jobs.d` is a project too. Paths in it are relative to its folder. Top-level keys
that begin with `x-` are ignored. `runner schema runner` prints the same rules as a JSON Schema for editors.

```yaml
redis_url: embedded
timezone: Europe/Berlin
python_path: [.]
worker: {{concurrency: 8, queues: [default, reports]}}
```

{_VALUES}
## Options

"""
    yield from option_table(Settings)
    for key, value_type in sections(Settings):
        yield f"## {key}\n\n"
        yield from option_table(value_type.cls, f"{key}.")
        for inner, nested in sections(value_type.cls):
            yield from option_table(nested.cls, f"{key}.{inner}.")
    yield """\
## redis_url

| value | means |
|---|---|
| `embedded` | a [private server](../explanation/embedded-server.md) of this project |
| `redis://[USER:PASSWORD@]HOST:PORT/DB` | Redis 7.0, Valkey 8 or newer over TCP |
| `rediss://…` | the same with TLS |
| `unix:///PATH?db=0`, `redis+socket:///PATH?virtual_host=0` | over a Unix socket |
| `sentinel://[USER:PASSWORD@]HOST:26379,HOST:26379/PRIMARY[/DB]` | the primary of that name, as Sentinels say; \
`?sentinel_password=` is for them |
| `env:NAME` | the URL is in this environment variable; unset, it is an error |
| `file:PATH` | the URL is in this file |

Redis Cluster is [refused](../explanation/redis-cluster.md).

## broker_url

| value | means |
|---|---|
| absent, or the same as `redis_url` | Redis tells workers of waiting runs |
| `amqp://USER:PASSWORD@HOST:5672/VHOST` | [RabbitMQ](../explanation/rabbitmq.md) does so; without a \
login `guest`, without a virtual host `/` |
| `amqps://…?cacertfile=FILE&certfile=FILE&keyfile=FILE` | the same with TLS; the certificate is checked \
unless `verify=verify_none` |
| `amqp://…;amqp://…` | several servers of one cluster, tried in this order |
| `env:NAME`, `file:PATH` | as for `redis_url` |

Another Redis than that of `redis_url` is refused.

## archive_url

Finished runs are [copied to this database](../how-to/archive.md). It needs the extra `archive`.

| value | means |
|---|---|
| `sqlite:///FILE` | a file of SQLite; its path is relative to the project. Four slashes begin an absolute path |
| `postgresql://[USER:PASSWORD@]HOST[:PORT]/DATABASE[?OPTION=VALUE]` | PostgreSQL 13 or newer; options are those of \
libpq, such as `sslmode=verify-full` |
| `postgresql:///DATABASE?host=/run/postgresql` | over a Unix socket |
| `env:NAME`, `file:PATH` | as for `redis_url` |

## Environment variables

They override the file. Lists are written with commas, lists of folders with colons.

| variable | option |
|---|---|
"""
    for name, path, _ in variables(Settings):
        yield f"| `{name}` | `{'.'.join(path)}` |\n"
    yield "| `RUNNER_PROJECT` | the project's folder, as `--project` says it |\n"
    yield "| `RUNNER_EMBEDDED` | `0` forbids the embedded server |\n"
    yield "| `RUNNER_ENV` | `prod` merges `runner.prod.yaml` over `runner.yaml` |\n\n"
    yield """\
## celery

Settings of Celery pass through by their lower-case names. Those that the runner's promises depend on are refused by
name, with what to do instead:

| setting | why, and what to do instead |
|---|---|
"""
    for name, remedy in OWNED.items():
        yield f"| `{name}` | {cell(remedy)} |\n"
    yield """
So are all of these families: `broker_…`, `redis_…`, `result_…`, `security_…`, `beat_…`, and the settings of other
result stores.
"""


def cli_page() -> str:
    """Return the page about the commands."""
    return "".join(_cli_page())


def _cli_page() -> Iterator[str]:
    yield _NOTE
    yield """\
# Commands

stdout carries data, stderr everything else. `--project DIR` stands before or after the verb; `-h` works everywhere.
[Exit codes](exit-codes.md) have a page of their own.

An ID is a full id, a prefix of 8 or more characters that fits one run, or, for commands that only read, `@JOB`: the
latest run of that job.

Several ids: each is dealt with, and of their exit codes the first of 70, 69, 2, 4, 1, 5, 3, 124 counts.

"""
    for heading, commands in GROUPS.items():
        yield f"| {heading} | |\n|---|---|\n"
        for name, line in commands.items():
            yield f"| [`{name}`](#runner-{name}) | {cell(line)} |\n"
        yield "\n"
    ctx = click.Context(root, info_name="runner", **root.context_settings)
    yield "## runner\n\n"
    yield from _options(root, ctx)
    for name in COMMANDS:
        command = root.get_command(ctx, name)
        assert command is not None
        yield from _command(name, command, click.Context(command, info_name=name, parent=ctx))


def _command(name: str, command: click.Command, ctx: click.Context) -> Iterator[str]:
    usage = " ".join([f"runner {name}", *command.collect_usage_pieces(ctx)])
    # Some versions of Click write brackets twice around optional choices.
    usage = usage.replace("[[", "[").replace("]]", "]")
    yield f"## runner {name}\n\n```text\n{usage}\n```\n\n"
    paragraphs = (command.help or "").split("\n\n")
    yield "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs) + "\n\n"
    yield from _options(command, ctx)
    if isinstance(command, WithExample):
        yield f"```sh\n{command.example}\n```\n\n"


def _options(command: click.Command, ctx: click.Context) -> Iterator[str]:
    yield "| option | what it does |\n|---|---|\n"
    for param in command.get_params(ctx):
        if not isinstance(param, click.Option) or param.hidden:
            continue
        # Long ones first: versions of Click differ in the order of --help and -h.
        every = sorted([*param.opts, *param.secondary_opts], key=lambda name: not name.startswith("--"))
        names = ", ".join(f"`{name}`" for name in every)
        told = param.help or ""
        if not param.is_flag and not param.count:
            names += f" {cell(_metavar(param))}"
        if isinstance(param.type, WholeNumber):
            told += f" {param.type.minimum} to {param.type.maximum}."
        if param.show_default and param.default is not None:
            told += f" Default: `{param.default}`."
        yield f"| {names} | {cell(told)} |\n"
    yield "\n"


def _metavar(param: click.Option) -> str:
    if param.metavar:
        return param.metavar
    if isinstance(param.type, click.Choice):
        return "|".join(str(choice).lower() for choice in param.type.choices)
    if isinstance(param.type, DurationType):
        return "DURATION"
    return param.type.name.upper()


def asking_page() -> str:
    """Return the page about options of a submission, and filters of runs."""
    return "".join(_asking_page())


def _asking_page() -> Iterator[str]:
    yield _NOTE
    yield """\
# Options of a submission, and filters of runs

The command line, the REST API, the dashboard, and the Python API take the same options and filters, check them in the
same way, and refuse a wrong value with the same words. The names are those of the command line, except that Python says
`delay` for `in`. The REST API still accepts former names; use only one of the two.

## Options of a submission

`runner submit` takes them as options, `POST /api/v1/jobs/JOB/runs` in its JSON body beside `params`, and
`runner.submit()` as keywords. With `--params-file`, and in `runner.submit_many()`, they hold for all runs of the batch;
a key names one run, so `--key-from` or `key_from` takes its place. The REST API also takes the key as the header
`Idempotency-Key`.

"""
    yield from _asking_table(SubmitOptions)
    yield """\
In Python, durations are seconds or such a text, and `at` is an aware `datetime` or a text. A `datetime` that has passed
means now; a text that is in the past is refused.

## Filters of runs

`runner runs` takes them as options, `GET /api/v1/runs` and the address of the dashboard's list in their query, and
`runner.get_runs()` as keywords. Filters may be combined. In Python, `since` and `until` are aware `datetime`s or texts,
and `state` is one name or a list of them.

"""
    yield from _asking_table(RunQuery)


def _asking_table(cls: type) -> Iterator[str]:
    yield "| command line | REST | Python | value | what it does |\n|---|---|---|---|---|\n"
    for declared in options_of(cls):
        names = f"`{declared.key}`" + "".join(f", formerly `{name}`" for name in declared.former)
        value = cell(value_words(declared.type))
        default = f" Default: `{declared.default}`." if declared.default else ""
        yield f"| `--{declared.key}` | {names} | `{declared.field}` | {value} | {cell(declared.help)}{default} |\n"
    yield "\n"


PAGES: Mapping[str, Any] = {
    "jobs.md": jobs_page,
    "settings.md": settings_page,
    "cli.md": cli_page,
    "submit-and-filter.md": asking_page,
}


def stale() -> list[str]:
    """Return the names of pages that are not what the code says now."""
    return [name for name, page in PAGES.items() if not _is_written(REFERENCE / name, page())]


def _is_written(path: Path, text: str) -> bool:
    return path.exists() and path.read_text("utf-8") == text


def main(arguments: list[str]) -> int:
    """Write or check the pages; return the exit code."""
    if arguments == ["--check"]:
        old = stale()
        if old:
            sys.stderr.write(f"stale: {json.dumps(old)}\nhint: make docs\n")
        return 1 if old else 0
    if arguments:
        sys.stderr.write("usage: python docs/generate.py [--check]\n")
        return 2
    REFERENCE.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
