"""The places where a submitter's placeholder may stand: ``${params.NAME}``, ``${run.id}``, ``${run.slot}``.

A placeholder is allowed only where this module says so:

- in an environment variable of a safe name (:mod:`runner.params.variables`), of any job;
- in a command, as a whole argument: after a literal ``--``, or anywhere after the program if the schema of the param
  admits only harmless values (:mod:`runner.params.harmless`). Not where the command names an interpreter or a wrapper
  (:mod:`runner.params.programs`), which would run the value; but the arguments of a literal script may follow a ``--``;
- in a request, where we quote it: in ``json``, as the whole ``body``, and behind the host of ``url``, percent-encoded;
  harmless values in headers;
- in a mail, where its format cannot be broken: in the subject, and harmless values as an address.

The item of a step and the results of other steps count as a submitter's; items that are written out are judged as they
stand. Everything else needs ``unsafe: true`` of the job. A function that runs what it is given, such as ``os.system``
(:mod:`runner.params.code_runners`), takes no placeholders, and no params except numbers and booleans. Other functions
get any value. Pure: decides by the job alone, when files are read and again in each worker.
"""

from __future__ import annotations

import functools
import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from runner._dataclass import dataclass
from runner.model.job import JobSpec
from runner.model.option import Path, Report
from runner.model.param import Param
from runner.model.template import Sources, as_text, expand, is_placeholder, placeholders, render
from runner.params.code_runners import runs_what_it_is_given
from runner.params.harmless import is_harmless, is_number
from runner.params.programs import UNKNOWN, is_code_of_a_shell, takes_arguments, that_runs_arguments, that_runs_next
from runner.params.variables import is_safe_name

_STOCK = "runner.tasks."
_DEEPEST = 100
"""How many layers of decorators and partials are looked behind."""
_PLACEHOLDER = re.compile(r"(\$?)\$\{([^{}]*)\}")
_UNSAFE = "or set unsafe: true"


@dataclass(frozen=True, slots=True)
class Misplaced:
    """A placeholder or param in a place where it is not allowed; ``path`` is below the job."""

    path: Path
    why: str
    waivable: bool = False
    """Whether ``unsafe: true`` allows it."""

    @property
    def message(self) -> str:
        """The fault, and the remedies."""
        return f"{self.why}, {_UNSAFE}" if self.waivable else self.why


class UnsafeValue(ValueError):
    """A value would change another part of a URL than its own."""


class _Found(NamedTuple):
    """A placeholder: where it stands below ``kwargs``, its name, and the text that it stands in."""

    path: Path
    name: str
    text: str

    @property
    def shown(self) -> str:
        return f"${{{self.name}}}"

    @property
    def is_whole(self) -> bool:
        """Whether the text is nothing but this placeholder."""
        return is_placeholder(self.text)

    @property
    def variable(self) -> str:
        """The environment variable in which a command finds the value."""
        root, _, rest = self.name.partition(".")
        if root == "params":
            return f"PARAM_{rest.upper()}"
        return rest if root == "env" else "RUN_" + rest.upper()


Rule = Callable[[JobSpec, _Found], str | None]
"""Returns why a placeholder may not stand in a kwarg of a stock task, or None."""


def judged_name(target: object) -> str | None:
    """Return the name of a function with rules of its own: a stock task, or one that runs what it is given; else None.

    Args:
        target: an import path, or what one leads to: a function, maybe wrapped or in a ``functools.partial``.
    """
    name = target.replace(":", ".") if isinstance(target, str) else _name_behind(target)
    return name if name.startswith(_STOCK) or runs_what_it_is_given(name) else None


def _name_behind(target: object) -> str:
    try:
        for _ in range(_DEEPEST):
            inner = _inside(target)
            if inner is None:
                break
            target = inner
        return f"{getattr(target, '__module__', '')}.{getattr(target, '__qualname__', '')}"
    except Exception:  # noqa: BLE001 - somebody's __getattr__
        return ""


