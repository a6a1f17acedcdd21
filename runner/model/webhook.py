"""The ``webhook:`` section of a job: requests from other services that each submit a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner._dataclass import dataclass
from runner.model.message import advise, hint, suggest
from runner.model.option import Choice, Duration, MapOf, Text, option
from runner.model.param import PARAM_NAME, Param
from runner.model.secret import SecretSource
from runner.model.value_type import Path, Report, closest

TOLERANCE = 300.0
HEADER = "header:"
WHOLE = "."
CREDENTIALS = frozenset({"authorization", "proxy-authorization", "cookie"})
"""Headers that cannot be params, because params are stored."""

FIELD = Text(
    pattern=r"^(\.|header:[A-Za-z0-9-]{1,100}|[^.\s:]+(\.[^.\s:]+)*)$",
    advice="write a field of the body such as repository.full_name or commits.0.id, header:NAME, or . for the body",
    max_length=256,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Requests that each submit a run. Durations are seconds."""

    signature: str = option(
        Choice(("github", "stripe", "token")),
        help="How a request is authenticated: github checks the HMAC in X-Hub-Signature-256, stripe the one in "
        "Stripe-Signature, and token the secret itself in Authorization: Bearer.",
        examples=("github",),
    )
    secret: str = option(
        SecretSource(commands=False, reader="runner web"),
        help="The key of the HMAC, or the token, from a variable (env:NAME) or a file (file:PATH) of runner web.",
        examples=("env:GITHUB_WEBHOOK_SECRET",),
    )
    params: Mapping[str, str] = option(
        MapOf(PARAM_NAME, FIELD),
        default={},
        help="The params of the run, each from a field of the body, from header:NAME, or . for the whole body.",
        examples=({"branch": "ref", "event": "header:X-GitHub-Event"},),
    )
    tolerance: float = option(
        Duration(1.0),
        default=TOLERANCE,
        help="How far the timestamp of a request with signature: stripe may differ from the clock of this host.",
        examples=("10m",),
    )


WEBHOOK_ALIASES = {
    "token": hint("write signature: token, and secret: env:NAME"),
    "key": "secret",
    "hmac": "signature",
    "type": "signature",
    "format": "signature",
    "provider": "signature",
    "mapping": "params",
    "map": "params",
    "max_age": "tolerance",
}


def check_webhook(webhook: Webhook, params: Mapping[str, Param], path: Path, report: Report) -> bool:
    """Report the options that contradict the job or each other; return whether there are none."""
    sound = True
    for name, field in webhook.params.items():
        if field.startswith(HEADER) and field.removeprefix(HEADER).lower() in CREDENTIALS:
            what = f"{field} is a secret of the sender, and params are stored"
            report((*path, "params", name), advise(what, "use another header, or remove it"))
            sound = False
        if name not in params:
            what, close = f"{name} is not a param of the job", closest(name, params)
            message = advise(what, "declare it under params")
            if close is not None:
                message = suggest(what, close, replacement="" if close in webhook.params else close)
            report((*path, "params", name), message, on_key=True)
            sound = False
    for name, param in params.items():
        if param.required and name not in webhook.params:
            report(path, advise(f"does not set {name}, which is required", f"add {name} to its params"), on_key=True)
            sound = False
    if webhook.tolerance != TOLERANCE and webhook.signature != "stripe":
        what = f"has no effect: requests with signature: {webhook.signature} have no timestamp"
        report((*path, "tolerance"), advise(what, "remove it"), on_key=True)
        sound = False
    return sound


def params_of(webhook: Webhook, body: Any, headers: Mapping[str, str]) -> dict[str, Any]:
    """Return the params of a run, without those that are missing or null in the request.

    Args:
        webhook: the declared params and their sources.
        body: the parsed JSON.
        headers: a case-insensitive mapping.
    """
    found = {name: _value(field, body, headers) for name, field in webhook.params.items()}
    return {name: value for name, value in found.items() if value is not None}


def _value(field: str, body: Any, headers: Mapping[str, str]) -> Any:
    if field.startswith(HEADER):
        return headers.get(field.removeprefix(HEADER))
    value = body
    for part in () if field == WHOLE else field.split("."):
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and part.isascii() and part.isdigit() and len(part) < 10:
            value = value[int(part)] if int(part) < len(value) else None
        else:
            return None
    return value
