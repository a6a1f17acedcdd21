"""Apply the remedy of a problem to a file, as a reader of the message would.

:data:`RULES` changes the parsed file, :data:`TEXT_RULES` the text of one that cannot be parsed. A remedy that no rule
matches fails the test: either it is new, or it does not say what to do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from runner.model.duration import format_duration, parse_duration
from runner.yaml_reader.problem import Problem, show_path
from runner.yaml_reader.reader import read_text

Keys = tuple[str | int, ...]


def path_of(root: Any, shown: str) -> Keys:
    """Return the path that a problem shows as ``jobs.x.tags[1]``; names may have dots."""
    return next((keys for keys in _paths(root) if show_path(keys) == shown), ())


def _paths(value: Any, path: Keys = ()) -> Iterator[Keys]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _paths(item, (*path, key))


@dataclass
class Edit:
    """A copy of a file that a remedy changes."""

    root: Any
    path: Keys

    def get(self, path: Keys) -> Any:
        value = self.root
        for key in path:
            value = value[key]
        return value

    @property
    def here(self) -> Any:
        return self.get(self.path)

    @property
    def job(self) -> Any:
        return self.get(self.path[:2])

    @property
    def step(self) -> Any:
        return self.get(self.path[:4])

    @property
    def parent(self) -> Any:
        return self.get(self.path[:-1])

    def write(self, value: Any) -> None:
        if self.path:
            self.parent[self.path[-1]] = value
        else:
            self.root = value

    def remove(self) -> None:
        self.parent.pop(self.path[-1])

    def add(self, text: str, to: dict[str, Any]) -> None:
        for key, value in parsed(f"{{{text}}}").items():
            if isinstance(value, dict) and isinstance(to.get(key), dict):
                to[key].update(value)
            else:
                to[key] = value

    def replace(self, old: str, new: str) -> None:
        self.write(self.here.replace(old, new))


def parsed(text: str) -> Any:
    """Return the value of a piece of YAML."""
    return read_text(text, "remedy").value


def placeholder(edit: Edit) -> str:
    """Return the placeholder that the value has."""
    found = re.search(r"\$\{[^}]*\}?", str(edit.here))
    assert found is not None, edit.here
    return found[0]


Rule = Callable[[Edit, re.Match[str]], None]


def wrote(*values: Any) -> list[Rule]:
    return [lambda edit, _, value=value: edit.write(value) for value in values]  # type: ignore[misc]


def _swap(edit: Edit, found: re.Match[str]) -> None:
    low, high = ("start", "end") if edit.path[-1] == "end" else ("minimum", "maximum")
    edit.parent[low], edit.parent[high] = edit.parent[high], edit.parent[low]


def _reuse_steps(edit: Edit, found: re.Match[str]) -> None:
    step = edit.parent
    step.update(task="a.b:c")
    del step["job"]
    assert found[1] in edit.root["jobs"]


def _into_a_step(edit: Edit, found: re.Match[str]) -> None:
    key = str(edit.path[-1])
    edit.job["steps"]["moved"] = {"task": "a.b:c", key: edit.here, **({"timeout": "1h"} if "timeout" in key else {})}
    edit.remove()


def _step_of_its_own(edit: Edit, found: re.Match[str]) -> None:
    key = str(edit.path[-1])
    edit.job["steps"]["of-its-own"] = {key: edit.here}
    edit.remove()


def _as_keys(edit: Edit, found: re.Match[str]) -> None:
    edit.write({f"step-{number}": {"task": "a.b:c"} for number, _ in enumerate(edit.here)})


def _declare_param(edit: Edit, found: re.Match[str]) -> None:
    name = re.search(r"\$\{params\.(\w+)", str(edit.here))
    edit.job.setdefault("params", {})[name[1] if name else str(edit.path[-1])] = {}


def _rename(edit: Edit, found: re.Match[str]) -> None:
    edit.parent["renamed"] = edit.parent.pop(edit.path[-1])


def _unsafe(edit: Edit, found: re.Match[str]) -> None:
    edit.job["unsafe"] = True


def _to_kwargs(edit: Edit, found: re.Match[str]) -> None:
    edit.step.setdefault("kwargs", {})["moved"] = placeholder(edit)
    edit.remove()


def _add_to(edit: Edit, found: re.Match[str]) -> None:
    to = edit.root["jobs"].get(found[2], edit.job)
    edit.add(found[1], to)


def _add_needs(edit: Edit, found: re.Match[str]) -> None:
    edit.step.setdefault("needs", []).extend(found[1].split(", "))


def _default_for(edit: Edit, found: re.Match[str]) -> None:
    for job in edit.root["jobs"].values():
        if found[1] in job.get("params", {}):
            job["params"][found[1]] = {"type": "string"}


def _shorter(edit: Edit, found: re.Match[str]) -> None:
    edit.write(format_duration(parse_duration(found[1]) / 2))


def _after_dashes(edit: Edit, found: re.Match[str]) -> None:
    edit.parent.insert(edit.path[-1], "--")


def _by_variable(edit: Edit, found: re.Match[str]) -> None:
    name, text = found[1], found[2]
    task = edit.step if edit.path[2] == "steps" else edit.job
    task.setdefault("env", {})[name] = text
    edit.replace(text, f"${name}" if edit.path[-1] == "script" else "fixed")


def _move_option(edit: Edit, found: re.Match[str]) -> None:
    edit.root["jobs"][found[1]][str(edit.path[-1])] = edit.here
    edit.remove()


_ID = "${run.id}"
_DAY = "${run.slot.date}"


def _first(e: Edit, f: re.Match[str]) -> None:
    if e.path[-1:] == ("to",):
        e.parent.setdefault("from", "22:00")  # midnight alone would be an empty window
    e.write(parsed(f[1]))


def _second(e: Edit, f: re.Match[str]) -> None:
    e.write(parsed(f[2]))


def _remove(e: Edit, f: re.Match[str]) -> None:
    e.remove()


def _required_keys(e: Edit, f: re.Match[str]) -> None:
    e.add(f"allOf: {f[1]}", e.parent)
    e.remove()


def _under_jobs(e: Edit, f: re.Match[str]) -> None:
    e.root["jobs"] = {e.path[0]: {"task": "a.b:c"}}
    e.remove()


def _close(e: Edit, f: re.Match[str]) -> None:
    e.write(_ID if "key" in e.path else "${params.day}" if "params" in e.here else _DAY)


def _use_param_of_slot(e: Edit, f: re.Match[str]) -> None:
    e.job.setdefault("params", {})["day"] = {}
    e.write("${params.day}")


def _boolean(e: Edit, f: re.Match[str]) -> None:
    e.job["params"]["name"] = {"type": "boolean"}
    e.write("${params.name}")


def _whole_days(e: Edit, f: re.Match[str]) -> None:
    window = e.parent
    e.remove()
    del window["from"]
    window["days"] = ["sat"]


def _same_if(e: Edit, f: re.Match[str]) -> None:
    if e.path[-1] == "if":
        e.remove()
    else:
        e.write(f[1])


def _schedule_params(e: Edit, f: re.Match[str]) -> None:
    schedule = e.here if isinstance(e.here, dict) else {"cron": e.here}
    e.write({**schedule, "params": {"day": _DAY}})


def _no_longer_required(e: Edit, f: re.Match[str]) -> None:
    e.job["params"]["day"] = {"default": None}


def _add_here(e: Edit, f: re.Match[str]) -> None:
    if isinstance(e.here, dict):
        e.add(f[1], e.here)
    else:
        e.write(parsed(f"{{{f[1]}}}"))


def _add_job(e: Edit, f: re.Match[str]) -> None:
    e.root["jobs"][e.here] = {"task": "a.b:c"}


def _flag(e: Edit, f: re.Match[str]) -> None:
    e.job.setdefault("params", {})["flag"] = {"type": "boolean"}
    e.write("${params.flag}")


def _correct(e: Edit, f: re.Match[str]) -> None:
    if e.path[-2] == "params":
        _remove(e, f)
    else:
        e.write("[a-z]+")


def _another_value(e: Edit, f: re.Match[str]) -> None:
    if e.path[-1] == "day":
        e.write("2026-11-24")
    else:
        _remove(e, f)


def _elsewhere(e: Edit, f: re.Match[str]) -> None:
    if e.path[-1] == "job":
        e.parent["task"] = "a.b:c"
    _remove(e, f)


def _approval(e: Edit, f: re.Match[str]) -> None:
    e.step["approval"] = parsed(f[1])
    e.remove()


def _safe_name(e: Edit, f: re.Match[str]) -> None:
    e.parent[f[1]] = e.here
    e.remove()


def _move_below_job(edit: Edit, _: re.Match[str]) -> None:
    value = edit.here
    edit.remove()
    next(iter(edit.parent.values()))[edit.path[-1]] = value


def _as_nested(e: Edit, f: re.Match[str]) -> None:
    e.remove()
    e.add(f[1].replace(" and kwargs: ", ", kwargs: "), e.parent)


def _under(e: Edit, f: re.Match[str]) -> None:
    to = e.parent
    e.remove()
    for key in f[2].split("."):
        to = to.setdefault(key, {})
    e.add(f[1], to)


RULES: list[tuple[str, list[Rule]]] = [
    (r"write (\w+: (?!.*, or ).*) under ([\w.]+)", [_under]),
    (r"write ((?:task|kwargs|retry|schedule|hooks|concurrency|retention|worker|defaults): [^…]*)", [_as_nested]),
    (r"indent it below the name of its job", [_move_below_job]),
    # What to write, with every choice that the remedy offers
    (r"write (\S+) to (\S+)", [_first, _second]),
    (r"write (\S+) or (?:more|less)", [_first]),
    (r"write less than (\S+)", [_shorter]),
    (r"write a shorter duration", wrote("1d")),
    (r"write one, or remove it", [*wrote(5), _remove]),
    (r"write true or false", wrote(True, False)),
    (r'write \[one, two\](?:, or one placeholder such as "(.*)")?', wrote(["one", "two"])),
    (r"use a placeholder for one, such as .*", wrote(["one"])),
    (r'write one such as "\$\{steps.check.result.ok\}", .*', [_flag]),
    (r"write env:NAME, file:PATH, or exec:COMMAND, .*", wrote("env:NAME", "file:/run/secret", "exec:pass show x")),
    (r"write env:NAME or file:PATH, .*", wrote("env:NAME", "file:/run/secret")),
    (r"write (\[.*\]|\{.*\})", [_first]),
    (r'write one (?:such as|in quotes, such as) (\[.*\]|\{.*\}|[0-9-]+|".*"|\S+)', [_first]),
    (r"write the path of one file", wrote(".env")),
    (r"write (?:the path of files|module:attribute|a time), ?(?:such as)? (\S+)", [_first]),
    (r"write a time such as (\S+)", wrote("@daily")),
    (r"write the path itself", wrote("inbox/*.csv")),
    (r"write a date such as (\S+), calendar:NAME, or (\{.*\})", [_first, _second]),
    (r"write minute hour day-of-month month day-of-week, such as .*", wrote("0 2 * * *", "@daily")),
    (r"write (cron: \".*\") or (every: \S+)", [_add_here, lambda e, f: e.add(f[2], e.here)]),
    (r"write @hourly, @daily, @weekly, @monthly, or @yearly", wrote("@hourly", "@yearly")),
    (r"write [0-9]+ to .*, a range \(low first\), a list, or \* with a step", wrote("1 1 1 1 1", "*/5 1-2 1,2 */2 *")),
    (r"write another day", wrote("0 0 1 2 *")),
    (r"write a later time", wrote("2030-01-01")),
    (r"write a smaller one", wrote("${run.slot.date - 1d}")),
    (r"write a number with a unit, such as .*", wrote("90s", "15m", "1h30m", "2d")),
    (r"write 2026-11-24, 2026-11-24T02:00, or (.*)", [*wrote("2026-11-24", "2026-11-24T02:00"), _first]),
    (r"write a field of the body such as .*", wrote("repository.full_name", "commits.0.id", "header:X-A", ".")),
    (r"write params: (.*) in (\S+)", [lambda e, f: e.add(f"params: {f[1]}", e.root["jobs"][f[2]])]),
    (r"write (params: \{.*\})", [lambda e, f: e.add(f[1], e.job)]),
    (r"write allOf: (\[.*\]) for keys that an object must have", [_required_keys]),
    (r"write the schema here, or repeat it with a YAML anchor", [_remove]),
    (r"write jobs: above, and indent the job", [_under_jobs]),
    (r"write a name, a colon, and the options indented below", wrote({"a": {"task": "a.b:c"}})),
    (r'write "\$RUN_ID", or set unsafe: true', [lambda e, _: e.replace(_ID, "$RUN_ID"), _unsafe]),
    (r"write a literal value, or set unsafe: true", [*wrote("literal"), _unsafe]),
    # Placeholders
    (r"write \} after the name; .*", [_close]),
    (r".*write \$\$\{ for a literal \$\{", [lambda e, _: e.write(str(e.here).replace("${", "$${"))]),
    (r"write (\$\{.*\}), (\$\{.*\}), or (\$\{.*\})", [_second]),
    (r"write \$\{run.slot \| FORMAT\}", wrote("${run.slot | %Y}")),
    (r"write one such as %Y%m%d after the \|, or remove the \|", wrote("${run.slot | %Y%m%d}", "${run.slot}")),
    (r"use one of (%.*)", wrote("${run.slot | %Y}")),
    (r"write 1d, or use one of m h d w mo y", wrote("${run.slot - 1d}")),
    (r"use one of m h d w mo y", wrote("${run.slot - 1mo}")),
    (r"use (\$\{.*\}) or (\$\{.*\})", [lambda e, f: e.write(f[1]), lambda e, f: e.write(f[2])]),
    (r"use (\$\{.*\})(?:, or remove when)?", [lambda e, f: e.replace(placeholder(e), f[1])]),
    (r"use a format, such as (.*)", [lambda e, f: e.write(f[1])]),
    (r"use it in kwargs, env, or params", [_to_kwargs]),
    (r"use it in kwargs or env of a step with task, or .*", [lambda e, _: e.replace(placeholder(e), _ID)]),
    (r"use it below steps, or remove it|use a step listed under needs", [_remove]),
    (r"use one of load, check, or add the step", [lambda e, _: e.job["steps"].update(zzz={"task": "a.b:c"})]),
    (r"declare a param, and set it in schedule.params", [_use_param_of_slot]),
    (r"remove it, and read the variable in the job", [_remove]),
    (r"let the step return true or false, or declare type: boolean", [_boolean]),
    # What to remove
    (r"remove (?:it, or another part of the circle|it|one|one of (?:them|the two)(?:, or .*)?)", [_remove]),
    (r"remove it, or (?:add each|write the hook under failure or recovered)", [_remove]),
    (r"use another header, or remove it|add (?:each|needs), or remove it", [_remove]),
    (r"remove required or default", [_remove, lambda e, _: e.parent.pop("default")]),
    (r"remove both for whole days", [_whole_days]),
    (r"remove result: drop from (\S+)", [lambda e, f: e.job["steps"][f[1]].pop("result")]),
    (r"remove may_fail from (\S+), or use .*", [lambda e, f: e.job["steps"][f[1]].pop("may_fail")]),
    (r"(?:remove that if|add if: .* to this step), or use (\$\{.*\})", [_same_if]),
    # What to add
    (r"add task: module:attribute, job: NAME, or approval: \{\}", [lambda e, _: e.here.update(approval={})]),
    (r"add from and to, such as (\{.*\}), or days", [lambda e, f: e.here.update(parsed(f[1]))]),
    (r"add (\S+: [^…]*) to (?:the )?(job|hooks-\S+)", [_add_to]),
    (r"add params: \{day: …\} to the step", [lambda e, _: e.step.update(params={"day": "2026-11-24"})]),
    (r"add params: \{day: …\} to the schedule, or give day a default", [_schedule_params, _no_longer_required]),
    (r"add calendars: .* to runner.yaml, and write calendar:NAME", wrote("calendar:name")),
    (r"add day to its params", [lambda e, _: e.here.setdefault("params", {}).update(day="ref")]),
    (r"add ([a-z, ]+) to needs", [_add_needs]),
    (r"add it, or (?:use task|remove this requirement)", [_add_job]),
    (r"add (\w+: .*)", [_add_here]),
    (r"give (\w+) a default", [_default_for]),
    (r"declare it under params", [_declare_param]),
    (r"list at least one", wrote(["a"])),
    (r"put it in brackets: \[\{…\}\]", [lambda e, _: e.write([e.here])]),
    # What to move, rename, or correct
    (r"move it into a step", [_into_a_step]),
    (r"move it into a step of its own", [_step_of_its_own]),
    (r"move it into the job (\S+)", [_move_option]),
    (r"move the steps of (\S+) here", [_reuse_steps]),
    (r"rename the param", [_rename]),
    (r"swap or correct them", [_swap]),
    (r"change one of them|correct the default or the schema", [_remove]),
    (r"correct it", [_correct]),
    (r"correct the item or the placeholder", wrote("${item}")),
    (r"use another value", [_another_value]),
    (r"use the name of each step as its key, such as .*", [_as_keys]),
    (r"use params for the params of (\S+)|use kwargs|use it under needs", [_elsewhere]),
    (r"use approval: (\{.*\})", [_approval]),
    (r"use hooks: (\{.*\}) for jobs to submit", [_remove]),
    (r"use (?:one of|1 to|letters,) .*", [_rename]),
    (r"name an exception class, such as (\S+) or (\S+)", [_first, _second]),
    (r"quote arguments as for a shell", wrote("exec:pass show 'a b'")),
    # Values of a submitter
    (r'set env: \{(\w+): "(.*)"\} and write "\$\w+", or set unsafe: true', [_by_variable, _unsafe]),
    (
        r'write it after a "--", or set env: \{(\w+): "(.*)"\} and use that variable, or set unsafe: true',
        [_after_dashes, _by_variable, _unsafe],
    ),
    (r"use a name such as (\w+), or set unsafe: true", [_safe_name, _unsafe]),
    (
        r"use it only after the name of the host, or set unsafe: true",
        [lambda e, _: e.write(f"https://example.org/{placeholder(e)}"), _unsafe],
    ),
]

_X_A = "x-a: &name {queue: a}\n"
TEXT_RULES: list[tuple[str, Callable[[str, Problem], str]]] = [
    (r"remove it or write \\u.* in quotes", lambda text, _: re.sub("[\x00\x07\u2028]", "", text)),
    (r"save (?:it|the file) as UTF-8", lambda text, _: re.sub("\udcff\udcfe|\udcf6|\0", "", text)),
    (r"use fewer of them", lambda text, _: text.replace("*d, ", "").replace("*e, ", "")),
    (r"nest it less", lambda text, _: re.sub(r"\[+\]+", "[[]]", text)),
    (r"move it to another file, or remove the ---", lambda text, problem: _lines_until(text, problem.line - 1)),
    (r"remove it", lambda text, _: re.sub(r"\*k\b", "", text)),
    (r"remove this line", lambda text, problem: _without_line(text, problem.line)),
    (r'quote it: "(?:1|null)"', lambda text, _: re.sub("(1|null): x", r'"\1": x', text)),
    (r"quote it", lambda text, _: text.replace("? [a, b] : x", '"[a, b]": x')),
    (r"write the key itself", lambda text, _: text.replace("*one : ", "one: ")),
    (r"remove one, or merge the two", lambda text, problem: _without_key(text, problem.line)),
    (r"rename one of them", lambda text, problem: _in_line(text, problem.line, "&one", "&two")),
    (r"write <<: \*name", lambda text, problem: _in_line(_X_A + text, problem.line + 1, "reports", "*name")),
    (
        r"merge both with one: <<: \[\*first, \*second\]",
        lambda text, problem: _in_line(_without_line(text, problem.line), problem.line - 1, "*a", "[*a, *b]"),
    ),
    (r'define it, or quote the text: "\*standard"', lambda text, _: "x-a: &standard {max_retries: 5}\n" + text),
    (r"remove that value, or indent by .*", lambda text, _: text.replace("retry: 3", "retry:")),
    (r"begin the file with jobs:", lambda *_: "jobs: {}\n"),
]
"""Changes of the text, for remedies about the syntax of YAML."""


def _lines_until(text: str, number: int) -> str:
    return "\n".join(text.split("\n")[:number])


def _without_key(text: str, number: int) -> str:
    """Return the text without a key and the line below it, if that is indented."""
    key, below = text.split("\n")[number - 1 : number + 1]
    indented = len(below) - len(below.lstrip()) > len(key) - len(key.lstrip())
    return _without_line(_without_line(text, number + 1) if indented else text, number)


def _without_line(text: str, number: int) -> str:
    lines = text.split("\n")
    return "\n".join(lines[: number - 1] + lines[number:])


def _in_line(text: str, number: int, old: str, new: str) -> str:
    lines = text.split("\n")
    lines[number - 1] = lines[number - 1].replace(old, new)
    return "\n".join(lines)


def with_text(problem: Problem, text: str) -> str | None:
    """Return the text after the remedy of a problem, or None if it is not about the text."""
    rules = (rule for pattern, rule in TEXT_RULES if re.fullmatch(pattern, problem.remedy))
    changed = (rule(text, problem) for rule in rules)
    return next((new for new in changed if new != text), None)


def edits(problem: Problem, root: Any) -> list[Callable[[Any], None]]:
    """Return one function for each choice that a problem offers; it changes a parsed file."""
    matching = ((found, rules) for pattern, rules in RULES if (found := re.fullmatch(pattern, problem.remedy)))
    found, rules = next(matching, (None, []))
    if found is None and (found := re.search(r"did you mean (\S+)\?", problem.message)) is not None:
        rules = [_use_name]
    elif found is None and (found := re.match(r"unknown option \(", problem.message)) is not None:
        rules = [_remove]
    path = path_of(root, problem.path)
    return [lambda tree, rule=rule: rule(Edit(tree, path), found) for rule in rules]  # type: ignore[misc]


def _use_name(edit: Edit, found: re.Match[str]) -> None:
    name = found[1]
    if isinstance(edit.parent, list) or name.startswith("${"):
        edit.write(name)
        return
    value, mapping = edit.here, edit.parent
    edit.remove()
    *outer, last = name.split(".")
    for key in outer:
        mapping = mapping.setdefault(key, {})
    mapping[last] = value
