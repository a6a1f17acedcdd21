"""``runner submit``: params, options, keys, and what it prints."""

from __future__ import annotations

import re

from tests.support.project import Project

UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def test_submit_prints_the_id_and_nothing_else(served: Project) -> None:
    done = served.cli("submit", "hello").check()
    assert re.fullmatch(UUID + "\n", done.stdout)
    assert done.stderr == ""


def test_wait_tells_each_change_on_stderr(served: Project) -> None:
    done = served.cli("submit", "hello", "--wait").check()
    assert re.fullmatch(UUID + "\n", done.stdout)
    assert re.search(r"^SUCCESS .*hello", done.stderr, re.MULTILINE)


def test_a_queue_without_a_worker_is_named(served: Project) -> None:
    done = served.cli("submit", "unserved").check()
    assert "queue unserved" in done.stderr
    assert "-Q unserved" in done.stderr


def test_a_key_gives_the_first_run(project: Project) -> None:
    first = project.cli("submit", "unserved", "--key", "same", "--json").check().json
    assert first["duplicate"] is False
    done = project.cli("submit", "unserved", "--key", "same").check()
    assert done.id == first["id"]
    assert "submitted before" in done.stderr
    assert project.cli("submit", "unserved", "--key", "same", "--json").check().json["duplicate"] is True
    project.cli("submit", "hello", "--key", "k", "-p", "name=a", "--queue", "unserved").check()
    conflict = project.cli("submit", "hello", "--key", "k", "-p", "name=b", "--json").check(2)
    assert conflict.json["error"]["code"] == "key_conflict"


def test_params_from_everywhere(project: Project) -> None:
    (project.path / "given.json").write_text('{"name": "file", "count": 3}')
    where = ("--queue", "unserved", "--json")
    submit = ("submit", "hello", *where)
    assert project.cli(*submit, "--params", '{"name": "a"}').check().json["params"]["name"] == "a"
    given = project.cli(*submit, "--params", "@given.json", "-p", "count=4").check().json["params"]
    assert given == {"name": "file", "count": 4}
    given = project.cli(*submit, "--params", "-", input='{"words": [1, null, "x"]}').check().json["params"]
    assert given == {"name": "world", "words": [1, None, "x"]}


def test_options_of_a_submission(project: Project) -> None:
    words = ("--at", "2099-11-24 02:00", "--expires", "1h", "--priority", "9", "--queue", "unserved", "--json")
    document = project.cli("submit", "hello", *words).check().json
    assert document["eta"] == "2099-11-24T01:00:00.000Z"  # the project's zone is Europe/Berlin
    assert document["expires_at"] == "2099-11-24T02:00:00.000Z"
    assert document["priority"] == 9
    assert "scheduled" in document["detail"]


def test_a_start_that_no_calendar_has_is_refused(project: Project) -> None:
    for at, message in {
        "9999-12-31T23:59:59Z": "years 1900 to 2999",
        "2999-01-01T00:00:00Z": "more than 100 years ahead",
    }.items():
        done = project.cli("submit", "unserved", "--at", at, "--expires", "1h").check(2)
        assert message in done.stderr
    project.cli("runs", "--job", "unserved", env={"TZ": "Asia/Tokyo"}).check()
