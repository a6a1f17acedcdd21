"""Lists on a terminal: one line for each row, whatever its width."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from runner.cli.terminal.columns import Column, clip, fit, plain_lines, short_ids

Row = tuple[str, ...]


def column(
    at: int, heading: str, priority: int = 0, *, flexible: bool = False, right: bool = False, least: int = 0
) -> Column[Row]:
    return Column(heading, lambda row: row[at], priority, flexible=flexible, right=right, least=least)


COLUMNS = [
    column(0, "WHEN", 2),
    column(1, "JOB", flexible=True),
    column(2, "STATE"),
    column(3, "RUNS", 1, right=True),
    column(4, "PARAMS", 3, flexible=True),
]
ROWS = [
    ("3m ago", "nightly-report-of-all-regions", "SUCCESS", "12", "day=2026-11-23 region=eu"),
    ("in 2h", "cleanup", "FAILURE (timeout)", "3", ""),
]


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (
            100,
            [
                "WHEN    JOB                            STATE              RUNS  PARAMS",
                "3m ago  nightly-report-of-all-regions  SUCCESS              12  day=2026-11-23 region=eu",
                "in 2h   cleanup                        FAILURE (timeout)     3",
            ],
        ),
        (  # the least important flexible column is cut first
            80,
            [
                "WHEN    JOB                            STATE              RUNS  PARAMS",
                "3m ago  nightly-report-of-all-regions  SUCCESS              12  day=2026-11-23…",
                "in 2h   cleanup                        FAILURE (timeout)     3",
            ],
        ),
        (  # then columns are dropped by priority
            64,
            [
                "WHEN    JOB                            STATE              RUNS",
                "3m ago  nightly-report-of-all-regions  SUCCESS              12",
                "in 2h   cleanup                        FAILURE (timeout)     3",
            ],
        ),
        (
            46,
            [
                "JOB                    STATE              RUNS",
                "nightly-report-of-al…  SUCCESS              12",
                "cleanup                FAILURE (timeout)     3",
            ],
        ),
        (  # and what is never dropped is cut
            30,
            [
                "JOB          STATE",
                "nightly-re…  SUCCESS",
                "cleanup      FAILURE (timeout)",
            ],
        ),
    ],
)
def test_columns_are_cut_and_dropped_by_priority(width: int, lines: list[str]) -> None:
    assert fit(COLUMNS, ROWS, width) == lines


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (  # a time is kept, and a long name is cut to 16 cells before a state is
            62,
            [
                "TIME                       JOB               STATE",
                "2026-11-28 02:00:00+01:00  nightly-report-…  FAILURE (timeout)",
            ],
        ),
        (
            54,
            [
                "TIME                       JOB               STATE",
                "2026-11-28 02:00:00+01:00  nightly-report-…  FAILURE…",
            ],
        ),
        (50, ["TIME                       JOB            STATE", "2026-11-28 02:00:00+01:00  nightly-repo…  FAILURE…"]),
    ],
)
def test_a_time_and_the_start_of_a_state_are_kept(width: int, lines: list[str]) -> None:
    columns = [column(0, "TIME"), column(1, "JOB", flexible=True, least=16), column(2, "STATE", least=8)]
    rows = [("2026-11-28 02:00:00+01:00", "nightly-report-of-all-the-regions-of-the-world", "FAILURE (timeout)")]
    assert fit(columns, rows, width) == lines


def test_a_schedule_is_in_full_or_less_important_columns_are_dropped() -> None:
    columns = [column(0, "JOB", flexible=True), column(1, "SCHEDULE", 2, flexible=True, least=16), column(2, "ON", 3)]
    rows = [("nightly-report-of-all-regions", "*/5 * * * *", "paused")]
    assert fit(columns, rows, 41)[1] == "nightly-report-of-a…  */5 * * * *  paused"
    assert fit(columns, rows, 40)[1] == "nightly-report-of-all-regi…  */5 * * * *"


def test_cells_of_wide_characters_are_counted_and_colors_are_not() -> None:
    rows = [("", "导入旧仓库系统的客户数据", "SUCCESS", "1", ""), ("", "👍👍", "RETRY", "2", "")]
    assert fit(COLUMNS[1:3], rows, 20) == ["JOB          STATE", "导入旧仓库…  SUCCESS", "👍👍         RETRY"]
    styled = [Column("STATE", lambda row: row[2], styles={"RETRY": "yellow"}), COLUMNS[1]]
    painted = fit(styled, rows, None, paint=lambda text, style: f"<{style}:{text}>")
    assert painted[2] == "<yellow:RETRY>    👍👍"


def test_an_id_has_8_characters_unless_two_begin_alike() -> None:
    ids = ["0123456789ab", "012345678fff", "fedcba9876543210", "short", ""]
    short = short_ids([*ids, *ids])
    assert list(map(short.get, ids)) == ["0123456789", "012345678f", "fedcba98", "short", ""]
    columns: list[Column[Row]] = [Column("ID", lambda row: row[0], id=True)]
    assert fit(columns, [("fedcba9876543210",)], 80)[1] == "fedcba98"
    assert fit(columns, [("fedcba9876543210",)], None)[1] == "fedcba9876543210"
    assert plain_lines(columns, [("fedcba9876543210",)])[0][1] == "fedcba9876543210"


def test_a_program_gets_every_column_in_full() -> None:
    lines, widths = plain_lines(COLUMNS[1:4], ROWS)
    assert lines[2] == "cleanup                        FAILURE (timeout)  3"
    assert plain_lines(COLUMNS[1:4], ROWS[1:], widths)[0][1] == lines[2]


@given(
    st.lists(st.tuples(*[st.text(max_size=40)] * 5), max_size=5),
    st.integers(1, 120),
    st.sampled_from(["…", "~"]),
)
def test_a_row_is_one_line_at_any_width(rows: list[Row], width: int, ellipsis: str) -> None:
    lines = fit(COLUMNS, rows, width, ellipsis=ellipsis)
    assert len(lines) == len(rows) + 1
    assert all(len(line.splitlines()) <= 1 and cell_len(line) <= width for line in lines)
    assert all(cell_len(clip(row[0], width, ellipsis)) <= width for row in rows)
