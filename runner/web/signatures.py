"""Check the signatures of webhooks, in constant time and without state."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Any

from runner.model.webhook import Webhook

_TIME = re.compile(r"[0-9]{1,15}", re.ASCII)
_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)
_DELIVERY = re.compile(r"[A-Za-z0-9._:/+=-]{1,200}", re.ASCII)
_MOST_SIGNATURES = 20


class BadRequest(Exception):
    """The request has no valid proof, or no valid id of its delivery."""


def verify(webhook: Webhook, secret: bytes, headers: Mapping[str, str], body: bytes, now: float) -> None:
    """Check that the sender of a request knows the secret.

    Args:
        webhook: names the kind of signature.
        secret: that of the webhook.
        headers: those of the request; the case of their names does not matter.
        body: the body, byte by byte.
        now: Unix time in seconds.

    Raises:
        BadRequest: the proof is missing, wrong, or too old.
    """
    if webhook.signature == "github":
        given = headers.get("X-Hub-Signature-256", "")
        if not _same("sha256=" + _hmac(secret, body), given):
            raise BadRequest("X-Hub-Signature-256 is missing or wrong")
    elif webhook.signature == "stripe":
        _verify_stripe(headers.get("Stripe-Signature", ""), secret, body, now, webhook.tolerance)
    else:
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not _same(secret, token.strip()):
            raise BadRequest("the token is missing or wrong")


def _verify_stripe(header: str, secret: bytes, body: bytes, now: float, tolerance: float) -> None:
    """Check ``t=TIME,v1=HEX,v1=HEX``: see https://docs.stripe.com/webhooks#verify-manually."""
    parts = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in parts if name == "t"]
    if len(times) != 1 or not _TIME.fullmatch(times[0]):
        raise BadRequest("Stripe-Signature is missing or has no time")
    expected = _hmac(secret, times[0].encode() + b"." + body)
    signatures = [value for name, _, value in parts if name == "v1" and _HEX.fullmatch(value)]
    # Compare all of them, so that the time does not depend on which one matches. While a secret is rotated, there are
    # two.
    if not any([_same(expected, value) for value in signatures[:_MOST_SIGNATURES]]):  # noqa: C419
        raise BadRequest("Stripe-Signature is wrong")
    if abs(now - int(times[0])) > tolerance:
        raise BadRequest("the time in Stripe-Signature is too far from now")


def delivery_of(webhook: Webhook, headers: Mapping[str, str], body: Any) -> str | None:
    """Return the id of the delivery; None with ``signature: token`` if the request has none.

    Raises:
        BadRequest: the id is missing, or is not plain text.
    """
    if webhook.signature == "stripe":
        where, given = "id of the body", body.get("id") if isinstance(body, dict) else None
    else:
        where = "X-GitHub-Delivery" if webhook.signature == "github" else "Idempotency-Key"
        given = headers.get(where)
    if given is None and webhook.signature == "token":
        return None
    if not isinstance(given, str) or not _DELIVERY.fullmatch(given):
        raise BadRequest(f"{where} is missing, or is not 1 to 200 letters, digits, and ._:/+=-")
    return given


def _hmac(secret: bytes, body: bytes) -> str:
    return hmac.new(secret, body, hashlib.sha256).hexdigest()


def _same(expected: str | bytes, given: str) -> bool:
    wanted = expected.encode() if isinstance(expected, str) else expected
    # Compare digests, so that the time does not depend on the length of the token. Headers are decoded as Latin-1.
    return hmac.compare_digest(
        hashlib.sha256(wanted).digest(), hashlib.sha256(given.encode("latin-1", "replace")).digest()
    )
