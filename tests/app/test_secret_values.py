"""Secrets: where they come from, and that nothing shows them."""

from __future__ import annotations

import json
import os
import pickle
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.app.secret_sources import MissingSecret, complaints, look_up, look_up_secrets
from runner.app.secret_values import mask_result, scrub
from runner.catalog.catalog import load_files
from runner.ledger.outcome import describe_exception
from runner.model.job import JobSpec
from runner.model.masking import Masker

SECRET = "s3cr3t/va'lue\"+ä"


def job(**secrets: str) -> JobSpec:
    return JobSpec(name="a", task="a:b", secrets=secrets)


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_variables_and_files(tmp_path: Path) -> None:
    write(tmp_path / "db", "of the file\n\n")
    absolute = write(tmp_path / "two", "line one\r\nline two\r\n")
    found = look_up_secrets(job(A="env:X", B="file:db", C=f"file:{absolute}"), tmp_path, {"X": " as it is "})
    assert found == {"A": " as it is ", "B": "of the file", "C": "line one\r\nline two"}


def test_an_error_names_the_process_that_lacks_the_variable(tmp_path: Path) -> None:
    with pytest.raises(MissingSecret, match="the variable UNSET is not set in the environment of runner web"):
        look_up("env:UNSET", tmp_path, {}, "runner web")


def test_all_that_is_missing_is_told_at_once(tmp_path: Path) -> None:
    write(tmp_path / "open", "value-of-it", 0o666)
    write(tmp_path / "empty", "\n")
    write(tmp_path / "large", "x" * 70_000)
    (tmp_path / "nul").write_bytes(b"a\0b")
    os.mkfifo(tmp_path / "pipe")
    declared = job(
        A="env:UNSET",
        B="env:EMPTY",
        C="file:none",
        D="file:open",
        E="file:empty",
        F="file:pipe",
        G="file:large",
        H="file:nul",
        I="file:.",
    )
    with pytest.raises(MissingSecret) as caught:
        look_up_secrets(declared, tmp_path, {"EMPTY": ""})
    lines = str(caught.value).split("; ")
    parts = [
        "A: the variable UNSET is not set in the environment of the worker",
        "B: the variable EMPTY is set but empty",
        f"C: {tmp_path}/none cannot be read: No such file",
        f"D: {tmp_path}/open can be written by anybody, run: chmod o-w",
        f"E: {tmp_path}/empty is empty",
        f"F: {tmp_path}/pipe is not a regular file",
        f"G: {tmp_path}/large has more than 64 KiB",
        f"H: {tmp_path}/nul holds NUL",
        "I: ",
    ]
    assert len(lines) == len(parts)
    assert [line for line, part in zip(lines, parts, strict=True) if not line.startswith(part)] == []
    assert "value-of-it" not in str(caught.value)


def test_a_worker_is_told_before_the_first_run(tmp_path: Path) -> None:
    assert list(complaints(job(), tmp_path, {})) == []
    [missing] = complaints(job(A="env:UNSET"), tmp_path, {})
    assert "missing_secret" in missing
    [short] = complaints(job(A="env:X"), tmp_path, {"X": "abc"})
    assert "too few to be masked" in short
    assert "abc" not in short


def test_problems_never_repeat_a_value(tmp_path: Path) -> None:
    file = tmp_path / "jobs.yaml"
    file.write_text("jobs:\n  a: {task: 'a:b', secrets: {KEY: hunter2, PIN: 0123456}, timeout: 5}\n")
    problems = load_files([file], base=tmp_path).problems
    assert len(problems) == 3
    assert not any(
        "hunter2" in text for problem in problems for text in (str(problem), problem.source, problem.expected)
    )


def test_every_common_form_is_masked() -> None:
    masker = Masker([SECRET])
    for text in (SECRET, repr(SECRET), json.dumps(SECRET), json.dumps(SECRET, ensure_ascii=False), f"a{SECRET}b"):
        assert masker.finds(text)
        assert "s3cr3t" not in masker.text(text)
    assert masker.text("https://u:s3cr3t%2Fva%27lue%22%2B%C3%A4@host") == "https://u:***@host"


