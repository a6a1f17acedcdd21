"""``runner plan``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from runner.cli.terminal.group import verb
from runner.cli.terminal.moments import show_moment
from runner.cli.terminal.opening import open_project
from runner.cli.terminal.options import json_option, utc_option
from runner.cli.terminal.output import Output
from runner.cli.terminal.run_text import one_line
from runner.model.plural import things
from runner.model.run import to_timestamp

if TYPE_CHECKING:
    from runner.actions.plan import OptionChange, Plan

CHANGES = 1
INVALID = 2


@verb(example="runner plan\nrunner plan --json")
@json_option
@utc_option
def command(as_json: bool, utc: bool) -> int:
    """Compare the job files here with the jobs that workers run. Nothing is changed.

    Shows added (+), changed (~), and removed (-) jobs, changed options, moved schedules, waiting runs that were
    submitted under an older version of their job, workers that have not loaded the latest files, and jobs with unsafe:
    true. The exit code is 0 if nothing differs, 1 if something does, and 2 if the files here have problems.
    """
    from runner.actions.plan import plan  # start-up time: --help reads no settings

    project = open_project()
    out = Output(as_json=as_json, utc=utc)
    found = plan(project)
    if as_json:
        out.document(found.document())
    else:
        _show(out, found)
    if found.problems:
        return INVALID
    return CHANGES if found.differs else 0


def _show(out: Output, found: Plan) -> None:
    from runner.yaml_reader.problem import summary  # start-up time: --help reads no jobs

    for name in found.added:
        out.data(f"+ {name}")
    for name, changes in found.changed.items():
        out.data(f"~ {name}")
        for change in changes:
            out.data(f"    {_change(change)}")
    for name in found.removed:
        out.data(f"- {name}")
    for moved in found.schedules:
        out.data(f"schedule of {moved.job}:")
        for what, slots in (("before", moved.before), ("after", moved.after)):
            shown = ", ".join(show_moment(to_timestamp(slot), utc=out.utc) for slot in slots)
            out.data(f"    next runs {what}: {shown or 'none'}")
        for left_out in moved.skipped:
            slot, until = (show_moment(to_timestamp(moment), utc=out.utc) for moment in (left_out.slot, left_out.until))
            out.data(f"    left out: {slot}, until {until}: {one_line(left_out.reason)}")
    for name, count in found.queued.items():
        out.data(f"waiting under another spec: {count} of {name}")
    for worker in found.workers:
        if worker["behind"]:
            out.data(f"behind: {worker['name']}: {one_line(worker['behind'])}")
    for name in found.unsafe:
        out.data(f"unsafe: {name}: runner validate says what its submitters can choose")
    for problem in found.problems:
        out.note(str(problem))
    if found.problems:
        out.note(f"{summary(found.problems)}; jobs with problems are left out above")
    if not found.workers:
        out.note("no worker is alive, so every job here is new to the fleet")
    elif not found.differs:
        out.note(f"no changes: {things(len(found.workers), 'worker')}")


def _change(change: OptionChange) -> str:
    section, _, step = change.option.partition(".")
    if section == "steps" and "." not in step and (change.before is None or change.after is None):
        return f"- step {step}" if change.after is None else f"+ step {step}"
    return f"{change.option}: {_value(change.before)} -> {_value(change.after)}"


def _value(value: Any) -> str:
    return "default" if value is None else one_line(json.dumps(value, ensure_ascii=False), 100)
