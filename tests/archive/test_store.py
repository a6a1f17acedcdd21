"""Rows are written once, however often they come, and are read as they were."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from runner.archive.figures import figures
from runner.archive.reader import Reader
from runner.archive.rows import row_of
from runner.archive.store import Archive
from runner.errors import ArchiveUnavailable
from runner.model.log_line import LogLine
from runner.model.run import Run, State, to_timestamp
from runner.model.run_page import Part
from runner.model.run_query import RunQuery
from tests.support.archives import NAMESPACE
from tests.support.postgres import USER
from tests.support.servers import free_port


def run(number: int, **fields: object) -> Run:
    values = {
        "id": f"{number:08x}-0000-4000-8000-000000000000",
        "job": "report",
        "state": State.SUCCESS,
        "result": number,
        "submitted_at": to_timestamp(1_700_000_000_000 + number * 1000),
        "finished_at": to_timestamp(1_700_000_000_500 + number * 1000),
        "archived": True,
        **fields,
    }
    return Run(**values)  # type: ignore[arg-type]


def put(archive: Archive, *runs: Run, namespace: str = NAMESPACE) -> None:
    archive.put(namespace, [row_of(record) for record in runs])


def test_what_was_put_is_read(archive: Archive) -> None:
    odd = run(1, params={"text": 'it\'s 100 % "日本" \\ :x'}, error=None, result={"a": [None, "\0"]})
    archive.put(NAMESPACE, [row_of(odd, [LogLine(5, 1, "INFO", "hello")])])
    reader = Reader(archive, NAMESPACE)
    found = reader.get(odd.id)
    assert found == odd
    assert reader.log(odd.id) == [LogLine(5, 1, "INFO", "hello")]
    assert reader.get("other") is None
    assert reader.log("other") == []
    assert Reader(archive, "other").get(odd.id) is None


def test_a_row_that_comes_again_is_one_row(archive: Archive) -> None:
    archive.identity(NAMESPACE, "ledger")
    put(archive, run(1), run(2))
    put(archive, run(2), run(3))
    assert [record.result for record in Reader(archive, NAMESPACE).page(RunQuery(), limit=9).runs] == [3, 2, 1]
    assert Reader(archive, NAMESPACE).copied().runs == 4


def test_the_later_document_wins_but_never_loses_the_result(archive: Archive) -> None:
    reader = Reader(archive, NAMESPACE)
    put(archive, run(1))
    put(archive, run(1, result=None, result_expired=True))
    assert reader.get(run(1).id) == run(1)
    put(archive, run(1, detail="told later"))
    assert reader.get(run(1).id) == run(1, detail="told later")
    # Of another end than the one that is known, as after a failover of Redis, there is no other result.
    again = run(1, result=None, result_expired=True, finished_at=to_timestamp(1_800_000_000_000))
    put(archive, again)
    assert reader.get(run(1).id) == again
    put(archive, run(1))
    assert reader.get(run(1).id) == run(1)


def test_a_transaction_that_fails_writes_nothing(archive: Archive) -> None:
    rows = [row_of(run(1)), {**row_of(run(2)), "job": None}]
    with pytest.raises(ArchiveUnavailable):
        archive.put(NAMESPACE, rows)
    assert Reader(archive, NAMESPACE).page(RunQuery(), limit=9).runs == []


def test_two_who_write_the_same_rows_do_not_wait_for_one_another(archive: Archive) -> None:
    rows = [row_of(run(number)) for number in range(100)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda part: archive.put(NAMESPACE, part), [rows, rows[::-1]] * 4))
    assert len(Reader(archive, NAMESPACE).page(RunQuery(), limit=200).runs) == 100


def test_ids_are_found_by_prefix_and_ordered_by_bytes(archive: Archive) -> None:
    put(archive, run(1, id="abcdefgh-1"), run(2, id="abcdefgh_"), run(3, id="abcdefghB"), run(4, id="b"))
    assert Reader(archive, NAMESPACE).find("abcdefgh") == ["abcdefgh-1", "abcdefghB", "abcdefgh_"]
    assert Reader(archive, NAMESPACE).find("abcdefgh", 1) == ["abcdefgh-1"]


def test_a_flow_is_removed_with_all_below_it(archive: Archive) -> None:
    put(archive, run(1), run(2, flow=run(1).id), run(3, flow=run(2).id), run(4))
    put(archive, run(1), namespace="other")
    assert archive.remove(NAMESPACE, [run(1).id, "none"]) == 3
    assert [record.id for record in Reader(archive, NAMESPACE).page(RunQuery(steps=True), limit=9).runs] == [run(4).id]
    assert Reader(archive, "other").get(run(1).id) == run(1)


def test_a_database_without_tables_reads_as_an_empty_archive(archive_url: str) -> None:
    archive = Archive.open(archive_url)
    reader = Reader(archive, NAMESPACE)
    assert reader.get("x") is None
    assert reader.find("x") == []
    assert reader.page(RunQuery(), limit=1) == Part([], None)
    assert (reader.log("x"), reader.step_runs("x")) == ([], [])
    assert figures(reader, {"x": None}, [0, 1], {"x": 3}) == {}
    assert reader.copied().runs == 0
    if archive_url.startswith("sqlite"):
        assert not Path(archive_url.removeprefix("sqlite:///")).exists()
    archive.close()


def test_the_identity_of_a_project_stays(archive: Archive) -> None:
    with ThreadPoolExecutor(4) as pool:
        known = set(pool.map(archive.identity, [NAMESPACE] * 8, map(str, range(8))))
    [(identity, ledger)] = known
    assert archive.identity("other", "8") != (identity, ledger)
    assert archive.identity("other", "9")[1] == "8"


def test_a_server_that_is_away_is_named_without_its_password() -> None:
    archive = Archive.open(f"postgresql://{USER}:geheim@127.0.0.1:{free_port()}/x")
    with pytest.raises(ArchiveUnavailable, match=r"the archive postgresql://shop:\*\*\*@127\.0\.0\.1") as caught:
        Reader(archive, NAMESPACE).get("x")
    assert "geheim" not in caught.value.message
    assert caught.value.hint == "is PostgreSQL running there, and is the port right?"
    assert caught.value.exit_code == 69
    archive.close()


def test_a_database_that_does_not_exist_is_named(postgres_url: str) -> None:
    archive = Archive.open(f"{postgres_url}_no")
    with pytest.raises(ArchiveUnavailable, match="does not exist") as caught:
        archive.prepare()
    assert caught.value.hint == "create it, or correct archive_url"
    archive.close()


def test_values_are_not_in_an_error(archive: Archive) -> None:
    private = replace(run(1), params={"token": "private"})
    with pytest.raises(ArchiveUnavailable) as caught:
        archive.put(NAMESPACE, [{**row_of(private), "state": None}])
    assert "private" not in f"{caught.value.message} {caught.value.hint}"


def test_a_reader_does_not_wait_for_the_writer(tmp_path: Path) -> None:
    archive = Archive.open(f"sqlite:///{tmp_path}/a.db")
    archive.prepare()
    put(archive, run(1))
    with archive.writing() as connection:
        connection.exec_driver_sql("DELETE FROM runner_runs")
        assert Reader(archive, NAMESPACE).get(run(1).id) == run(1)
    assert Reader(archive, NAMESPACE).get(run(1).id) is None
    with sqlite3.connect(tmp_path / "a.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    archive.close()