def _inside(target: object) -> object:
    """Return the function inside a partial, a decorated function, or a ``__call__``, or None."""
    if isinstance(target, functools.partial):
        return target.func
    if isinstance(target, types.MethodWrapperType):
        return target.__self__
    return getattr(target, "__wrapped__", None)


def misplaced(job: JobSpec, target: object = None) -> Iterator[Misplaced]:
    """Yield each placeholder and param of ``job`` in a place where it is not allowed.

    Args:
        job: with sound params, kwargs and env.
        target: what its task leads to, where that is known; it may be a stock task under another name.
    """
    judged = judged_name(job.task) or judged_name(target)
    for found in _found(job.kwargs):
        why = _why_not(job, judged, found) if judged is not None else None
        if why is not None:
            yield Misplaced(("kwargs", *found.path), f"{found.shown} {why}", waivable=_is_given(found.name))
    if job.unsafe:
        return
    if judged is not None and judged not in _RULES and job.step is None:  # a step gets none by itself
        for param in job.params.values():
            if not is_number(param):
                yield Misplaced(("params", param.name), _no_param(job, judged, param), waivable=True)
    for variable, text in job.env.items():
        for found in _found(text):
            if _is_given(found.name) and (why := _no_variable(variable)) is not None:
                yield Misplaced(("env", variable), f"{found.shown} {why}", waivable=True)


def admitted(job: JobSpec) -> list[Misplaced]:
    """Return the placeholders of an unsafe job that would be refused without ``unsafe: true``."""
    return list(misplaced(replace(job, unsafe=False)))


def report_misplaced(job: JobSpec, path: Path, report: Report) -> bool:
    """Report each placeholder and param in a place where it is not allowed; return whether there is none."""
    sound = True
    for each in misplaced(job):
        report((*path, *each.path), each.message)
        sound = False
    return sound


def fill_in(job: JobSpec, option: str, sources: Sources, target: object = None) -> Any:
    """Return the value of a kwarg, filled in; in the URL of a stock task, quoted.

    Raises:
        Unset: a variable that ``${env.NAME}`` names is not set.
        UnsafeValue: a value would change more of a URL than its own part.
    """
    value = job.kwargs[option]
    stock = judged_name(job.task) or judged_name(target)
    if option == "url" and stock in _WITH_URL and isinstance(value, str) and not job.unsafe:
        return _fill_in_url(value, sources.look_up)
    filled = expand(value, sources.look_up)
    return _as_texts(value, filled) if (stock, option) in _OF_TEXTS else filled


def _found(value: Any) -> Iterator[_Found]:
    for path, name in placeholders(value):
        text = value
        for step in path:
            text = text[step]
        yield _Found(path, name, text)


def _given_in(text: str) -> Iterator[re.Match[str]]:
    """Yield the placeholders of a text that a submitter influences."""
    return (each for each in _PLACEHOLDER.finditer(text) if not each[1] and _is_given(each[2].strip()))


def _is_given(name: str) -> bool:
    """Whether a submitter influences the value: everything but the worker's own environment."""
    return not name.startswith("env.")


def _is_harmless(job: JobSpec, name: str) -> bool:
    param = _param_of(job, name)
    if param is not None:
        return is_harmless(param)
    # An id has letters, digits, and ._:- alone, a slot is a time, and a state is a word.
    return name in ("run.id", "run.slot") or _STATE.fullmatch(name) is not None


_STATE = re.compile(r"steps\.[a-z0-9_-]+\.state")


def _param_of(job: JobSpec, name: str) -> Param | None:
    """Return the param that a placeholder names, or the item of a step as one."""
    root, _, rest = name.partition(".")
    if root == "params":
        return job.params.get(rest)
    item = job.params.get("item") if root == "item" and job.step is not None else None
    if item is None or not rest:
        return item
    below = item.schema.get("properties", {}).get(rest)
    return None if below is None else Param(rest, below)


