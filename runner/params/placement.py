"""Decide where a job may use placeholders that a submitter influences: params, the run's id, and its slot.

In the environment of any job, and in the kwargs of stock tasks, such a placeholder is allowed only:

- in an environment variable with a safe name (:mod:`runner.params.variables`);
- in a command, as a whole argument: after a literal ``--``, or anywhere after the program if the schema of the param
  allows only harmless values (:mod:`runner.params.harmless`). It is not allowed if the command runs its arguments, as
  interpreters and wrappers do (:mod:`runner.params.programs`), except as an argument of a literal script after ``--``;
- in a request, where the value is quoted: in ``json``, as the whole ``body``, and percent-encoded after the host of
  ``url``; harmless values also in headers;
- in a mail, where it cannot break the format: in the subject, and harmless values as an address.

Items of a step and results of other steps count as values of a submitter; literal items are checked themselves. All
other positions need ``unsafe: true`` of the job. A function that runs its arguments as code, such as ``os.system``
(:mod:`runner.params.code_runners`), accepts no placeholders, and only numbers and booleans as params. All other
functions accept any value. Pure: decides by the job alone, when files are read and again in each worker.
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
from runner.model.message import Message, advise
from runner.model.option import Path, Report
from runner.model.param import Param
from runner.model.template import Sources, as_text, expand, is_placeholder, placeholders, render
from runner.params.code_runners import runs_what_it_is_given
from runner.params.harmless import is_harmless, is_number
from runner.params.programs import UNKNOWN, is_code_of_a_shell, takes_arguments, that_runs_arguments, that_runs_next
from runner.params.variables import is_safe_name

_STOCK = "runner.tasks."
_DEEPEST = 100
"""How many decorators and partials are unwrapped."""
_PLACEHOLDER = re.compile(r"(\$?)\$\{([^{}]*)\}")
_UNSAFE = "or set unsafe: true"


@dataclass(frozen=True, slots=True)
class Misplaced:
    """A placeholder or param where it is not allowed; ``path`` is below the job."""

    path: Path
    why: Message
    waivable: bool = False
    """Whether ``unsafe: true`` allows it."""

    @property
    def message(self) -> Message:
        """What is wrong, and the remedies."""
        if not self.waivable:
            return self.why
        return Message(f"{self.why}, {_UNSAFE}", f"{self.why.remedy}, {_UNSAFE}")


class UnsafeValue(ValueError):
    """The value would change other parts of the URL."""


class _Found(NamedTuple):
    """A placeholder: its path below ``kwargs``, its name, and the text that contains it."""

    path: Path
    name: str
    text: str

    @property
    def shown(self) -> str:
        return f"${{{self.name}}}"

    @property
    def is_whole(self) -> bool:
        """Whether the placeholder is the whole text."""
        return is_placeholder(self.text)

    @property
    def variable(self) -> str:
        """The environment variable that holds the value for a command."""
        root, _, rest = self.name.partition(".")
        if root == "params":
            return f"PARAM_{rest.upper()}"
        return rest if root == "env" else "RUN_" + rest.upper()


Rule = Callable[[JobSpec, _Found], Message | None]
"""Returns the reason for refusing a placeholder in a kwarg of a stock task, or None."""


def judged_name(target: object) -> str | None:
    """Return the name of a stock task, or of a function that runs its arguments as code; None for other functions.

    Args:
        target: an import path, or a function, perhaps decorated or in a ``functools.partial``.
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
    """Yield the placeholders and params of ``job`` that are not allowed where they are.

    Args:
        job: a job with valid params, kwargs, and env.
        target: the function that its task names, if known; it may be a stock task under another name.
    """
    judged = judged_name(job.task) or judged_name(target)
    for found in _found(job.kwargs):
        why = _why_not(job, judged, found) if judged is not None else None
        if why is not None:
            yield Misplaced(("kwargs", *found.path), why.after(f"{found.shown} "), waivable=_is_given(found.name))
    if job.unsafe:
        return
    if judged is not None and judged not in _RULES and job.step is None:  # a step has no params
        for param in job.params.values():
            if not is_number(param):
                yield Misplaced(("params", param.name), _no_param(job, judged, param), waivable=True)
    for variable, text in job.env.items():
        for found in _found(text):
            if _is_given(found.name) and (why := _no_variable(variable)) is not None:
                yield Misplaced(("env", variable), why.after(f"{found.shown} "), waivable=True)


