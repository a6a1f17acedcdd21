"""A secret is masked in each encoding that programs write text in, and in encodings of encodings."""

from __future__ import annotations

import base64
import html
import itertools
import json
import shlex
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runner.attempt.capture.wire import BEGIN, LONGEST_LINE, Reader, mark
from runner.model.masking import LEVELS, MASK, Masker


def by_character(form: str) -> Callable[[str], str]:
    return lambda text: "".join(form.format(ord(char)) for char in text)


def in_utf16(text: str) -> str:
    data = text.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{data[at]:02X}{data[at + 1]:02x}" for at in range(0, len(data), 2))


def lower_percent(text: str) -> str:
    return "".join(
        char if char.isascii() and char.isalnum() else "".join(f"%{byte:02x}" for byte in char.encode())
        for char in text
    )


def in_yaml(text: str, **style: Any) -> str:
    """Return a scalar, without the mark of the document's end that may follow it."""
    return str(yaml.safe_dump(text, width=10**9, **style)).removesuffix("\n").removesuffix("\n...")


ENCODINGS: dict[str, Callable[[str], str]] = {
    "repr": repr,
    "repr of bytes": lambda text: repr(text.encode()),
    "json": json.dumps,
    "json, not ascii": lambda text: json.dumps(text, ensure_ascii=False),
    "json in json": lambda text: json.dumps({"body": json.dumps([text])}),
    "json with \\/": lambda text: json.dumps(text).replace("/", "\\/"),
    "\\u": in_utf16,
    "\\x of bytes": lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode()),
    "percent": lambda text: quote(text, safe=""),
    "percent, / kept": quote,
    "percent, lower": lower_percent,
    "percent, all": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "form": quote_plus,
    "user info": lambda text: f"redis://user:{quote(text, safe='')}@host:6379/0",
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64, url": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64, bare": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "basic": lambda text: "Basic " + base64.b64encode(f"user:{text}".encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "HEX": lambda text: text.encode().hex().upper(),
    "csv": lambda text: '"' + text.replace('"', '""') + '"',
    "html": html.escape,
    "html, names": lambda text: html.escape(text).replace("/", "&sol;").replace("é", "&eacute;"),
    "html, decimal": by_character("&#{};"),
    "html, hex": by_character("&#x{:x};"),
    "html, HEX": by_character("&#X{:04X};"),
    "shell": shlex.quote,
    "shell, other": lambda text: "'" + text.replace("'", "'\\''") + "'",
    "shell, backslashes": lambda text: "".join(char if char.isalnum() else f"\\{char}" for char in text),
    "yaml": in_yaml,
    "yaml, single": lambda text: in_yaml(text, default_style="'"),
    "yaml, double": lambda text: in_yaml(text, default_style='"'),
    "yaml, unicode": lambda text: in_yaml(text, default_style='"', allow_unicode=True),
}
SECRETS = [
    "correct horse",
    "hunter2hunter2",
    "s3cr3t/va'lue\"+é",
    "a+b c%41&amp;\\u0041==",
    "''quo''ted\"\"",
    "\\back\\slash\\n\\",
    "tab\tand päss😀wörd",
    "-----KEY-----/+_-",
    "&lt;%26quot%3B&#39;",
]


def left(secret: str, chain: tuple[str, ...], before: str = "<", after: str = ">") -> tuple[str, int]:
    """Return the rest of a masked, encoded secret, and its greatest length."""
    text, around = before + secret + after, before + after
    slack = 0
    for name in chain:
        # A group of base64 belongs to its neighbor in part, and quotes depend on what stands between them. What one
        # encoding adds, the next one may write longer.
        slack = slack * len(ENCODINGS[name]("'" * 4)) // 4 + (10 if "bas" in name else 8)
        text, around = ENCODINGS[name](text), ENCODINGS[name](around)
    masked = Masker([secret]).text(text)
    assert MASK in masked, text
    return masked.replace(MASK, ""), len(around) + slack


@pytest.mark.parametrize("secret", SECRETS)
def test_each_encoding_and_each_pair(secret: str) -> None:
    pairs = itertools.product(ENCODINGS, repeat=2) if secret in SECRETS[2:6] else ()
    for chain in (*itertools.product(ENCODINGS), *pairs):
        rest, most = left(secret, chain)
        assert len(rest) <= most, (chain, rest)


def test_a_secret_that_is_no_text() -> None:
    data = b"p\xff\xfe in bytes"
    masker = Masker([data.decode("utf-8", "surrogateescape")])
    for text in (repr(data), base64.b64encode(data).decode(), quote(data), data.decode("utf-8", "replace")):
        assert masker.text(f"a {text} b").replace("b'***'", MASK) == "a *** b"


LETTERS = st.characters(codec="utf-8", exclude_categories=("Cs", "Zl", "Zp"), exclude_characters="\r\n\x85\x1c\x1d\x1e")
secrets = (
    st.text(LETTERS, min_size=12, max_size=40) | st.text("ab'\"\\/%&;#+= $<>u004x", min_size=12, max_size=40)
).filter(lambda text: text == text.strip())


@settings(max_examples=300, derandomize=True)
@given(secrets, st.lists(st.sampled_from(list(ENCODINGS)), min_size=1, max_size=3), st.text("ab:/?", max_size=5))
@example("a+b c%41&amp;\\u0041==", ["form", "json in json", "base64"], "ab")
@example("'''''''''''''", ["shell", "yaml, single", "repr of bytes"], "")
def test_any_secret_in_any_three_encodings(secret: str, chain: list[str], before: str) -> None:
    if secret.isspace() or any(part in secret for part in before.split()):
        return
    rest, most = left(secret, tuple(chain), before)
    assert len(rest) <= most, (chain, rest)


@given(st.text(max_size=60), st.sampled_from(SECRETS))
def test_what_holds_no_secret_stays_as_it_is(text: str, secret: str) -> None:
    masker = Masker([secret])
    for form in (text, json.dumps(text), repr(text.encode("utf-8", "replace")), quote(text, errors="replace")):
        if not masker.finds(form):
            assert masker.text(form) == form


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("secret", SECRETS[:4])
def test_a_line_that_comes_in_pieces(name: str, secret: str) -> None:
    token = b"\x1e0:"
    encoded = ENCODINGS[name](f"<{secret}>").removesuffix("\n").removesuffix("\n...")
    text = "." * (LONGEST_LINE - len(encoded) // 2) + encoded + "." * 100 + "\n"
    whole = Masker([secret]).text(text)
    for size in (1, 7):
        reader = Reader(token)
        found = [value for kind, value in reader.feed(mark(token, BEGIN, ["id", "job", 1, [secret]])) if not kind]
        data = text.encode()
        begin = LONGEST_LINE - len(encoded)
        parts = [data[:begin], *(data[at : at + size] for at in range(begin, len(data), size))]
        for part in parts:
            found += [value for kind, value in reader.feed(part) if not kind]
        written = "".join(line for lines in found for line in lines)
        assert written == whole.rstrip("\n")


def test_masking_is_cheap_where_nothing_is_to_be_masked() -> None:
    """What a line costs is bounded by work, not by a clock: each text is looked at once."""
    masker = Masker(SECRETS)
    hostile = "\\\\%2541&amp;amp;'" * 1000
    seen: dict[str, int] = {}
    assert masker._decoded_spans(hostile, LEVELS, seen) == []
    assert len(seen) < 60
