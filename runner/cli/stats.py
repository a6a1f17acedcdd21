"""``runner stats``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from runner.cli.terminal.declared import asked_for, declared_options
from runner.cli.terminal.group import verb
from runner.cli.terminal.moments import show_moment, show_seconds
from runner.cli.terminal.opening import open_projects
from runner.cli.terminal.options import JOB, in_one_form, json_option, jsonl_option, utc_option
from runner.cli.terminal.output import Output, table
from runner.cli.terminal.run_text import aligned
from runner.cli.terminal.several_projects import Shown
from runner.model.run import to_timestamp
from runner.model.run_query import Reading

if TYPE_CHECKING:
    from runner.actions.stats import Stats

BARS = "▁▂▃▄▅▆▇█"
PLAIN_BARS = ".:-=+*#@"


@verb(example="runner stats\nrunner stats nightly-report --json")
@click.argument("job", required=False, type=JOB)
@declared_options(Reading)
@json_option
@jsonl_option
@utc_option
def command(asked: dict[str, object], job: str | None, as_json: bool, jsonl: bool, utc: bool) -> int:
    """Show the number of runs of a job or of all jobs, the success rate, and the wait and run times.

    A flow has a row for each of its steps. That of a step that is another job counts the runs of that job in all flows.

    Only runs that retention keeps are counted, and those in the archive if there is one. p50 and p95 are percentiles:
    50 or 95 percent of the last runs took this long or less.
    """
    from runner.actions.stats import stats  # start-up time: --help reads no settings

    in_one_form(json=as_json, jsonl=jsonl)
    out = Output(as_json=as_json or jsonl, utc=utc)
    shown = Shown(out, open_projects())
    archived = asked_for(Reading, shown.projects.first, asked).archived
    read = shown.read(lambda project: stats(project, job, archived=archived))
    found = [(of, each) for of in read for each in of.value]
    if jsonl:
        out.lines(shown.document(of, each.document()) for of, each in found)
    elif as_json:
        single = job is not None and not shown.projects.several
        out.documents([shown.document(of, each.document()) for of, each in found], single=single)
    elif job is not None:
        for number, (of, each) in enumerate(found):
            shown.title(of, first=number == 0)
            _show(out, each)
            _show_steps(out, each)
    elif found:
        headings = (*shown.heading, "JOB", "RUNS", "ACTIVE", "SUCCESS", "WAIT P95", "RUN P50", "RUN P95", "LAST DAYS")
        table(out, headings, [(*shown.cell(of), *_row(each)) for of, each in found], {})
    else:
        out.note("no jobs")
    return shown.code


def _show_steps(out: Output, found: Stats) -> None:
    if found.steps:
        out.data("")
        columns = ("STEP", "JOB", "RUNS", "ACTIVE", "SUCCESS", "WAIT P95", "RUN P50", "RUN P95", "LAST DAYS")
        table(out, columns, [(each.step or "", *_row(each)) for each in found.steps], {})


def _row(each: Stats) -> tuple[str, ...]:
    times = (_seconds(each.wait(0.95)), _seconds(each.duration(0.5)), _seconds(each.duration(0.95)))
    return (each.tally.job, str(each.runs), str(each.active), _rate(each), *times, _days(each))


def _show(out: Output, each: Stats) -> None:
    counts = ", ".join(f"{count} {state}" for state, count in each.tally.counts.items() if count)
    rows = [
        ("job", each.tally.job),
        ("runs", f"{each.runs}" + (f": {counts}" if counts else "")),
        ("success", _rate(each)),
        ("last success", show_moment(to_timestamp(each.tally.last_success), utc=out.utc)),
        ("wait", _pair(each.wait(0.5), each.wait(0.95))),
        ("run", _pair(each.duration(0.5), each.duration(0.95))),
        ("sampled", f"the last {len(each.tally.durations)} that ended"),
        ("last days", f"{_days(each)}  {each.dates[0]} to {each.dates[-1]}"),
    ]
    for line in aligned([(name, text) for name, text in rows if text]):
        out.data(line)


def _rate(each: Stats) -> str:
    rate = each.success_rate
    if rate is None:
        return ""
    # Rounded down: 100 % is said of nothing that ever failed.
    return f"{int(rate * 1000) / 10:g} %"


def _seconds(value: float | None) -> str:
    return "" if value is None else show_seconds(value)


def _pair(middle: float | None, most: float | None) -> str:
    return "" if middle is None else f"p50 {_seconds(middle)}, p95 {_seconds(most)}"


def _days(each: Stats) -> str:
    return sparkline([sum(day) for day in each.tally.days])


def sparkline(values: Sequence[int]) -> str:
    """Return a bar for each value; a space for none at all."""
    utf8 = (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "") == "utf8"
    bars, most = BARS if utf8 else PLAIN_BARS, max(values, default=0)
    return "".join(bars[(value * len(bars) - 1) // most] if value else " " for value in values)
