"""Every run that has ended is copied, once, whoever was killed, away, or copying at the same time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from runner.archive import copier as module
from runner.archive.copier import Copier
from runner.archive.reader import Reader
from runner.archive.rows import Row
from runner.archive.store import Archive
from runner.errors import ArchiveMismatch, ArchiveUnavailable
from runner.ledger.health.reconcile import reconcile
from runner.ledger.ledger import Ledger
from runner.ledger.metrics import read_counts
from runner.ledger.run_log import RunLog
from runner.ledger.unarchived import read_backlog
from runner.model.run import Run, State
from runner.model.run_query import RunQuery
from runner.settings import Settings
from tests.support.answers import texts
from tests.support.bench import Bench
from tests.support.flows import FlowBench


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, archive_url="sqlite:////nowhere/archive.db")  # that there is one: the tests open theirs


@pytest.fixture
def copier(bench: Bench, archive: Archive) -> Copier:
    return Copier(bench.ledger, archive)


@pytest.fixture
def reader(bench: Bench, archive: Archive) -> Reader:
    return Reader(archive, bench.ledger.namespace)


@pytest.fixture
def one(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """An archive of SQLite: for what does not differ between databases."""
    archive = Archive.open(f"sqlite:///{tmp_path_factory.mktemp('one')}/archive.db")
    archive.prepare()
    yield archive
    archive.close()


def ids(reader: Reader) -> set[str]:
    return {run.id for run in reader.page(RunQuery(steps=True), limit=1000).runs}


def archived(bench: Bench, run_id: str) -> Run:
    """Return a run as the archive shows it: as the ledger does, marked."""
    return replace(bench.ledger.get(run_id), archived=True)


def lists(bench: Bench) -> tuple[set[str], set[str]]:
    """Return the ids that wait to be copied, and those that were."""
    keys, client = bench.ledger.keys, bench.ledger.client
    return set(client.zrange(keys.prunable, 0, -1)), set(client.zrange(keys.archived, 0, -1))  # type: ignore[arg-type]


def write_log(bench: Bench, run: Run, *texts: str, attempt: int = 1) -> None:
    log = RunLog(bench.ledger, run.id)
    for number, text in enumerate(texts, 1):
        log.append(attempt, number, json.dumps([[1_700_000_000_000 + number, None, text]]).encode(), [])


# -- what is copied


def test_a_run_is_copied_as_status_and_logs_show_it(bench: Bench, copier: Copier, reader: Reader) -> None:
    done = [bench.end(state)[0] for state in (State.SUCCESS, State.FAILURE, State.REVOKED)]
    write_log(bench, done[0], "first", "second")
    waiting = bench.submit()
    assert copier.copy().runs == 3
    for run in done:
        assert reader.get(run.id) == archived(bench, run.id)
        assert reader.log(run.id) == list(RunLog(bench.ledger, run.id).lines())
    assert [line.text for line in reader.log(done[0].id)] == ["first", "second"]
    assert reader.get(waiting.id) is None
    assert lists(bench) == (set(), {run.id for run in done})
    assert read_counts(bench.ledger).archived == 3
    assert copier.copy().runs == 0


def test_a_long_log_is_copied_with_its_end(bench: Bench, one: Archive) -> None:
    run, _ = bench.end(State.SUCCESS)
    write_log(bench, run, *(f"{number} {'x' * 1000}" for number in range(200)))
    Copier(bench.ledger, one).copy()
    log = Reader(one, bench.ledger.namespace).log(run.id)
    assert log[-1].text.startswith("199 ")
    assert len(log[1:]) == pytest.approx(62, abs=5)
    assert log[0].cut == 200 - len(log[1:])


def test_what_a_database_cannot_hold_is_copied_without_that(bench: Bench, copier: Copier, reader: Reader) -> None:
    run = bench.submit(params={"text": "a\0b\ud800"})
    token = bench.start(run)
    bench.attempts.succeed(run.id, token, json.dumps("c\0d"))
    write_log(bench, run, "e\0f")
    bench.ledger.client.hset(bench.ledger.keys.run(run.id), "submitted_by", b"\xff\x00")
    assert copier.copy().refused == {}
    found = reader.get(run.id)
    assert found is not None
    assert found.result == "c\0d"
    assert found.params["text"].startswith("a\0b")


def test_a_damaged_record_is_copied_as_it_is_shown(bench: Bench, one: Archive) -> None:
    client, keys = bench.ledger.client, bench.ledger.keys
    runs = [bench.end(State.SUCCESS)[0] for _ in range(5)]
    client.hset(keys.run(runs[0].id), "params", "[")
    client.hset(keys.run(runs[1].id), mapping={"submitted_at": "x", "finished_at": "", "started_at": "-1"})
    client.delete(keys.run(runs[2].id))
    client.set(keys.run(runs[2].id), "no record")
    client.delete(keys.log(runs[3].id))
    client.set(keys.log(runs[3].id), "no log")
    client.delete(keys.run(runs[4].id))
    copier, reader = Copier(bench.ledger, one), Reader(one, bench.ledger.namespace)
    copier.copy()
    for run in (runs[0], runs[1], runs[3]):
        found = reader.get(run.id)
        assert found == archived(bench, run.id)
    assert {run.id for run in runs[:4]} >= ids(reader)
    # An entry that is not a run does not come back again and again.
    assert lists(bench)[0] == set()


def test_a_flow_is_copied_with_its_step_runs(bench: Bench, copier: Copier, reader: Reader) -> None:
    steps: dict[str, Any] = {"a": {"each": [1, 2, 3], "task": "m:a"}, "b": {"needs": ["a"], "job": "inner"}}
    inner: dict[str, Any] = {"steps": {"c": {"task": "m:c"}}}
    flows = FlowBench(bench, {"flow": {"steps": steps}, "inner": inner})
    flow = flows.run()
    flows.work(lambda run: {"step": run.step, "item": run.item})
    run = bench.ledger.get(flow)
    assert run.state is State.SUCCESS
    below = texts(bench.ledger.client.lrange(bench.ledger.keys.flow_runs(flow), 0, -1))
    [inner_flow] = [run_id for run_id in below if bench.ledger.get(run_id).steps]
    below += texts(bench.ledger.client.lrange(bench.ledger.keys.flow_runs(inner_flow), 0, -1))
    assert copier.copy().runs == 6
    assert ids(reader) == {flow, *below}
    for run_id in (*below, flow):
        assert reader.get(run_id) == archived(bench, run_id)
    assert {copied.id for copied in reader.page(RunQuery(), limit=9).runs} == {flow}


# -- killed, away, twice


@pytest.mark.parametrize("after", range(8))
def test_a_copier_that_is_killed_leaves_no_gap(
    bench: Bench, one: Archive, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Killed before its ``after``-th word to the database or to Redis; the next one goes on."""
    monkeypatch.setattr(module, "PORTION", 2)
    runs = [bench.end(State.SUCCESS)[0] for _ in range(5)]

    class Killed(BaseException):
        pass

    left = [after]

    def dying(call: Callable[..., Any]) -> Callable[..., Any]:
        def one_word(*args: Any, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return call(*args, **kwargs)

        return one_word

    with monkeypatch.context() as dies:
        dies.setattr(one, "put", dying(one.put))
        for name in ("next_ids", "note_archived", "read_finished"):
            dies.setattr(module, name, dying(getattr(module, name)))
        with pytest.raises(Killed):
            Copier(bench.ledger, one).copy()
    reader = Reader(one, bench.ledger.namespace)
    # What the ledger takes for copied is there.
    assert lists(bench)[1] <= ids(reader)
    Copier(bench.ledger, one).copy()
    assert ids(reader) == {run.id for run in runs}
    assert lists(bench) == (set(), {run.id for run in runs})


def test_two_copiers_at_once_copy_every_run_once(bench: Bench, archive: Archive, reader: Reader) -> None:
    runs = [bench.end(State.SUCCESS)[0] for _ in range(40)]

    def copy(_: int) -> None:
        ledger = Ledger.open(bench.ledger.settings)
        Copier(ledger, archive).copy()
        ledger.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(copy, range(4)))
    assert ids(reader) == {run.id for run in runs}
    assert lists(bench) == (set(), {run.id for run in runs})
    assert read_counts(bench.ledger).archived == 40