def admitted(job: JobSpec) -> list[Misplaced]:
    """Return the placeholders that ``unsafe: true`` allows in a job."""
    return list(misplaced(replace(job, unsafe=False)))


def report_misplaced(job: JobSpec, path: Path, report: Report) -> bool:
    """Report the placeholders and params that are not allowed where they are; return whether there are none."""
    sound = True
    for found in misplaced(job):
        report((*path, *found.path), found.message)
        sound = False
    return sound


def fill_in(job: JobSpec, option: str, sources: Sources, target: object = None) -> Any:
    """Return the value of a kwarg with its placeholders replaced, and quoted in the URL of a stock task.

    Raises:
        Unset: the variable of ``${env.NAME}`` is not set.
        UnsafeValue: a value would change other parts of the URL.
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
    """Yield the placeholders of a text whose value a submitter influences."""
    return (found for found in _PLACEHOLDER.finditer(text) if not found[1] and _is_given(found[2].strip()))


def _is_given(name: str) -> bool:
    """Return whether a submitter influences the value; only the environment of the worker is out of reach."""
    return not name.startswith("env.")


def _is_harmless(job: JobSpec, name: str) -> bool:
    param = _param_of(job, name)
    if param is not None:
        return is_harmless(param)
    # An id has only letters, digits, and ._:-, a slot is a time, and a state is a word.
    return name in ("run.id", "run.slot") or _STATE.fullmatch(name) is not None


_STATE = re.compile(r"steps\.[a-z0-9_-]+\.state")


def _param_of(job: JobSpec, name: str) -> Param | None:
    """Return the param of a placeholder; the item of a step counts as one."""
    root, _, rest = name.partition(".")
    if root == "params":
        return job.params.get(rest)
    item = job.params.get("item") if root == "item" and job.step is not None else None
    if item is None or not rest:
        return item
    below = item.schema.get("properties", {}).get(rest)
    return None if below is None else Param(rest, below)


def _no_param(job: JobSpec, judged: str, param: Param) -> Message:
    if judged.startswith(_STOCK):
        return advise(f"would be passed to {job.task}, which is not a stock task", "use one of the stock tasks")
    instead = f"use task runner.tasks.shell:run, where a program finds it in PARAM_{param.name.upper()}"
    return advise(f"would become code or a command, because {job.task} runs its arguments", instead, "; ")


def _is_number(job: JobSpec, name: str) -> bool:
    param = _param_of(job, name)
    return param is not None and is_number(param)


def _why_not(job: JobSpec, stock: str, found: _Found) -> Message | None:
    if found.path[0] == "script" and stock == "runner.tasks.shell.run" and not _is_given(found.name):
        # Not allowed for an unsafe job either: the script can read the variable.
        return advise("would be visible in the list of processes", f"write ${found.variable}")
    if not _is_given(found.name):
        return _why_no_secret(job, stock, found)
    if job.unsafe:
        return None
    rules = _RULES.get(stock)
    if rules is None and not stock.startswith(_STOCK):
        return advise(f"would become code or a command, because {job.task} runs its arguments", _LITERAL)
    if rules is None:
        return advise("is not allowed here", "use the task under its own name")
    rule = rules.get(str(found.path[0]), _nowhere)
    return rule(job, found)


def _why_no_secret(job: JobSpec, stock: str, found: _Found) -> Message | None:
    option = (stock, found.path[0])
    in_arguments = option in _ARGUMENTS
    variable = found.name.removeprefix("env.")
    command = job.kwargs.get("command")
    if option == _ARGUMENTS[0] and isinstance(command, list) and is_code_of_a_shell(command, int(found.path[1])):
        return advise("would be visible in the list of processes", f"write ${variable}")
    # The placeholder may have the name of the secret, or that of the variable that the secret is read from.
    secret = next(
        (name for name, source in job.secrets.items() if variable in (name, source.removeprefix("env:"))), None
    )
    if in_arguments and secret is not None:
        return advise("is a secret, and would be visible in the list of processes", f"let the program read ${secret}")
    return None


def shown_secrets(job: JobSpec) -> Iterator[Misplaced]:
    """Yield the variables of the worker in arguments that are secrets by their names."""
    stock = judged_name(job.task)
    for found in _found(job.kwargs):
        if (stock, found.path[0]) in _ARGUMENTS and _SECRET.search(found.name) and not _is_given(found.name):
            why = "seems to be a secret, and will be visible in the list of processes"
            remedy = f"let the program read ${found.variable}"
            yield Misplaced(("kwargs", *found.path), advise(f"{found.shown} {why}", remedy, ": "))


_SECRET = re.compile(
    r"(?:[._](?:API_?KEY|CREDENTIALS?|PASSW(?:OR)?D|PRIVATE_KEY|SECRET|TOKEN)|_PWD)(?:_|\Z)", re.IGNORECASE
)


_LITERAL = "write a literal value"


def _nowhere(job: JobSpec, found: _Found) -> Message | None:  # noqa: ARG001
    return advise(f"would let a submitter choose {found.path[0]}", _LITERAL)


def _everywhere(job: JobSpec, found: _Found) -> Message | None:  # noqa: ARG001
    return None


def _in_script(job: JobSpec, found: _Found) -> Message | None:
    remedy = f'write "${found.variable}"'
    if (variable := _to_be_set(job, found)) is not None:
        remedy = f'set env: {{{variable}: "{found.shown}"}} and write "${variable}"'
    return advise("would let a submitter write code", remedy)


def _in_stdin(job: JobSpec, found: _Found) -> Message | None:
    return advise("would become input that a program may run", _by_variable(job, found))


def _by_variable(job: JobSpec, found: _Found) -> str:
    """Return the advice to pass a value to a program in an environment variable."""
    variable = _to_be_set(job, found)
    if variable is None:
        return f"use the variable {found.variable}"
    return f'set env: {{{variable}: "{found.shown}"}} and use that variable'


def _to_be_set(job: JobSpec, found: _Found) -> str | None:
    """Return a variable to set for a value, or None if there is one already; a step has those of its ``env`` only."""
    if found.name == "run.slot":
        return "SLOT"
    if job.step is None or found.name == "run.id":
        return None
    words = re.findall(r"[A-Za-z0-9_]+", found.name)
    word = words[1] if words[0] in ("params", "steps") else words[-1]
    return word.upper() if is_safe_name(word) else f"JOB_{word.upper()}"


def _in_command(job: JobSpec, found: _Found) -> Message | None:
    command = job.kwargs["command"]
    index = found.path[1] if len(found.path) == 2 else None
    if not isinstance(index, int):
        return advise("would let a submitter write code", "write a list of arguments")
    if index == 0:
        return advise("would let a submitter choose the program", _LITERAL)
    before = command[:index]
    instead = _by_variable(job, found)
    why = _no_argument(job, found, before, instead)
    if (runs := that_runs_arguments(_literals(command))) is not None:
        after_script = "--" in before and takes_arguments(_literals(before[: before.index("--")]))
        if why is not None or not after_script:
            why = advise(f"would let a submitter write code, because {runs} runs its arguments", instead, "; ")
    if why is None and "--" not in before and not _is_number(job, found.name):
        option = that_runs_next(_literals(before))
        if option is not None:
            why = advise(f"would let a submitter write code, because {option} runs the next argument", instead, "; ")
    return why


def _in_args(job: JobSpec, found: _Found) -> Message | None:
    index = found.path[1] if len(found.path) == 2 else None
    if not isinstance(index, int):
        return advise("would let a submitter choose all arguments", "write a list")
    return _no_argument(job, found, job.kwargs["args"][:index], _by_variable(job, found))


def _no_argument(job: JobSpec, found: _Found, before: list[Any], instead: str) -> Message | None:
    """Return the reason for refusing a placeholder as an argument of a program, or None."""
    if not found.is_whole:
        why = "is only part of an argument, which a program may take for code"
        return advise(why, f"make it an argument of its own, or {instead}", "; ")
    if "--" in before or _is_harmless(job, found.name):
        return None
    remedy = f'write it after a "--", or {instead}'
    if found.name.startswith("params."):
        narrow = "a number, an enum, format date or uuid, or a pattern such as ^[A-Za-z0-9][A-Za-z0-9._-]*$"
        remedy = f'write it after a "--", give the param a narrow schema ({narrow}), or {instead}'
    return advise("may be taken for an option or code", remedy, "; ")


def _literals(arguments: Iterable[Any]) -> list[Any]:
    """Return the arguments, with those that have placeholders marked as unknown."""
    return [UNKNOWN if isinstance(text, str) and "${" in text else text for text in arguments]


def _in_code(job: JobSpec, found: _Found) -> Message | None:  # noqa: ARG001
    return advise("would let a submitter choose the code", "use it in args")


def _in_env(job: JobSpec, found: _Found) -> Message | None:  # noqa: ARG001
    if len(found.path) != 2:
        return advise("would let a submitter choose the variables", "write a mapping")
    return _no_variable(str(found.path[1]))


def _no_variable(name: str) -> Message | None:
    if is_safe_name(name):
        return None
    return advise(f"would set {name}, which changes how programs work", "use a name such as JOB_DAY", "; ")


def _in_url(job: JobSpec, found: _Found) -> Message | None:  # noqa: ARG001
    text = found.text
    before = text[: next(match.start() for match in _given_in(text))]
    if _WITH_HOST.match(_PLACEHOLDER.sub("E", before)):
        return None
    return advise("would let a submitter choose the host", "use it only after the name of the host")


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
"""Headers that decide where a request goes, where it ends, and from whom it seems to come."""


def _in_headers(job: JobSpec, found: _Found) -> Message | None:
    if len(found.path) != 2:
        return advise("would let a submitter choose the headers", "write a mapping")
    header = str(found.path[1]).strip().lower().replace("_", "-")  # for CGI the two are the same
    if header in _FRAMING or header.startswith(_FRAMING_FAMILIES):
        return advise("would let a submitter choose where the request goes", f"{_LITERAL} for {found.path[1]}")
    return None if _is_harmless(job, found.name) else _not_narrow("a header")


def _in_body(job: JobSpec, found: _Found) -> Message | None:
    if found.is_whole or _is_harmless(job, found.name):
        return None
    return advise("is only part of a text that the server reads", "use json, where it is quoted")


def _in_address(job: JobSpec, found: _Found) -> Message | None:
    return None if found.is_whole and _is_harmless(job, found.name) else _not_narrow("the address of a mail")


def _not_narrow(position: str) -> Message:
    why = f"may be any text, which is not safe in {position}"
    return advise(why, "give the param an enum or a pattern such as ^[a-z0-9.]+$", "; ")


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
"""The rules of each stock task by kwarg. In other kwargs, placeholders that a submitter influences are refused."""

_ARGUMENTS = (("runner.tasks.shell.run", "command"), ("runner.tasks.python.script", "args"))
"""Kwargs that other users of the host can see in the list of processes."""

_WITH_URL = frozenset(name for name, rules in _RULES.items() if "url" in rules)


_OF_TEXTS = frozenset(
    {
        ("runner.tasks.shell.run", "command"),
        ("runner.tasks.shell.run", "env"),
        ("runner.tasks.python.script", "args"),
        ("runner.tasks.python.script", "env"),
    }
)
"""Kwargs whose items are text: a value is written as it would be in a longer text."""


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
        # To a proxy or a server, these mean the same folder or the one above.
        if any(_given_in(segment)) and unquote(as_text(render(segment, quoted))) in (".", ".."):
            raise UnsafeValue("the value . or .. would lead to another folder of the server")
    return filled


def _origin(url: str) -> tuple[str, str] | None:
    try:
        return urlsplit(url)[:2]
    except ValueError:
        return None
