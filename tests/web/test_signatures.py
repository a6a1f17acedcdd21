"""Signatures of webhooks: what is accepted, and what a forger may try."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest
from starlette.datastructures import Headers

from runner.model.webhook import Webhook, params_of
from runner.web.signatures import BadRequest, delivery_of, verify

SECRET = b"wh-s3cr3t-\xc3\xa4"
BODY = b'{"ref": "main"}'
NOW = 1_800_000_000.0


def hook(signature: str, **more: Any) -> Webhook:
    return Webhook(signature=signature, secret="env:X", **more)


def signed(text: bytes, key: bytes = SECRET) -> str:
    return hmac.new(key, text, hashlib.sha256).hexdigest()


def stripe(body: bytes = BODY, at: int = int(NOW), key: bytes = SECRET) -> str:
    return f"t={at},v1={signed(b'%d.' % at + body, key)}"


def accepted(webhook: Webhook, headers: dict[str, str], body: bytes = BODY, now: float = NOW) -> bool:
    try:
        verify(webhook, SECRET, Headers(headers), body, now)
    except BadRequest:
        return False
    return True


def test_the_example_of_github_s_documentation() -> None:
    # https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
    given = {"X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}
    verify(hook("github"), b"It's a Secret to Everybody", Headers(given), b"Hello, World!", NOW)


@pytest.mark.parametrize(
    ("value", "good"),
    [
        (f"sha256={signed(BODY)}", True),
        (f"sha256={signed(BODY + b' ')}", False),
        (f"sha256={signed(BODY, b'other')}", False),
        (f"sha1={hmac.new(SECRET, BODY, hashlib.sha1).hexdigest()}", False),
        (signed(BODY), False),
        ("sha256=", False),
        ("", False),
        ("sha256=\xff\xfe", False),
        ("sha256=" + "é" * 64, False),
    ],
)
def test_github(value: str, good: bool) -> None:
    assert accepted(hook("github"), {"X-Hub-Signature-256": value}) is good
    assert not accepted(hook("github"), {"X-Hub-Signature": value, "Authorization": f"Bearer {value}"})


@pytest.mark.parametrize(
    ("value", "good"),
    [
        (stripe(), True),
        (stripe() + ",v0=abc", True),
        (f"{stripe(key=b'old')},v1={signed(b'%d.' % int(NOW) + BODY)}", True),
        (stripe(at=int(NOW) - 299), True),
        (stripe(at=int(NOW) - 301), False),
        (stripe(at=int(NOW) + 301), False),
        # The time is signed too.
        (stripe(at=int(NOW) - 9000).replace(str(int(NOW) - 9000), str(int(NOW))), False),
        (stripe() + f",t={int(NOW) + 1}", False),
        (f"v1={signed(b'.' + BODY)}", False),
        (f"t=,v1={signed(b'.' + BODY)}", False),
        (f"t=nan,v1={signed(b'nan.' + BODY)}", False),
        (f"t={'9' * 400},v1={signed(b'9' * 400 + b'.' + BODY)}", False),
        (stripe().replace("v1=", "v0="), False),
        (stripe(key=b"other"), False),
        ("t=1800000000," + ",".join(["v1=" + "0" * 64] * 100), False),
        ("", False),
    ],
)
def test_stripe(value: str, good: bool) -> None:
    assert accepted(hook("stripe"), {"Stripe-Signature": value}) is good


def test_the_tolerance_of_a_webhook() -> None:
    old = {"Stripe-Signature": stripe(at=int(NOW) - 500)}
    assert accepted(hook("stripe", tolerance=600.0), old)
    assert not accepted(hook("stripe", tolerance=400.0), old)


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ("Bearer " + SECRET.decode("latin-1"), True),
        ("bearer  " + SECRET.decode("latin-1") + " ", True),
        ("Basic " + SECRET.decode("latin-1"), False),
        (SECRET.decode("latin-1"), False),
        ("Bearer " + SECRET.decode("latin-1")[:-1], False),
        ("Bearer ", False),
        ("", False),
    ],
)
def test_tokens(value: str, good: bool) -> None:
    assert accepted(hook("token"), {"Authorization": value}) is good


@pytest.mark.parametrize("bad", ["", "a b", "a\x00b", "x" * 201, "é"])
def test_a_delivery_has_a_plain_id(bad: str) -> None:
    for webhook, headers, body in (
        (hook("github"), {"X-GitHub-Delivery": bad}, {}),
        (hook("stripe"), {}, {"id": bad}),
        (hook("token"), {"Idempotency-Key": bad}, {}),
        (hook("github"), {}, {"id": "evt_1"}),
        (hook("stripe"), {"X-GitHub-Delivery": "x"}, [1]),
        (hook("stripe"), {}, {"id": 5}),
    ):
        with pytest.raises(BadRequest):
            delivery_of(webhook, Headers(headers), body)
    assert delivery_of(hook("github"), Headers({"x-github-delivery": "72d3162e-cc78"}), {}) == "72d3162e-cc78"
    assert delivery_of(hook("stripe"), Headers(), {"id": "evt_1"}) == "evt_1"
    assert delivery_of(hook("token"), Headers(), {}) is None


def test_params_from_the_request() -> None:
    body = {"a": {"b": [{"c": 1}, {"c": None}]}, "list": [1, 2], "text": "t", "9": "nine"}
    fields = {
        "c": "a.b.0.c",
        "null": "a.b.1.c",
        "far": "a.b.7.c",
        "negative": "a.b.-1",
        "through": "text.length",
        "none": "nothing.here",
        "list": "list",
        "nine": "9",
        "event": "header:x-github-event",
        "no": "header:X-None",
        "whole": ".",
    }
    found = params_of(hook("token", params=fields), body, Headers({"X-GitHub-Event": "push"}))
    assert found == {"c": 1, "list": [1, 2], "nine": "nine", "event": "push", "whole": body}
    assert params_of(hook("token", params={"a": "a", "w": "."}), [1], Headers()) == {"w": [1]}