def test_a_clock_that_steps_back_makes_no_gap(bench: Bench, one: Archive) -> None:
    """Runs that end now, after one that ended in the future, are copied as well."""
    client, keys = bench.ledger.client, bench.ledger.keys
    first, _ = bench.end(State.SUCCESS)
    client.hset(keys.run(first.id), "finished_at", 4_000_000_000_000)
    client.zadd(keys.prunable, {first.id: 4_100_000_000_000})
    copier = Copier(bench.ledger, one)
    copier.copy()
    second, _ = bench.end(State.SUCCESS)
    copier.copy()
    assert ids(Reader(one, bench.ledger.namespace)) == {first.id, second.id}


def test_runs_that_ended_before_there_was_an_archive_are_copied(bench: Bench, one: Archive) -> None:
    runs = [bench.end(State.FAILURE)[0] for _ in range(3)]
    assert Copier(bench.ledger, one).copy().runs == 3
    assert ids(Reader(one, bench.ledger.namespace)) == {run.id for run in runs}


def test_what_is_lost_first_is_copied_first(bench: Bench, one: Archive) -> None:
    long = bench.end(State.SUCCESS, job=bench.job("long", history=1e6))[0]
    short = bench.end(State.SUCCESS, job=bench.job("short", history=60.0))[0]
    assert bench.ledger.client.zrange(bench.ledger.keys.prunable, 0, -1) == [short.id, long.id]
    copied: list[list[str]] = []
    copier = Copier(bench.ledger, one)
    one_put = one.put

    def put(namespace: str, rows: list[Row], ledger: str) -> None:
        copied.append([row["id"] for row in rows])
        one_put(namespace, rows, ledger)

    one.put = put  # type: ignore[method-assign,assignment]
    copier.copy()
    assert copied == [[short.id, long.id]]