def test_lines_of_a_long_secret_are_masked_alone() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\n-----END KEY-----\n"
    assert Masker([key]).text("a MIIEvQIBADANBgkq b") == "a *** b"
    assert Masker([key]).text(f"a {key} b") == "a *** b"


def test_one_secret_in_another_and_short_ones() -> None:
    assert Masker(["abcd", "abcdef"]).text("abcdef abcd") == "*** ***"
    assert Masker(["abc"]).text("abc") == "abc"
    assert not Masker(["", "x"])
    assert Masker().text("plain") == "plain"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(json_values, st.sampled_from([SECRET, "12345", "null", "true", '": "', "*** "]))
def test_a_masked_result_is_json_without_the_secret(value: object, secret: str) -> None:
    masked = mask_result(Masker([secret]), {"a": [value, secret], secret: 1123450, "n": 12345.5}, 10**6)
    text = json.dumps(masked)
    assert secret not in text or secret in ('": "', "null", "true")
    assert secret not in str(masked if isinstance(masked, str) else masked["a"][1])


def test_a_result_without_a_secret_stays_as_it_is() -> None:
    value = {"a": (1, 2)}
    assert mask_result(Masker([SECRET]), value, 1000) is value
    unstorable = object()
    assert mask_result(Masker([SECRET]), unstorable, 1000) is unstorable


class Odd(Exception):
    """Says what it was told from a place of its own."""

    def __init__(self, message: str, *, code: int) -> None:
        super().__init__(message, code)
        self._cell = (lambda: message,)

    def __str__(self) -> str:
        return self._cell[0]()


class Held(Exception):
    def __init__(self, text: str) -> None:
        self.told = {"deep": [text]}
        self.raw = text.encode()

    def __str__(self) -> str:
        return f"held: {self.told} {self.raw.decode()}"


def chained() -> Exception:
    try:
        try:
            raise KeyError(SECRET)
        except KeyError as error:
            raise ValueError("no secret here") from error
    except ValueError as error:
        return error


def noted() -> Exception:
    error = ValueError("plain")
    error.add_note(f"a note of {SECRET}")
    return error


@pytest.mark.parametrize(
    "error",
    [
        ValueError(f"bad {SECRET}"),
        ValueError("bad", SECRET, [SECRET]),
        OSError(2, "No such file", f"/tmp/{SECRET}"),
        UnicodeDecodeError("utf-8", SECRET.encode() + b"\xff", 17, 18, SECRET),
        KeyError(SECRET),
        Odd(SECRET, code=3),
        Held(SECRET),
        ExceptionGroup(f"all {SECRET}", [ValueError(SECRET)]),
        chained(),
        noted(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_exception_is_scrubbed_and_keeps_its_class(error: Exception) -> None:
    masker = Masker([SECRET])
    try:
        raise error
    except Exception as caught:  # noqa: BLE001
        clean = scrub(masker, caught)
    shown = ["".join(traceback.format_exception(clean)), str(clean), repr(clean), repr(clean.args)]
    failure = describe_exception(clean, 32_000, mask=masker.text)
    shown += [failure.error(), failure.meta("id", "FAILURE")]  # type: ignore[arg-type]
    assert not any("s3cr3t" in text for text in shown), shown
    assert isinstance(clean, type(error)) or isinstance(error, ExceptionGroup)
    assert clean.__traceback__ is not None


def test_an_exception_without_a_secret_is_the_same() -> None:
    error = OSError(2, "No such file", "/tmp/x")
    assert scrub(Masker([SECRET]), error) is error
    assert (error.errno, error.filename) == (2, "/tmp/x")


def test_a_scrubbed_exception_can_be_sent_to_the_parent() -> None:
    clean = scrub(Masker([SECRET]), ValueError(f"bad {SECRET}"))
    assert str(pickle.loads(pickle.dumps(clean))) == "bad ***"
