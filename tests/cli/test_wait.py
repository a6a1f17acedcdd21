"""``runner wait``: many ids from stdin."""

from __future__ import annotations

import uuid

from tests.cli.counting import numbers, submit
from tests.support.deadline import wait_until
from tests.support.project import Project


def test_wait_takes_ids_from_stdin(counting: Project) -> None:
    ids = submit(counting, numbers([1, -1, 2])).stdout
    with counting.worker():
        done = counting.cli("wait", "-", input=f"\n{ids}\n").check(1)
        assert done.stderr.count("FAILURE") >= 1
        runs = counting.cli("wait", "-", "--json", input=ids).check(1).json
        assert [run["state"] for run in runs] == ["SUCCESS", "FAILURE", "SUCCESS"]
        one = counting.cli("wait", "-", "--json", "--quiet", input=ids.splitlines()[1]).check(1).json
        assert [run["state"] for run in one] == ["FAILURE"]
        assert counting.cli("wait", "-", "--quiet", input=ids.splitlines()[0]).check().stderr == ""
        unknown = counting.cli("wait", "-", input=f"{uuid.uuid4()}\n{ids.splitlines()[0]}").check(4)
        assert "no run" in unknown.stderr


def test_wait_on_many_ids_gives_up_in_time(counting: Project) -> None:
    ids = submit(counting, numbers(range(1200))).stdout
    done = counting.cli("wait", "-", "--timeout", "500ms", input=ids).check(124)
    assert f"1200 runs go on: runner wait - --project {counting.path} < FILE_OF_IDS" in done.stderr
    done = counting.cli("wait", "-", input="\n").check(2)
    assert "no ids on stdin" in done.stderr


def test_the_rest_is_waited_for_when_one_is_gone(counting: Project) -> None:
    ids = submit(counting, numbers(range(25))).stdout.split()
    with counting.start("wait", *ids) as waiting, counting.redis() as client:
        channel = f"{counting.namespace}:changed:{ids[0]}"
        wait_until(lambda: client.pubsub_numsub(channel)[0][1] == 1)
        client.delete(f"{counting.namespace}:run:{ids[0]}")
        client.publish(channel, "SUCCESS")
        with counting.worker():
            assert waiting.wait(60) == 4
    assert f"no run {ids[0]}" in waiting.stderr
    assert waiting.stderr.splitlines()[-1] == "24 SUCCESS"


# -- ending early
