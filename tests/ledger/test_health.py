"""Everything between ledger and queues broken by hand: the doctor finds it, mends it once, and then finds nothing."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.ledger.fleet import SILENT_SECONDS
from runner.ledger.health.finding import Finding, Level
from runner.ledger.health.fleet import archive_dead_letters, check_dead_letters, check_queues, check_workers
from runner.ledger.health.reconcile import Reconciliation, reconcile
from runner.ledger.health.server import ask, check_server, losing_settings
from runner.ledger.ledger import WORKER_RECORD_SECONDS, Ledger
from runner.model.run import FINAL, Run, State
from runner.settings import Settings
from tests.support.answers import text
from tests.support.bench import ERROR, Bench
from tests.support.deadline import wait_until
from tests.support.project import Project


def found(findings: list[Finding]) -> dict[str, int]:
    """Count the findings by name; queues that nobody takes from are found in every test."""
    return {finding.name: finding.count for finding in findings if finding.count and finding.name != "queue-names"}


def mended(bench: Bench, **expected: int) -> None:
    """Look, repair, repair again, look: what was expected is found twice, and then nothing."""
    names = {name.replace("_", "-"): count for name, count in expected.items()}
    assert found(reconcile(bench.ledger)) == names
    assert found(reconcile(bench.ledger, mend=True)) == names
    once = dump(bench)
    assert found(reconcile(bench.ledger, mend=True)) == {}
    assert dump(bench) == once
    assert found(reconcile(bench.ledger)) == {}


def dump(bench: Bench) -> dict[str, Any]:
    """Return all that the namespace holds, but for the notes that every sweep makes."""
    client, namespace = bench.ledger.client, bench.ledger.namespace
    readers: dict[str, Callable[[str], Any]] = {
        "hash": client.hgetall,
        "zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        "list": lambda key: client.lrange(key, 0, -1),
        "set": client.smembers,
        "string": client.get,
        "stream": client.xlen,
    }
    return {
        key: readers[str(client.type(key))](key)
        for key in client.scan_iter(f"{namespace}:*")
        if key != f"{namespace}:sweep" and not key.startswith(f"{namespace}:ring:")
    }


@pytest.fixture
def keys(bench: Bench) -> Callable[[str], str]:
    return lambda name: f"{bench.ledger.namespace}:{name}"


@pytest.fixture
def swept(bench: Bench, keys: Callable[[str], str]) -> Bench:
    """Sweeps went on until now, so that the next one need not wait."""
    now = int(bench.now() * 1000) - 1
    bench.ledger.client.hset(keys("sweep"), mapping={"last": now, "hold_until": 0})
    return bench


# -- what is sound


def test_sound_runs_in_every_state_are_left_alone(swept: Bench) -> None:
    bench = swept
    for state in State:
        bench.at(state)
    bench.submit(eta=time.time() + 3600, expires=60.0)
    bench.submit(expires=3600.0)
    held, token = bench.submit(), ""
    token = bench.claim_of(held)
    terminating, _ = bench.at(State.STARTED)
    bench.ledger.revoke(terminating.id, by="me", terminate=True)
    before = dump(bench)
    assert found(reconcile(bench.ledger)) == {}
    assert found(reconcile(bench.ledger, mend=True)) == {}
    after = dump(bench)
    assert after == before
    assert token in after[f"{bench.ledger.namespace}:claims"]


def test_nothing_at_all_is_sound(bench: Bench) -> None:
    assert found(reconcile(bench.ledger, mend=True)) == {}


# -- runs without a message


def test_a_lost_message_is_written_again(swept: Bench, keys: Callable[[str], str]) -> None:
    run = swept.submit(params={"day": "x", "list": [1]}, priority=7)
    swept.ledger.client.delete(keys("queue:default:7"))
    mended(swept, runs_without_message=1)
    assert swept.messages() == [run.id]
    swept.attempts.succeed(run.id, swept.start(run), "1")
    assert swept.ledger.get(run.id).state is State.SUCCESS


def test_a_message_written_again_is_the_one_that_was_lost(swept: Bench, keys: Callable[[str], str]) -> None:
    swept.submit(params={"day": "x", "limit": 5})
    client, key = swept.ledger.client, keys("queue:default:5")
    original = text(client.lpop(key))
    mended(swept, runs_without_message=1)
    assert json.loads(text(client.lindex(key, 0))) == json.loads(original)


@pytest.mark.parametrize("lost", ["entry", "message", "both"])
@pytest.mark.parametrize("state", [State.PENDING, State.RETRY])
def test_a_delayed_run_that_was_lost_keeps_its_time(
    swept: Bench, keys: Callable[[str], str], lost: str, state: State
) -> None:
    due = time.time() + 3600
    run = swept.submit(eta=due if state is State.PENDING else None)
    if state is State.RETRY:
        swept.attempts.retry(run.id, swept.start(run), 3600.0, ERROR)
    before = swept.ledger.client.zscore(keys("delayed"), run.id)
    if lost != "message":
        swept.ledger.client.zrem(keys("delayed"), run.id)
    if lost != "entry":
        swept.ledger.client.hdel(keys(f"run:{run.id}"), "message")
    more = {"strays": 1} if lost == "message" else {}
    look = found(reconcile(swept.ledger))
    assert look == {"runs-without-message": 1, **more}
    reconcile(swept.ledger, mend=True)
    assert found(reconcile(swept.ledger, mend=True)) == {}
    assert swept.ledger.client.zscore(keys("delayed"), run.id) == before
    assert swept.messages() == []


def test_a_retry_whose_message_vanished_starts_again(swept: Bench, keys: Callable[[str], str]) -> None:
    run, _ = swept.at(State.RETRY)
    swept.ledger.client.delete(keys("queue:default:5"))
    mended(swept, runs_without_message=1)
    assert swept.messages() == [run.id]


def test_many_lost_messages_of_several_queues(swept: Bench, keys: Callable[[str], str]) -> None:
    for number in range(120):
        swept.submit(queue=f"q{number % 3}", priority=number % 10)
    for key in list(swept.ledger.client.scan_iter(keys("queue:*"))):
        swept.ledger.client.delete(key)
    mended(swept, runs_without_message=120)
    lists = swept.ledger.client.scan_iter(keys("queue:*"))
    assert sum(int(swept.ledger.client.llen(key)) for key in lists) == 120


# -- runs without a claim


def test_started_without_a_claim_is_redelivered_a_lease_later(swept: Bench, keys: Callable[[str], str]) -> None:
    run, token = swept.at(State.STARTED)
    swept.ledger.client.hdel(keys("claims"), token)
    swept.ledger.client.zrem(keys("leases"), token)
    mended(swept, runs_without_claim=1)
    after = swept.ledger.get(run.id)
    assert (after.state, after.losses, after.retries) == (State.RETRY, 1, 0)
    due = float(swept.ledger.client.zscore(keys("delayed"), run.id) or 0) / 1000
    assert due > swept.now() + swept.ledger.settings.worker.lease - 5
    # Whoever still runs it is a zombie.
    assert not swept.attempts.succeed(run.id, token, "1")
    swept.make_due(run.id)
    assert swept.messages() == [run.id]


def test_started_without_a_claim_that_was_revoked_ends(swept: Bench, keys: Callable[[str], str]) -> None:
    run, token = swept.at(State.STARTED)
    swept.ledger.revoke(run.id, by="me", terminate=True)
    swept.ledger.client.hdel(keys("claims"), token)
    swept.ledger.client.zrem(keys("leases"), token)
    mended(swept, runs_without_claim=1)
    assert swept.ledger.get(run.id).reason == "terminated"


def test_started_without_a_claim_and_its_message_in_a_queue(swept: Bench, keys: Callable[[str], str]) -> None:
    run, token = swept.at(State.STARTED)
    held = swept.ledger.client.hget(keys("claims"), token)
    swept.ledger.client.lpush(keys("queue:default:5"), str(held).partition("\n")[2])
    swept.ledger.client.hdel(keys("claims"), token)
    swept.ledger.client.zrem(keys("leases"), token)
    mended(swept, runs_without_claim=1)
    assert swept.messages() == []
    swept.make_due(run.id)
    assert swept.messages() == [run.id]


# -- more than one message


@pytest.mark.parametrize("place", ["queue", "claim", "started", "delayed"])
def test_of_several_messages_one_stays(swept: Bench, keys: Callable[[str], str], place: str) -> None:
    run = swept.submit(eta=time.time() + 3600 if place == "delayed" else None)
    client, queue = swept.ledger.client, keys("queue:default:5")
    if place == "delayed":
        message = text(client.hget(keys(f"run:{run.id}"), "message"))
    else:
        message = text(client.lindex(queue, 0))
    if place in ("claim", "started"):
        token = swept.claim()
        if place == "started":
            swept.attempts.start(run.id, token, "w1", "job")
    other = swept.submit()
    client.lpush(queue, message)
    client.rpush(queue, message)
    mended(swept, duplicate_messages=1)
    assert sorted(swept.messages()) == sorted([run.id, other.id] if place == "queue" else [other.id])
    if place == "queue":
        # The one that was next stays where it was.
        assert swept.messages()[0] == run.id
    else:
        assert swept.held() == (0 if place == "delayed" else 1)


def test_a_plain_clients_message_about_to_be_adopted_is_not_the_runs_own(
    swept: Bench, keys: Callable[[str], str]
) -> None:
    run = swept.submit()
    client = swept.ledger.client
    envelope = json.loads(text(client.lindex(keys("queue:default:5"), 0)))
    del envelope["headers"]["runner"]
    claim = {"queue": "celery", "priority": 0, "worker": "w1", "ours": False, "id": run.id}
    client.hset(keys("claims"), "foreign", json.dumps(claim, separators=(",", ":")) + "\n" + json.dumps(envelope))
    client.zadd(keys("leases"), {"foreign": (swept.now() + 60) * 1000})
    assert found(reconcile(swept.ledger, mend=True)) == {}
    assert swept.messages() == [run.id]


def test_messages_of_ended_and_forgotten_runs_are_no_fault_and_removed(swept: Bench) -> None:
    ended, forgotten, waits = swept.submit(), swept.submit(), swept.submit()
    swept.ledger.revoke(ended.id, by="me")
    swept.ledger.revoke(forgotten.id, by="me")
    swept.ledger.forget(forgotten.id)
    assert all(finding.level is Level.OK for finding in reconcile(swept.ledger))
    mended(swept, leftover_messages=2)
    assert swept.messages() == [waits.id]


def test_a_portion_that_loses_messages_hides_none(swept: Bench) -> None:
    runs = [swept.submit() for _ in range(450)]
    for run in runs[::2]:
        swept.ledger.revoke(run.id, by="me")
    mended(swept, leftover_messages=225)
    assert swept.messages() == [run.id for run in runs[1::2]]


# -- long queues


def test_a_long_queue_is_judged_by_its_ends(swept: Bench, keys: Callable[[str], str]) -> None:
    runs = [swept.submit() for _ in range(60)]
    client, key = swept.ledger.client, keys("queue:default:5")
    client.lrem(key, 1, text(client.lindex(key, 30)))
    client.lpush(key, text(client.lindex(key, -1)))
    assert found(list(Reconciliation(swept.ledger, mend=True, edge=5).findings())) == {
        "runs-without-message": 1,
        "duplicate-messages": 1,
    }
    assert sorted(swept.messages()) == sorted(run.id for run in runs)


def test_a_long_queue_that_moved_too_far_is_left_alone(swept: Bench, keys: Callable[[str], str]) -> None:
    for _ in range(60):
        swept.submit()
    client, key = swept.ledger.client, keys("queue:default:5")
    client.lrem(key, 1, text(client.lindex(key, 30)))

    class Slow(Reconciliation):
        def _judge_once(self, suspects: dict[str, set[str]]) -> dict[str, set[str]]:
            for _ in range(10):
                swept.submit()
            return super()._judge_once(suspects)

    assert found(list(Slow(swept.ledger, mend=True, edge=5).findings())) == {"undecided": 1}
    assert len(swept.messages()) == 89


def test_messages_in_the_middle_of_a_long_queue_are_not_taken_for_lost(
    swept: Bench, keys: Callable[[str], str]
) -> None:
    runs = [swept.submit() for _ in range(60)]
    client, key = swept.ledger.client, keys("queue:default:5")
    twice = text(client.lindex(key, 30))
    client.linsert(key, "BEFORE", twice, twice)
    assert found(list(Reconciliation(swept.ledger, mend=True, edge=5).findings())) == {"undecided": 1}
    assert len(swept.messages()) == 61
    assert found(list(Reconciliation(swept.ledger, mend=True).findings())) == {"duplicate-messages": 1}
    assert sorted(swept.messages()) == sorted(run.id for run in runs)


def test_more_lost_messages_than_an_edge_are_all_written(swept: Bench, keys: Callable[[str], str]) -> None:
    runs = [swept.submit() for _ in range(300)]
    swept.ledger.client.delete(keys("queue:default:5"))
    counts = found(list(Reconciliation(swept.ledger, mend=True, edge=60).findings()))
    assert counts == {"runs-without-message": 300}
    assert sorted(swept.messages()) == sorted(run.id for run in runs)


# -- claims and leases


def test_a_dead_lease_is_given_back(swept: Bench, keys: Callable[[str], str]) -> None:
    waiting, (started, token) = swept.submit(), swept.at(State.STARTED)
    other = swept.claim_of(waiting)
    swept.ledger.client.zadd(keys("leases"), {token: 1, other: 1})
    assert found(reconcile(swept.ledger)) == {"dead-leases": 2}
    assert found(reconcile(swept.ledger, mend=True)) == {"dead-leases": 2}
    assert found(reconcile(swept.ledger, mend=True)) == {}
    assert swept.messages() == [waiting.id]
    assert swept.ledger.get(started.id).state is State.RETRY


def test_after_a_pause_live_workers_renew_before_a_repair_takes_their_runs(
    settings: Settings, keys: Callable[[str], str]
) -> None:
    ledger = Ledger.open(replace(settings, worker=replace(settings.worker, lease=1.0)))
    bench = Bench(ledger)
    dead, (lives, token) = bench.submit(), bench.at(State.STARTED)
    gone = bench.claim_of(dead)
    ledger.client.zadd(keys("leases"), {token: 1, gone: 1})
    repair = threading.Thread(target=reconcile, args=(ledger,), kwargs={"mend": True})
    repair.start()
    wait_until(lambda: ledger.client.hget(keys("sweep"), "hold_until"), 10.0, "the repair sweeps")
    assert bench.renew(token) == []
    repair.join()
    assert ledger.get(lives.id).state is State.STARTED
    assert bench.messages() == [dead.id]
    ledger.close()


def test_claims_and_leases_that_do_not_fit(swept: Bench, keys: Callable[[str], str]) -> None:
    client = swept.ledger.client
    run, token = swept.at(State.STARTED)
    client.zrem(keys("leases"), token)
    client.zadd(keys("leases"), {"of-nothing": (swept.now() + 60) * 1000})
    client.hset(keys("claims"), "torn", "no claim at all")
    client.zadd(keys("leases"), {"torn": 1})
    mended(swept, claims=3)
    assert client.hkeys(keys("claims")) == [token]
    assert (client.zscore(keys("leases"), token) or 0) > swept.now() * 1000
    assert check_dead_letters(swept.ledger).count == 1
    assert swept.attempts.succeed(run.id, token, "1")


# -- indexes


MISSING = [
    (State.PENDING, "ids"),
    (State.STARTED, "state:STARTED"),
    (State.FAILURE, "job:job:FAILURE"),
    (State.SUCCESS, "prunable"),
    (State.REVOKED, "state:REVOKED"),
]


@pytest.mark.parametrize(("state", "index"), MISSING, ids=[index for _, index in MISSING])
def test_a_missing_entry_is_added_as_it_was(swept: Bench, keys: Callable[[str], str], state: State, index: str) -> None:
    run, _ = swept.at(state)
    before = swept.ledger.client.zscore(keys(index), run.id)
    assert before is not None
    swept.ledger.client.zrem(keys(index), run.id)
    reconcile(swept.ledger, mend=False)
    mended(swept, indexes=1)
    assert swept.ledger.client.zscore(keys(index), run.id) == before


def test_a_run_that_would_never_expire(swept: Bench, keys: Callable[[str], str]) -> None:
    run = swept.submit(expires=3600.0)
    swept.ledger.client.delete(keys("expiring"))
    mended(swept, indexes=1)
    assert swept.ledger.client.zscore(keys("expiring"), run.id)


def test_a_terminate_that_no_worker_would_see(swept: Bench, keys: Callable[[str], str]) -> None:
    run, _ = swept.at(State.STARTED)
    swept.ledger.revoke(run.id, by="me", terminate=True, signal="INT")
    swept.ledger.client.delete(keys("terminating"))
    mended(swept, indexes=1)
    assert swept.ledger.client.hgetall(keys("terminating")) == {run.id: "INT"}


STRAYS = ["ids", "state:PENDING", "job:job:SUCCESS", "expiring", "delayed", "prunable", "terminating"]


@pytest.mark.parametrize("index", STRAYS)
@pytest.mark.parametrize("known", [False, True], ids=["no-record", "other-state"])
def test_an_entry_that_does_not_belong_is_removed(
    swept: Bench, keys: Callable[[str], str], index: str, known: bool
) -> None:
    if known and index == "ids":
        return
    state = State.RETRY if index in ("prunable", "terminating") else State.FAILURE
    run_id = swept.at(state)[0].id if known else str(uuid.uuid4())
    later = (swept.now() + 3600) * 1000
    if index == "terminating":
        swept.ledger.client.hset(keys(index), run_id, "TERM")
    else:
        swept.ledger.client.zadd(keys(index), {run_id: later})
    mended(swept, strays=1)
    assert run_id not in dump(swept).get(keys(index), {})


def test_a_record_that_says_nothing_is_removed(swept: Bench, keys: Callable[[str], str]) -> None:
    swept.ledger.client.hset(keys("run:ghost"), mapping={"progress": "{}"})
    mended(swept, records=1)


def test_names_of_empty_queues_go(swept: Bench, keys: Callable[[str], str]) -> None:
    run = swept.submit(queue="run-1234")
    swept.submit()
    swept.ledger.client.delete(keys("queue:run-1234:5"))
    swept.ledger.client.delete(keys(f"run:{run.id}"))
    for index in ("ids", "state:PENDING", "job:job:PENDING"):
        swept.ledger.client.zrem(keys(index), run.id)
    counts = {finding.name: finding.count for finding in reconcile(swept.ledger)}
    assert counts["queue-names"] == 1
    mended(swept)
    assert swept.ledger.client.smembers(keys("queues")) == {"default"}


# -- dead letters, workers, queues, the server


def test_the_newest_dead_letters_are_kept(bench: Bench, keys: Callable[[str], str]) -> None:
    client, key = bench.ledger.client, keys("dead-letters")
    client.lpush(key, "the oldest", *["another"] * 9_999)
    bench.ledger.bury("by Python")
    client.lpush(keys("queue:default:5"), "by Lua")
    assert bench.try_claim() is None
    assert client.llen(key) == 10_000
    assert [str(letter).rpartition("\n")[2] for letter in client.lrange(key, 0, 1)] == ["by Lua", "by Python"]
    assert client.lindex(key, -1) == "another"


def test_dead_letters_are_shown_and_kept_in_a_file(bench: Bench, keys: Callable[[str], str], tmp_path: Path) -> None:
    bench.ledger.client.lpush(keys("queue:default:5"), "not JSON")
    assert bench.try_claim() is None
    bench.ledger.bury(json.dumps({"why": "it names no task", "headers": {"task": "x.y"}}))
    finding = check_dead_letters(bench.ledger)
    assert (finding.level, finding.count) == (Level.WARNING, 2)
    assert list(finding.examples) == ["it names no task: x.y", "cannot be read, from queue default: not JSON"]
    path = archive_dead_letters(bench.ledger, tmp_path / "state")
    assert path is not None
    kept = [json.loads(line) for line in path.read_text().splitlines()]
    assert kept[0].endswith("\nnot JSON")
    assert len(kept) == 2
    assert path.stat().st_mode & 0o077 == 0
    assert check_dead_letters(bench.ledger).level is Level.OK
    assert archive_dead_letters(bench.ledger, tmp_path / "state") is None


VERSIONS = {"runner": "1.2.3", "celery": "5"}


def beat(bench: Bench, **record: Any) -> None:
    fields = {
        "host": "h",
        "pid": 1,
        "queues": "default",
        "concurrency": 1,
        "pool": "prefork",
        "started_at": 1,
        **record,
    }
    bench.ledger.beat(worker="w1", keep=60.0, lease=15.0, record=fields)


def levels(findings: Iterator[Finding]) -> dict[str, Level]:
    return {finding.name: finding.level for finding in findings}


def test_workers(bench: Bench, keys: Callable[[str], str]) -> None:
    assert levels(check_workers(bench.ledger, VERSIONS)) == {"workers": Level.OK, "versions": Level.OK}
    bench.submit()
    bench.submit(queue="other")
    assert levels(check_workers(bench.ledger, VERSIONS))["workers"] is Level.PROBLEM
    assert [finding.level for finding in check_queues(bench.ledger)] == [Level.WARNING, Level.WARNING]
    beat(bench, version="1.2.3", clock=round(bench.now() * 1000))
    assert set(levels(check_workers(bench.ledger, VERSIONS)).values()) == {Level.OK}
    [unserved] = check_queues(bench.ledger)
    assert "queue other" in unserved.what
    beat(bench, version="1.2.3", broker="redis")
    assert "brokers" not in levels(check_workers(bench.ledger, VERSIONS))
    beat(bench, version="1.2.3", broker="rabbitmq")
    assert levels(check_workers(bench.ledger, VERSIONS))["brokers"] is Level.WARNING
    beat(bench, version="1.0.0", clock=round(bench.now() * 1000) - 60_000)
    silent_since = bench.now() - (SILENT_SECONDS + WORKER_RECORD_SECONDS) / 2
    bench.ledger.client.hset(keys("worker:w1"), "seen_at", round(silent_since * 1000))
    by_name = levels(check_workers(bench.ledger, VERSIONS))
    assert (by_name["beats"], by_name["worker-clocks"], by_name["versions"]) == (Level.WARNING,) * 3


def test_the_server_under_test_needs_no_attention(bench: Bench) -> None:
    findings = list(check_server(bench.ledger))
    assert {finding.level for finding in findings} == {Level.OK}, findings
    assert losing_settings(bench.ledger) == []


CONFIGS = [
    ({"aof_enabled": 0}, {"save": ""}, "durability", Level.PROBLEM),
    ({"aof_enabled": 0}, {"save": "3600 1"}, "durability", Level.WARNING),
    ({"aof_enabled": 1}, {"appendfsync": "no"}, "durability", Level.WARNING),
    ({"aof_enabled": 1}, {"appendfsync": "always"}, "durability", Level.OK),
    ({"maxmemory": 10**9, "maxmemory_policy": "allkeys-lru"}, {}, "memory", Level.PROBLEM),
    ({"maxmemory": 10**9, "maxmemory_policy": "noeviction", "used_memory": 95 * 10**7}, {}, "memory", Level.PROBLEM),
    ({"maxmemory": 0, "maxmemory_policy": "allkeys-lru"}, {}, "memory", Level.OK),
    ({"server_name": "redis", "redis_version": "6.2.7"}, {}, "version", Level.PROBLEM),
    ({"server_name": "valkey", "valkey_version": "7.2.5"}, {}, "version", Level.PROBLEM),
    ({"server_name": "valkey", "valkey_version": "8.0.1"}, {}, "version", Level.OK),
    ({"role": "slave"}, {}, "replication", Level.PROBLEM),
    ({"cluster_enabled": 1}, {}, "replication", Level.PROBLEM),
    ({"connected_slaves": 0}, {"min-replicas-to-write": "1"}, "replication", Level.PROBLEM),
    ({"aof_last_write_status": "err"}, {}, "disk-writes", Level.PROBLEM),
    ({"loading": 1}, {}, "disk-writes", Level.PROBLEM),
]


@pytest.mark.parametrize(("info", "config", "name", "level"), CONFIGS)
def test_what_a_server_says_of_itself(
    bench: Bench, info: dict[str, Any], config: dict[str, str], name: str, level: Level
) -> None:
    from runner.ledger.health.server import CHECKS

    real = ask(bench.ledger.client)
    server = replace(real, info={**real.info, **info}, config={**real.config, **config})
    assert {finding.name: finding.level for finding in (check(server) for check in CHECKS)}[name] is level


def test_clocks_that_differ(bench: Bench) -> None:
    from runner.ledger.health.server import CHECKS

    server = replace(ask(bench.ledger.client), skew=-60.0, round_trip=0.5)
    findings = {finding.name: finding for finding in (check(server) for check in CHECKS)}
    assert (findings["clock"].level, findings["round-trip"].level) == (Level.WARNING, Level.WARNING)
    assert "60.0 s behind" in findings["clock"].what


# -- beside live workers


@pytest.mark.parametrize("edge", [2500, 5])
def test_runs_on_the_move_are_never_taken_for_lost(settings: Settings, edge: int) -> None:
    """Threads claim, hand back, start, retry and promote as fast as they can, while repairs go on."""
    opened = [Ledger.open(settings) for _ in range(5)]
    benches = [Bench(ledger) for ledger in opened]
    runs = [benches[0].submit() for _ in range(40)]
    ended = threading.Event()
    failures: list[BaseException] = []

    def churn(bench: Bench) -> None:
        try:
            while not ended.is_set():
                token = bench.try_claim()
                if token is None:
                    continue
                run_id = bench.claimed[token]
                if int(token, 16) % 3:
                    bench.ledger.script("hand_back", 0, "not now", "", token)
                else:
                    bench.attempts.start(run_id, token, "w1", "job")
                    bench.attempts.retry(run_id, token, 0.0, ERROR)
                    bench.beat()
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=churn, args=(bench,)) for bench in benches[:4]]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 4.0
    repairs = 0
    try:
        # On a busy machine, six repairs may take longer.
        while repairs < 6 or time.monotonic() < until:
            counts = found(list(Reconciliation(opened[4], mend=True, edge=edge).findings()))
            counts.pop("undecided", None)
            assert counts == {}
            repairs += 1
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert not failures
    opened[0].beat(worker="", keep=0, lease=3.0, record={})
    assert sorted(benches[0].messages()) == sorted(run.id for run in runs)
    for ledger in opened:
        ledger.close()


JOBS = """\
jobs:
  touch:
    task: touching:touch
    params: {path: {type: string, required: true}}
    retry: {max_retries: 1, delay: 50ms, jitter: false}