def test_a_database_that_is_away_loses_nothing(bench: Bench, archive: Archive, reader: Reader) -> None:
    run, _ = bench.end(State.SUCCESS)
    copier = Copier(bench.ledger, archive)
    copier.begin()
    with archive.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE runner_runs RENAME TO away")
    with pytest.raises(ArchiveUnavailable):
        copier.copy()
    assert lists(bench) == ({run.id}, set())
    with archive.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE away RENAME TO runner_runs")
    copier.copy()
    assert ids(reader) == {run.id}


def test_a_row_that_the_database_refuses_keeps_no_other_back(
    bench: Bench, archive: Archive, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PORTION", 3)
    runs = [bench.end(State.SUCCESS)[0] for _ in range(7)]
    bad = runs[2].id
    with archive.writing() as connection:
        # Whatever a database may have against a row.
        if archive.engine.name == "sqlite":
            connection.exec_driver_sql(
                "CREATE TRIGGER odd BEFORE INSERT ON runner_runs "
                f"WHEN new.id = '{bad}' BEGIN SELECT raise(ABORT, 'odd'); END"
            )
        else:
            connection.exec_driver_sql(f"ALTER TABLE runner_runs ADD CONSTRAINT odd CHECK (id <> '{bad}')")
    copier = Copier(bench.ledger, archive)
    copied = copier.copy()
    assert set(copied.refused) == {bad}
    assert ids(reader) == {run.id for run in runs} - {bad}
    assert lists(bench)[0] == {bad}
    with archive.writing() as connection:
        drop = "DROP TRIGGER odd" if archive.engine.name == "sqlite" else "ALTER TABLE runner_runs DROP CONSTRAINT odd"
        connection.exec_driver_sql(drop)
    copier.copy()
    assert bad in ids(reader)


# -- retention, forgetting, another archive


def test_copied_runs_are_pruned_and_stay_in_the_archive(bench: Bench, one: Archive) -> None:
    run, _ = bench.end(State.SUCCESS)
    uncopied, _ = bench.end(State.SUCCESS)
    copier, reader = Copier(bench.ledger, one), Reader(one, bench.ledger.namespace)
    bench.ledger.client.zrem(bench.ledger.keys.prunable, uncopied.id)
    copier.copy()
    bench.ledger.client.zadd(bench.ledger.keys.prunable, {uncopied.id: 1})
    bench.ledger.client.zadd(bench.ledger.keys.archived, {run.id: 1})
    bench.beat()
    assert bench.ledger.read([run.id, uncopied.id]) == []
    assert bench.leftovers(run.id) == []
    assert reader.get(run.id) is not None


def test_retention_by_number_removes_copied_runs_wholly(bench: Bench, one: Archive) -> None:
    job = bench.job(runs=1, keep_at_least=0.0)
    first, _ = bench.end(State.SUCCESS, job=job)
    Copier(bench.ledger, one).copy()
    bench.end(State.SUCCESS, job=job)
    bench.end(State.SUCCESS, job=job)
    assert bench.ledger.read([first.id]) == []
    assert bench.leftovers(first.id) == []


def test_a_run_that_was_forgotten_is_removed_by_the_next_copier(bench: Bench, one: Archive) -> None:
    copier, reader = Copier(bench.ledger, one), Reader(one, bench.ledger.namespace)
    run, _ = bench.end(State.SUCCESS)
    copier.copy()
    bench.ledger.forget(run.id)
    assert reader.get(run.id) is not None
    assert copier.copy().removed == 1
    assert reader.get(run.id) is None
    # The note goes when nobody can have the run in hand any more.
    keys, client = bench.ledger.keys, bench.ledger.client
    assert client.zcard(keys.forgotten) == 1
    client.zadd(keys.forgotten, {run.id: 1})
    Copier(bench.ledger, one).copy()
    assert client.zcard(keys.forgotten) == 0


def test_a_run_that_is_forgotten_while_it_is_copied_does_not_come_back(
    bench: Bench, one: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = bench.end(State.SUCCESS)
    kept, _ = bench.end(State.SUCCESS)
    copier, reader = Copier(bench.ledger, one), Reader(one, bench.ledger.namespace)
    copier.begin()
    put = one.put

    def forget_first(namespace: str, rows: list[Row], ledger: str) -> None:
        bench.ledger.forget(run.id)
        other = Copier(bench.ledger, one)
        monkeypatch.setattr(one, "put", put)
        other.copy()
        put(namespace, rows, ledger)

    monkeypatch.setattr(one, "put", forget_first)
    copier.copy()
    assert ids(reader) == {kept.id}


def end_again(bench: Bench, run: Run, result: str) -> None:
    """Submit and end another run under the id of one that was forgotten."""
    token = bench.start(bench.submit(id=run.id))
    bench.attempts.succeed(run.id, token, json.dumps(result))


def test_an_id_that_was_forgotten_is_archived_when_it_ends_again(bench: Bench, one: Archive) -> None:
    copier, reader = Copier(bench.ledger, one), Reader(one, bench.ledger.namespace)
    keys, client = bench.ledger.keys, bench.ledger.client
    run, _ = bench.end(State.SUCCESS)
    copier.copy()
    bench.ledger.forget(run.id)
    end_again(bench, run, "second")
    copier.copy()
    assert reader.get(run.id) == archived(bench, run.id)
    assert client.zcard(keys.forgotten) == 0
    assert lists(bench) == (set(), {run.id})
    # What another copier does that has read the note before.
    client.zadd(keys.forgotten, {run.id: 1})
    Copier(bench.ledger, one).copy()
    assert reader.get(run.id) == archived(bench, run.id)
    assert lists(bench) == (set(), {run.id})


def test_an_id_that_is_forgotten_and_ends_again_while_the_first_is_copied(
    bench: Bench, one: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = bench.end(State.SUCCESS)
    copier, reader = Copier(bench.ledger, one), Reader(one, bench.ledger.namespace)
    copier.begin()
    put = one.put

    def forget_first(namespace: str, rows: list[Row], ledger: str) -> None:
        monkeypatch.setattr(one, "put", put)
        bench.ledger.forget(run.id)
        end_again(bench, run, "second")
        put(namespace, rows, ledger)

    monkeypatch.setattr(one, "put", forget_first)
    copier.copy()
    assert reader.get(run.id) == archived(bench, run.id)
    assert lists(bench) == (set(), {run.id})


def test_without_an_archive_nothing_is_noted_of_the_forgotten(bench: Bench, one: Archive) -> None:
    keys, client = bench.ledger.keys, bench.ledger.client
    never, last = (bench.end(State.SUCCESS)[0] for _ in range(2))
    bench.ledger.forget(never.id)
    assert client.exists(keys.forgotten) == 0
    # Also where there was one once.
    Copier(bench.ledger, one).copy()
    off = Ledger.open(replace(bench.ledger.settings, archive_url=None))
    off.forget(last.id)
    off.close()
    assert client.exists(keys.forgotten) == 0


def test_another_database_is_refused_until_it_takes_the_place(bench: Bench, archive: Archive, one: Archive) -> None:
    run, _ = bench.end(State.SUCCESS)
    Copier(bench.ledger, one).copy()
    copier, reader = Copier(bench.ledger, archive), Reader(archive, bench.ledger.namespace)
    with pytest.raises(ArchiveMismatch, match="are copied to another database") as caught:
        copier.copy()
    assert caught.value.hint == "correct archive_url; or, if this database takes its place: runner archive --again"
    copier.begin(again=True)
    copier.copy()
    assert ids(reader) == {run.id}
    with pytest.raises(ArchiveMismatch):
        Copier(bench.ledger, one).copy()


def test_a_second_ledger_is_refused_until_it_takes_the_place(bench: Bench, one: Archive) -> None:
    """Both have one namespace: what one copies would replace runs of the other."""
    client, keys = bench.ledger.client, bench.ledger.keys
    first = Copier(bench.ledger, one)
    kept, _ = bench.end(State.SUCCESS)
    first.copy()
    theirs = client.hgetall(keys.archive)
    # What a second Redis has, or the first one that has lost its data.
    client.delete(keys.archive)
    second, reader = Copier(bench.ledger, one), Reader(one, bench.ledger.namespace)
    run, _ = bench.end(State.SUCCESS)
    for _ in range(2):
        with pytest.raises(ArchiveMismatch, match="from another Redis") as caught:
            second.copy()
    assert caught.value.hint is not None
    assert caught.value.hint.endswith("runner archive --again")
    assert ids(reader) == {kept.id}
    second.begin(again=True)
    second.copy()
    assert ids(reader) == {kept.id, run.id}
    # Whoever copies from the first one notices.
    last, _ = bench.end(State.SUCCESS)
    client.hset(keys.archive, mapping=theirs)  # type: ignore[arg-type]
    with pytest.raises(ArchiveMismatch, match="from another Redis"):
        first.copy()
    assert ids(reader) == {kept.id, run.id}
    assert last.id in lists(bench)[0]
    with pytest.raises(ArchiveMismatch, match="from another Redis"):
        Copier(bench.ledger, one).copy()


def test_a_ledger_that_is_restored_goes_on(bench: Bench, one: Archive) -> None:
    client, keys = bench.ledger.client, bench.ledger.keys
    Copier(bench.ledger, one).begin()
    saved = client.dump(keys.archive)
    client.delete(keys.archive)
    client.restore(keys.archive, 0, saved)  # type: ignore[arg-type]
    run, _ = bench.end(State.SUCCESS)
    assert Copier(bench.ledger, one).copy().runs == 1
    assert ids(Reader(one, bench.ledger.namespace)) == {run.id}


def test_all_is_copied_again_without_losing_results(bench: Bench, archive: Archive, reader: Reader) -> None:
    runs = [bench.end(State.SUCCESS)[0] for _ in range(3)]
    copier = Copier(bench.ledger, archive)
    copier.copy()
    bench.ledger.client.delete(*(f"celery-task-meta-{run.id}" for run in runs))
    archive.remove(bench.ledger.namespace, [runs[0].id])
    copier.begin(again=True)
    copier.copy()
    found = {run.id: reader.get(run.id) for run in runs}
    assert [run is not None and run.result_expired for run in found.values()] == [True, False, False]


def test_after_redis_lost_all_the_archive_goes_on_when_told_to(bench: Bench, one: Archive) -> None:
    copier, reader = Copier(bench.ledger, one), Reader(one, bench.ledger.namespace)
    first, _ = bench.end(State.SUCCESS)
    copier.copy()
    bench.ledger.client.delete(*bench.ledger.client.scan_iter(f"{bench.ledger.namespace}:*"))
    second, _ = bench.end(State.SUCCESS)
    # It cannot be told from another Redis.
    with pytest.raises(ArchiveMismatch):
        copier.begin()
    copier.begin(again=True)
    copier.copy()
    assert ids(reader) == {first.id, second.id}
    assert lists(bench) == (set(), {second.id})


# -- the doctor and its reports


def test_the_doctor_finds_copied_runs_in_order(bench: Bench, one: Archive) -> None:
    def found(*, mend: bool = False) -> dict[str, int]:
        counts = {finding.name: finding.count for finding in reconcile(bench.ledger, mend=mend) if finding.count}
        return {name: count for name, count in counts.items() if name != "queue-names"}

    run, _ = bench.end(State.SUCCESS)
    Copier(bench.ledger, one).copy()
    assert found() == {}
    client, keys = bench.ledger.client, bench.ledger.keys
    client.zadd(keys.archived, {"gone": 2**50})
    assert found(mend=True) == {"strays": 1}
    client.zrem(keys.archived, run.id)
    assert found(mend=True) == {"indexes": 1}
    # It is copied again, which changes nothing.
    assert lists(bench) == ({run.id}, set())


def test_the_backlog_tells_what_is_lost_first(bench: Bench, one: Archive) -> None:
    assert read_backlog(bench.ledger).lag == 0.0
    job = bench.job("short", history=600.0)
    bench.end(State.SUCCESS, job=job)
    bench.end(State.FAILURE)
    backlog = read_backlog(bench.ledger, lambda name: {"short": 60.0}[name])
    assert (backlog.runs, backlog.archived, backlog.identity) == (2, 0, None)
    assert backlog.ended is not None
    assert backlog.loses_result == backlog.ended + 60.0
    assert backlog.loses_run == pytest.approx(backlog.ended + 600.0, abs=0.1)
    assert replace(backlog, now=backlog.ended + 5).lag == 5.0
    Copier(bench.ledger, one).copy()
    after = read_backlog(bench.ledger)
    assert (after.runs, after.archived, after.lag) == (0, 2, 0.0)
    assert (after.identity, after.ledger) == one.identity(bench.ledger.namespace, "?")
