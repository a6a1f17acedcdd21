"""The parts of a run's log that decide: what the pipe says, and what is kept."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.attempt.capture.wire import BEGIN, LONGEST_LINE, RECORD, Reader, begin_mark, mark, pieces
from runner.worker.window import Window

TOKEN = b"\x1e0123:"
RECORDED = mark(TOKEN, RECORD, [7, "INFO", "x"])


def read(*pieces: bytes) -> list[tuple[str, object]]:
    reader = Reader(TOKEN)
    found = [event for piece in pieces for event in reader.feed(piece)]
    return [*found, *reader.end()]


def flat(events: list[tuple[str, object]]) -> list[object]:
    """Join what came in several pieces."""
    return [item for kind, value in events for item in (value if kind == "" else [(kind, value)])]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (b"a\nb\n", ["a", "b"]),
        (b"a\n\nb\n", ["a", "", "b"]),
        (b"\n", [""]),
        (b"no end", ["no end"]),
        (b"\xff\xfe\n", ["\ufffd\ufffd"]),
        (b"a\r\nb\r\n\r\n", ["a", "b", ""]),
        (b"10%\r20%\n", ["20%"]),
        (b"10%\r20%\r\n", ["20%"]),
        (b"\r10%\r20%\r\r\n", ["20%"]),
        (b"10%\r\x1b[K20%\r\x1b[2K\rdone\n", ["done"]),
        (b"10%\r20%\r    \r", ["20%"]),
        (b"10%\x1b[2K\x1b[1G20%\n", ["20%"]),
        (b"10%\x1b[G20%\x1b[0Gdone\n", ["done"]),
        (b"before\n10%\r20%", ["before", "20%"]),
        (b"\r", [""]),
    ],
)
def test_plain_text_becomes_lines(text: bytes, lines: list[str]) -> None:
    assert flat(read(text)) == lines


def test_a_line_that_is_drawn_anew_is_shown_as_it_is_now() -> None:
    reader = Reader(TOKEN)
    assert list(reader.feed(b"a line\n10")) == [("", ["a line"])]
    assert not reader.redrawn
    list(reader.feed(b"%\r20"))
    assert reader.state() == "20"
    list(reader.feed(b"%\r"))
    assert reader.state() == "20%"
    assert reader.state() is None
    list(reader.feed(b"\x1b[K"))
    assert reader.state() is None
    list(reader.feed(b"30%"))
    assert reader.state() == "\x1b[K30%"
    assert list(reader.feed(b"\r40%\nnext\n")) == [("", ["40%", "next"])]


@pytest.mark.parametrize("secrets", [(), ("s3cr3t-value",)])
def test_the_state_that_was_shown_last_is_not_told_twice(secrets: tuple[str, ...]) -> None:
    reader = Reader(TOKEN)
    for secret in secrets:
        list(reader.feed(begin(secret)))
    list(reader.feed(b"10%\r20%"))
    assert reader.state() == "20%"
    assert list(reader.feed(b"\nnext\n")) == [("", ["next"])]


def test_a_line_may_be_drawn_anew_for_ever() -> None:
    reader = Reader(TOKEN)
    assert not [event for number in range(100_000) for event in reader.feed(f"\r{number} rows".encode())]
    assert reader.state() == "99999 rows"
    assert list(reader.feed(b"\n")) == [("", [])]


@pytest.mark.parametrize("secret", ["s3cr3t\rvalue", "s3cr3t-value"])
def test_a_line_that_is_drawn_anew_shows_no_secret(secret: str) -> None:
    for cut in range(len(secret)):
        reader = Reader(TOKEN)
        list(reader.feed(begin(secret) + b"\r10%\r" + secret[:cut].encode()))
        shown = [reader.state()]
        list(reader.feed(secret[cut:].encode() + b"!"))
        shown.append(reader.state())
        shown += [str(event) for event in reader.feed(b"\n")]
        assert not any(part in str(text) for text in shown for part in ("s3cr", "value"))


def test_marks_stand_between_lines() -> None:
    data = b"before\n" + mark(TOKEN, BEGIN, ["id", "job", 1, []]) + b"half" + RECORDED + b"\nafter\n"
    assert flat(read(data)) == ["before", ("B", ["id", "job", 1]), "half", ("R", [7, "INFO", "x"]), "", "after"]


def test_a_mark_without_the_token_is_text() -> None:
    assert flat(read(b"\x1e9999:B[1]\n")) == ["\x1e9999:B[1]"]


def test_a_damaged_mark_is_text() -> None:
    assert flat(read(TOKEN + b"R[1, oh no\nnext\n")) == ["R[1, oh no", "next"]


@given(
    st.lists(st.one_of(st.binary(max_size=6).filter(lambda b: b"\x1e" not in b), st.just(RECORDED))),
    st.lists(st.integers(0, 60)),
)
def test_how_the_bytes_are_cut_into_pieces_does_not_matter(parts: list[bytes], cuts: list[int]) -> None:
    data = b"".join(parts)
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    pieces = [data[start:end] for start, end in pairwise(places)]
    assert flat(read(*pieces)) == flat(read(data))


SECRETS = ["s3cr3t-value", "two words", "first line here\nand the second line", "pä/ss+wörd", "x" * 40_000]


def begin(*secrets: str) -> bytes:
    return mark(TOKEN, BEGIN, ["id", "job", 1, secrets])


@given(st.integers(0, len(SECRETS) - 1), st.integers(0, 50_000), st.lists(st.integers(0, 80_000), max_size=6))
def test_a_secret_is_masked_however_it_is_cut_into_pieces(which: int, before: int, cuts: list[int]) -> None:
    secret = SECRETS[which]
    data = begin(*SECRETS) + b"-" * before + secret.encode() + b"!\n"
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    read_ = flat(read(*(data[start:end] for start, end in pairwise(places))))
    text = "".join(map(str, read_[1:]))
    assert not any(line in text for line in secret.splitlines())
    assert text.startswith("-" * before)
    assert text.endswith("!")


def test_half_a_character_of_a_record_is_written_out() -> None:
    record, *_ = flat(read(mark(TOKEN, RECORD, [7, "INFO", "caf\udce9.txt"])))
    assert record == ("R", [7, "INFO", "caf\\udce9.txt"])


def test_what_an_earlier_attempt_left_behind_is_masked_still() -> None:
    data = begin("s3cr3t-value") + b"one s3cr3t-value\n" + begin("other-secret") + b"s3cr3t-value other-secret\n"
    assert [item for item in flat(read(data)) if isinstance(item, str)] == ["one ***", "*** ***"]


def test_a_beginning_without_secrets_has_those_of_the_last_one() -> None:
    again = begin_mark(TOKEN, "id-2", 'a "job"', 3)
    assert again == mark(TOKEN, BEGIN, ["id-2", 'a "job"', 3])
    data = begin("s3cr3t-value") + again + b"s3cr3t-value\n"
    assert flat(read(data)) == [("B", ["id", "job", 1]), ("B", ["id-2", 'a "job"', 3]), "***"]


def test_records_are_masked() -> None:
    data = begin("s3cr3t-value") + mark(TOKEN, RECORD, [7, "INFO", "it is 's3cr3t-value'"])
    assert flat(read(data))[1] == ("R", [7, "INFO", "it is '***'"])


def test_a_record_with_what_is_no_text_can_be_kept() -> None:
    [(_, value)] = read(mark(TOKEN, RECORD, [7, "INFO", "cannot read b\udce4r.csv"]))
    assert value == [7, "INFO", "cannot read b\\udce4r.csv"]


@given(st.text(st.characters(codec="utf-8"), max_size=200), st.integers(4, 40))
def test_a_long_text_is_cut_between_characters(text: str, longest: int) -> None:
    found = pieces(text, longest)
    assert "".join(found) == text
    assert all(len(piece.encode()) <= longest for piece in found)
    assert all(found) or found == [""]


@given(st.lists(st.integers(1, 3 * LONGEST_LINE), max_size=6))
def test_a_long_line_that_comes_in_pieces_keeps_its_characters(cuts: list[int]) -> None:
    text = "aü漢🎉" * LONGEST_LINE
    data = text.encode()
    places = sorted({0, *cuts, len(data)})
    assert "".join(map(str, flat(read(*(data[a:b] for a, b in pairwise(places)))))) == text


def test_what_makes_room_is_told_until_it_has_been_made() -> None:
    window = Window(most_bytes=100, most_lines=100)
    for number in range(4):
        assert window.make_room(25, 1) == []
        window.add(str(number), 25, 1)
    assert window.make_room(25, 1) == ["2"]
    assert window.make_room(50, 1) == ["2", "3"]
    window.add("4", 50, 1)
    assert window.make_room(10, 1) == ["4"]


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 6)), max_size=60))
def test_what_is_kept_is_bounded_and_has_head_and_tail(chunks: list[tuple[int, int]]) -> None:
    window = Window(most_bytes=120, most_lines=12)
    kept: dict[str, tuple[int, int]] = {}
    for number, (size, lines) in enumerate(chunks):
        for dropped in window.make_room(size, lines):
            del kept[dropped]
        window.add(str(number), size, lines)
        kept[str(number)] = (size, lines)
        assert sum(size for size, _ in kept.values()) <= 120
        assert sum(lines for _, lines in kept.values()) <= 12
        assert str(number) in kept
    if chunks:
        assert "0" in kept