"""
MODULE = """\
from runner import current_run


def touch(path):
    run = current_run()
    with open(path, "a") as notes:
        notes.write(f"{run.id} {run.attempt}\\n")
    if run.attempt == 1 and run.id[0] in "01234567":
        raise ValueError("once more")
"""


def test_repairs_beside_a_real_worker_start_nothing_twice(make_project: Callable[..., Project], tmp_path: Path) -> None:
    from runner.actions.project import Project as Opened
    from runner.actions.submit import submit

    project = make_project(JOBS, {"touching.py": MODULE})
    notes = tmp_path / "notes"
    opened = Opened.open(project.path)
    ledger = opened.ledger
    with project.worker(concurrency=3):
        ids = []
        for _ in range(300):
            ids.append(submit(opened, "touch", {"path": str(notes)}, trigger="api").id)
            if len(ids) % 30 == 0:
                assert found(reconcile(ledger, mend=True)) == {}
        deadline = time.monotonic() + 90

        def all_ended() -> list[Run]:
            return [run for run in ledger.read(ids) if run.state in FINAL]

        while len(all_ended()) < len(ids):
            assert found(reconcile(ledger, mend=True)) == {}
            assert time.monotonic() < deadline
    runs = all_ended()
    assert {run.state for run in runs} == {State.SUCCESS}
    starts = sorted(notes.read_text().split("\n")[:-1])
    expected = [f"{i} {n}" for i in ids for n in ((1, 2) if i[0] in "01234567" else (1,))]
    assert starts == sorted(expected)
    assert sum(run.losses for run in runs) == 0
    ledger.close()


def test_workers_of_a_large_fleet_beat_before_they_are_called_silent(bench: Bench) -> None:
    """Ten take turns at the chores, and beat more often than the others."""
    record: dict[str, str | int] = {"host": "h", "pid": 1, "queues": "", "concurrency": 1, "pool": "p", "started_at": 1}
    turns = [
        bench.ledger.beat(worker=f"w{number:02}", keep=WORKER_RECORD_SECONDS, lease=15.0, record=record).turn
        for number in range(12)
    ]
    assert max(turns) < SILENT_SECONDS < WORKER_RECORD_SECONDS


def test_a_queue_with_messages_of_ended_runs_alone_is_removed_with_them(bench: Bench) -> None:
    ended, waiting = (bench.submit(queue=name).id for name in ("run-ended", "run-waiting"))
    bench.submit(queue="run-waiting")
    bench.ledger.revoke(ended, by="ann")
    bench.ledger.revoke(waiting, by="ann")
    for name in ("run-ended", "run-waiting"):
        bench.ledger.remove_queue(name)
    client = bench.ledger.client
    keys = bench.ledger.keys
    assert not any(client.exists(keys.queue("run-ended", priority)) for priority in range(10))
    assert sum(client.llen(keys.queue("run-waiting", priority)) for priority in range(10)) == 2
    assert {text(name) for name in client.smembers(keys.queues)} == {"run-waiting"}