def _no_param(job: JobSpec, judged: str, param: Param) -> str:
    if judged.startswith(_STOCK):
        return f"would reach {job.task}, which is not a stock task: use one of the stock tasks"
    instead = f"use task runner.tasks.shell:run, where a program finds it in PARAM_{param.name.upper()}"
    return f"would become code or a command, since {job.task} runs what it is given: {instead}"


def _is_number(job: JobSpec, name: str) -> bool:
    param = _param_of(job, name)
    return param is not None and is_number(param)


def _why_not(job: JobSpec, stock: str, found: _Found) -> str | None:
    if found.path[0] == "script" and stock == "runner.tasks.shell.run" and not _is_given(found.name):
        # Never, not even if the job is unsafe: there is no need.
        return f"would be visible in the list of processes, write ${found.variable}"
    if not _is_given(found.name):
        return _why_no_secret(job, stock, found)
    if job.unsafe:
        return None
    rules = _RULES.get(stock)
    if rules is None and not stock.startswith(_STOCK):
        return f"would become code or a command, since {job.task} runs what it is given: write it out"
    if rules is None:
        return "may not stand here, use the task under its own name"
    rule = rules.get(str(found.path[0]), _nowhere)
    return rule(job, found)


def _why_no_secret(job: JobSpec, stock: str, found: _Found) -> str | None:
    option = (stock, found.path[0])
    in_arguments = option in _ARGUMENTS
    variable = found.name.removeprefix("env.")
    command = job.kwargs.get("command")
    if option == _ARGUMENTS[0] and isinstance(command, list) and is_code_of_a_shell(command, int(found.path[1])):
        return f"would be visible in the list of processes, write ${variable}"
    # By its own name, or by that of the worker's variable that it comes from.
    secret = next(
        (name for name, source in job.secrets.items() if variable in (name, source.removeprefix("env:"))), None
    )
    if in_arguments and secret is not None:
        return f"is a secret, and would be visible in the list of processes; the program finds it in ${secret}"
    return None


def shown_secrets(job: JobSpec) -> Iterator[Misplaced]:
    """Yield each variable of the worker that stands in an argument, and whose name says that it is a secret."""
    stock = judged_name(job.task)
    for found in _found(job.kwargs):
        if (stock, found.path[0]) in _ARGUMENTS and _SECRET.search(found.name) and not _is_given(found.name):
            why = "seems to be a secret, and will be visible in the list of processes: let the program read"
            yield Misplaced(("kwargs", *found.path), f"{found.shown} {why} ${found.variable}")


_SECRET = re.compile(
    r"(?:[._](?:API_?KEY|CREDENTIALS?|PASSW(?:OR)?D|PRIVATE_KEY|SECRET|TOKEN)|_PWD)(?:_|\Z)", re.IGNORECASE
)


def _nowhere(job: JobSpec, found: _Found) -> str | None:  # noqa: ARG001
    return f"would let a submitter choose {found.path[0]}, write it out"


def _everywhere(job: JobSpec, found: _Found) -> str | None:  # noqa: ARG001
    return None


def _in_script(job: JobSpec, found: _Found) -> str | None:
    where = f'write "${found.variable}"'
    if (variable := _to_be_set(job, found)) is not None:
        where = f'set env: {{{variable}: "{found.shown}"}} and write "${variable}"'
    return f"would become code that a submitter writes, {where}"


def _in_stdin(job: JobSpec, found: _Found) -> str | None:
    return f"would become input that a program may run, {_by_variable(job, found)}"


def _by_variable(job: JobSpec, found: _Found) -> str:
    """Return the advice by which variable a program finds a value."""
    variable = _to_be_set(job, found)
    if variable is None:
        return f"use the variable {found.variable}"
    return f'set env: {{{variable}: "{found.shown}"}} and use that variable'


def _to_be_set(job: JobSpec, found: _Found) -> str | None:
    """Return a variable for a value that has none by itself; a step gets what its ``kwargs`` and ``env`` name."""
    if found.name == "run.slot":
        return "SLOT"
    if job.step is None or found.name == "run.id":
        return None
    words = re.findall(r"[A-Za-z0-9_]+", found.name)
    word = words[1] if words[0] in ("params", "steps") else words[-1]
    return word.upper() if is_safe_name(word) else f"JOB_{word.upper()}"


