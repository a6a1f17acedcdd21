"""Whatever stands in a file: problems with a place, never a traceback, never a hang."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runner.catalog.jobs_file import JobsFile, build, read_jobs
from runner.yaml_reader.document import Document
from runner.yaml_reader.reader import MAX_BYTES, read_bytes

SPECS = Path(__file__).parents[1] / "specs"
SEEDS = [file.read_bytes() for folder in ("valid", "invalid") for file in sorted((SPECS / folder).glob("*.yaml"))]
SNIPPETS = [
    *(b": ", b"- ", b"\n", b"\n  ", b"\t", b"{", b"}", b"[", b"]", b"&a ", b"*a", b"<<: ", b"!!str ", b"!x ", b"---\n"),
    *(b"...\n", b"%YAML 1.1\n", b"? ", b"|", b">-", b"'", b'"', b"\\", b"#", b"${", b"$${x}", b"yes", b"010", b"1:30"),
    *(
        b".nan",
        b"1e999",
        b"null",
        b"~",
        b"\xef\xbb\xbf",
        b"\xff",
        b"\x00",
        b"\xe3\x80\x80",
        b"\xef\xbc\x9a",
        b"\xc2\x85",
    ),
    *(b"\r\n", b"@", b"`", b"jobs:", b"defaults:", b"task: a.b:c", b"params:", b"{type: integer, default: x}"),
    b"99999999999999999999",
]
PIECES = [
    *(b"[", b"{", b"- ", b"? ", b"{a: ", b"[a, ", b"a: ", b"&a ", b"!a ", b"'", b'"', b"\\", b"|\n", b"#", b"\t", b" "),
    *(b"\n", b"a", b"a\n", b"- a\n", b"a: b\n", b"*a ", b"<<: ", b",", b":", b"\xe3\x80\x80", b"yes ", b"1", b"- 1\n"),
    *(b"? a\n", b"%", b"a\t\n", b"a #\t\n"),
]


def check(data: bytes) -> JobsFile:
    document = read_bytes(data, "f.yaml")
    found = read_jobs(document, {})
    for problem in found.problems:
        assert problem.line >= 1
        assert problem.column >= 1
        assert problem.message
        assert str(problem).isprintable()
    for entry in found.entries:
        job = build(entry, "f.yaml")
        assert job.name == entry.name
        json.dumps(dict(job.kwargs))
        hash(job.digest)
    return found


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 12))
        what = draw(st.sampled_from(SNIPPETS) | st.binary(max_size=4) | st.just(b""))
        data[at : at + length] = what
    return bytes(data)


@settings(max_examples=400)
@given(mutated())
def test_mutated_yaml(data: bytes) -> None:
    check(data)


@settings(max_examples=300)
@given(st.lists(st.sampled_from(SNIPPETS), max_size=40).map(b"".join))
def test_pieces_of_yaml(data: bytes) -> None:
    check(data)


@settings(max_examples=300)
@given(st.binary(max_size=300))
@example(b"\xef\xbb\xbf")
@example(b"\xef\xbb\xbf\xef\xbb\xbf")
@example(b"\x00")
@example(b"\n\x85\n: ")
def test_random_bytes(data: bytes) -> None:
    check(data)


@settings(max_examples=300)
@given(st.text(max_size=200))
def test_random_text(text: str) -> None:
    check(text.encode("utf-8", "surrogatepass"))


@pytest.mark.long
@pytest.mark.timeout(60)
@pytest.mark.parametrize("piece", PIECES, ids=repr)
def test_a_megabyte_of_one_piece(piece: bytes) -> None:
    check((piece * MAX_BYTES)[:MAX_BYTES])
    check(b"jobs:\n  a:\n    kwargs:\n      x: " + (piece * MAX_BYTES)[: MAX_BYTES - 100])


@pytest.mark.long
def test_a_megabyte_of_aliases() -> None:
    check(b"x: &a {k: 1, l: [1, 2]}\ny:\n" + b"- *a\n" * 150_000)
    check(b"x: &a {k: 1, l: [1, 2]}\njobs:\n" + b"".join(b"  j%d: *a\n" % n for n in range(60_000)))


@pytest.mark.long
def test_a_megabyte_of_faults() -> None:
    check(b"jobs:\n" + b"".join(b"  J%d: {task: yes}\n" % n for n in range(40_000)))
    check(b"jobs:\n" + b"".join(b"  a: {task: x}\n" for n in range(60_000)))
    check(
        b"jobs:\n  a:\n    task: a:b\n    params:\n"
        + b"".join(b"      p%d: {pattern: '(', x: 1}\n" % n for n in range(30_000))
    )
    check(b"jobs:\n" + b"".join(b"  j%d: {tsk: 1}\n" % n for n in range(60_000)))
    check(b"jobs:\n  a:\n    task: a:b\n    tags: [" + b"".join(b"t%d," % n for n in range(120_000)) + b"]\n")


def test_a_document_can_be_asked_about_any_path() -> None:
    document = read_bytes(b"a: {b: [1, {c: 2}]}\n", "f.yaml")
    document.report(("a", "b", 1, "c"), "x")
    document.report(("a", "b", 7, "c"), "y")
    document.report((), "z")
    assert [(problem.line, problem.column) for problem in document.problems] == [(1, 16), (1, 5), (1, 1)]
    assert Document("g").line_of(("nothing",)) == 1