def _in_command(job: JobSpec, found: _Found) -> str | None:
    command = job.kwargs["command"]
    index = found.path[1] if len(found.path) == 2 else None
    if not isinstance(index, int):
        return "would become code that a submitter writes, write a list of arguments"
    if index == 0:
        return "would become code that a submitter writes: it chooses the program, write that out"
    before = command[:index]
    why = _no_argument(job, found, before)
    if (runs := that_runs_arguments(_literals(command))) is not None:
        after_script = "--" in before and takes_arguments(_literals(before[: before.index("--")]))
        if why is not None or not after_script:
            why = f"would become code that a submitter writes: {runs} runs what it is given"
    if why is None and "--" not in before and not _is_number(job, found.name):
        option = that_runs_next(_literals(before))
        why = option and f"would become code that a submitter writes: {option} runs what follows it"
    return None if why is None else f"{why}; {_by_variable(job, found)}"


def _in_args(job: JobSpec, found: _Found) -> str | None:
    index = found.path[1] if len(found.path) == 2 else None
    if not isinstance(index, int):
        return "would let a submitter choose all arguments, write a list"
    why = _no_argument(job, found, job.kwargs["args"][:index])
    return None if why is None else f"{why}; {_by_variable(job, found)}"


def _no_argument(job: JobSpec, found: _Found, before: list[Any]) -> str | None:
    """Return the reason why a placeholder may not be part of a program's argument, or None."""
    if not found.is_whole:
        return "is only a part of an argument, where a program may take it for code; make it an argument of its own"
    if "--" in before or _is_harmless(job, found.name):
        return None
    why = 'may be taken for an option or code: write it after a "--"'
    if not found.name.startswith("params."):
        return why
    return (
        f"{why}, or give the param a narrow schema (a number, enum, format date or uuid, or a pattern such as "
        "^[A-Za-z0-9][A-Za-z0-9._-]*$)"
    )


def _literals(arguments: Iterable[Any]) -> list[Any]:
    """Return the arguments, those with placeholders emptied."""
    return [UNKNOWN if isinstance(each, str) and "${" in each else each for each in arguments]


def _in_code(job: JobSpec, found: _Found) -> str | None:  # noqa: ARG001
    return "would let a submitter choose the code, use it in args instead"


def _in_env(job: JobSpec, found: _Found) -> str | None:  # noqa: ARG001
    if len(found.path) != 2:
        return "would let a submitter choose the variables, write a mapping"
    return _no_variable(str(found.path[1]))


def _no_variable(name: str) -> str | None:
    if is_safe_name(name):
        return None
    return f"would choose {name}, a variable that programs obey; use a name such as JOB_DAY"


def _in_url(job: JobSpec, found: _Found) -> str | None:  # noqa: ARG001
    text = found.text
    before = text[: next(match.start() for match in _given_in(text))]
    if _WITH_HOST.match(_PLACEHOLDER.sub("E", before)):
        return None
    return "would let a submitter choose the host, use it behind the host's name alone"


_WITH_HOST = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*://|E)[^/?#\\@]+[/?#]|E[/?#](?!/)")

_FRAMING = frozenset(
    {
        "cf-connecting-ip",
        "client-ip",
        "connection",
        "content-encoding",
        "content-length",
        "content-location",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "location",
        "origin",
        "remote-user",
        "te",
        "trailer",
        "transfer-encoding",
        "true-client-ip",
        "upgrade",
        "via",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-host",
        "x-http-host-override",
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-original-host",
        "x-original-url",
        "x-real-ip",
        "x-remote-user",
        "x-rewrite-url",
    }
)
_FRAMING_FAMILIES = ("proxy-", "sec-", "x-auth-request-", "x-forwarded-")
"""Headers that say where a request goes, where it ends, and whom it comes from."""


def _in_headers(job: JobSpec, found: _Found) -> str | None:
    if len(found.path) != 2:
        return "would let a submitter choose the headers, write a mapping"
    header = str(found.path[1]).strip().lower().replace("_", "-")  # CGI takes one for the other
    if header in _FRAMING or header.startswith(_FRAMING_FAMILIES):
        return f"would let a submitter choose where the request goes, write {found.path[1]} out"
    return None if _is_harmless(job, found.name) else _not_narrow("a header")


def _in_body(job: JobSpec, found: _Found) -> str | None:
    if found.is_whole or _is_harmless(job, found.name):
        return None
    return "is only a part of a text that the server reads, use json, where it is quoted"


def _in_address(job: JobSpec, found: _Found) -> str | None:
    return None if found.is_whole and _is_harmless(job, found.name) else _not_narrow("the address of a mail")


def _not_narrow(what: str) -> str:
    return f"may hold anything, which {what} must not: give the param an enum or a pattern such as ^[a-z0-9.]+$"


_COMMAND: Mapping[str, Rule] = {"env": _in_env, "stdin": _in_stdin}
_REQUEST: Mapping[str, Rule] = {"url": _in_url, "headers": _in_headers, "json": _everywhere, "body": _in_body}
_RULES: Mapping[str, Mapping[str, Rule]] = {
    "runner.tasks.shell.run": {**_COMMAND, "script": _in_script, "command": _in_command},
    "runner.tasks.python.script": {**_COMMAND, "args": _in_args, "file": _in_code, "venv": _in_code},
    "runner.tasks.http.request": _REQUEST,
    **{
        f"runner.tasks.notify.{name}": {"url": _in_url, "headers": _in_headers, "run": _everywhere}
        for name in ("webhook", "ping", "slack", "teams")
    },
    "runner.tasks.notify.email": {"to": _in_address, "sender": _in_address, "subject": _everywhere, "run": _everywhere},
}
"""The rules of each stock task by kwarg; in any other kwarg a placeholder of a submitter is refused."""

_ARGUMENTS = (("runner.tasks.shell.run", "command"), ("runner.tasks.python.script", "args"))
"""Kwargs that other users of the host see in the list of processes."""

_WITH_URL = frozenset(name for name, rules in _RULES.items() if "url" in rules)


_OF_TEXTS = frozenset(
    {
        ("runner.tasks.shell.run", "command"),
        ("runner.tasks.shell.run", "env"),
        ("runner.tasks.python.script", "args"),
        ("runner.tasks.python.script", "env"),
    }
)
"""Kwargs whose items become text: what a param gives is written as it is inside a longer text."""


def _as_texts(written: Any, filled: Any) -> Any:
    def as_item(before: Any, after: Any) -> Any:
        if isinstance(before, str) and is_placeholder(before) and not isinstance(after, list | dict):
            return as_text(after)
        return after

    if isinstance(written, Mapping):
        return {name: as_item(written[name], value) for name, value in filled.items()}
    if isinstance(written, list | tuple):
        return [as_item(before, after) for before, after in zip(written, filled, strict=True)]
    return filled


def _fill_in_url(text: str, look_up: Callable[[str], Any]) -> str:
    def quoted(name: str) -> Any:
        value = look_up(name)
        return quote(as_text(value), safe="", errors="replace") if _is_given(name) else value

    def neutral(name: str) -> Any:
        return "x" if _is_given(name) else look_up(name)

    filled = as_text(render(text, quoted))
    if _origin(filled) != _origin(as_text(render(text, neutral))):
        raise UnsafeValue("a value would change the host")
    for segment in re.split(r"[/?#]", text):
        # A proxy, or the server itself, takes these for the same folder or the one above.
        if any(_given_in(segment)) and unquote(as_text(render(segment, quoted))) in (".", ".."):
            raise UnsafeValue("a value would lead to another folder of the server")
    return filled


def _origin(url: str) -> tuple[str, str] | None:
    try:
        return urlsplit(url)[:2]
    except ValueError:
        return None
