"""Several projects in one command: rows name theirs, ids are found in all, and one that is away hides no other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.actions.projects import names_of
from tests.support.project import Project, Result, runner_cli, write_project
from tests.support.servers import Server, free_port

JOBS = {"hello": {"task": "os:getpid"}}


@pytest.fixture
def pair(tmp_path: Path, redis_server: Server) -> tuple[Project, Project]:
    """Two projects with a job of the same name, on the same server."""
    shop = write_project(tmp_path / "shop", redis_server.url, {**JOBS, "only-shop": JOBS["hello"]})
    bank = write_project(tmp_path / "bank", redis_server.url, JOBS)
    return shop, bank


@pytest.fixture
def away(tmp_path: Path) -> Project:
    """A project whose Redis does not run."""
    return write_project(tmp_path / "away", f"redis://127.0.0.1:{free_port()}/0", JOBS)


def of_all(*projects: Project) -> Callable[..., Result]:
    words = [word for project in projects for word in ("--project", str(project.path))]

    def cli(*args: str) -> Result:
        return runner_cli(*args, *words, cwd=Path("/"))

    return cli


def test_runs_are_merged_and_paged(pair: tuple[Project, Project]) -> None:
    shop, bank = pair
    ids = [project.submit("hello") for project in (shop, bank, bank, shop, shop, bank, shop)]
    both = of_all(shop, bank)
    listed = both("runs", "--json").check().json
    assert [run["id"] for run in listed] == ids[::-1]
    assert [run["project"] for run in listed] == ["shop", "bank", "shop", "shop", "bank", "bank", "shop"]
    assert both("runs").check().stdout.splitlines()[0].split()[:3] == ["PROJECT", "SUBMITTED", "ID"]
    assert both("runs", "--csv").check().stdout.splitlines()[1].startswith("shop,")
    for order, expected in (("newest", ids[::-1]), ("oldest", ids)):
        seen: list[str] = []
        words: list[str] = []
        while True:
            page = both("runs", "--ids", "-n", "2", "--sort", order, *words).check()
            seen += page.stdout.split()
            if "--cursor" not in page.stderr:
                break
            words = ["--cursor", page.stderr.split("--cursor ")[1].strip()]
        assert seen == expected
    assert "cursor of these 2 projects" in both("runs", "--cursor", "1:x").check(2).stderr


def test_an_id_is_found_in_all(pair: tuple[Project, Project]) -> None:
    shop, bank = pair
    mine, other, both = shop.submit("hello"), bank.submit("hello"), of_all(shop, bank)
    found = both("status", mine[:13], other, "--json").check().json
    assert [(run["project"], run["id"]) for run in found] == [("shop", mine), ("bank", other)]
    assert both("status", other).check().stdout.splitlines()[0].split() == ["project", "bank"]
    both("status", "0" * 32).check(4)
    ambiguous = both("status", "@hello").check(2)
    assert "fits runs of shop, bank" in ambiguous.stderr


def test_the_other_lists_name_the_project(pair: tuple[Project, Project]) -> None:
    shop, bank = pair
    for project in pair:
        project.submit("hello")
    both = of_all(shop, bank)
    for verb, rows in (("jobs", 3), ("stats", 3), ("queues", 2)):
        listed = both(verb, "--json").check().json
        assert [document["project"] for document in listed] == ["shop"] * (rows - 1) + ["bank"], verb
        assert both(verb).check().stdout.splitlines()[0].split()[0] == "PROJECT"
    assert both("workers", "--json").check().json == []
    [one] = both("jobs", "only-shop", "--json").check().json
    assert one["project"] == "shop"
    assert [document["project"] for document in both("stats", "hello", "--json").check().json] == ["shop", "bank"]
    both("jobs", "nowhere").check(2)
    text = both("status").check().stdout
    assert text.index(f"# project shop ({shop.path})") < text.index(f"# project bank ({bank.path})")
    assert [document["project"] for document in both("status", "--json").check().json] == ["shop", "bank"]


def test_one_that_is_away_hides_no_other(pair: tuple[Project, Project], away: Project) -> None:
    shop, _ = pair
    run_id, every = shop.submit("hello"), of_all(away, shop)
    for verb in ("runs", "jobs", "stats", "queues", "workers", "status"):
        if verb == "jobs":
            continue  # the jobs of a project are known without Redis
        done = every(verb, "--json").check(69)
        assert {document["project"] for document in done.json} <= {"shop"}, verb
        assert done.stderr.startswith("warning: project away is not shown: "), verb
    assert {document["project"] for document in every("jobs", "--json").check().json} == {"away", "shop"}
    assert every("status", run_id, "--json").check().json["id"] == run_id
    unknown = every("status", "0" * 32).check(69)
    assert "and away cannot be asked" in unknown.stderr
    # A page that a project missed begins for it where it would have begun.
    cursor = every("runs", "--ids").check(69).stderr.split("--cursor ")[1].strip()
    assert cursor == ",-"


def test_a_project_without_its_archive_hides_no_other(tmp_path: Path, redis_server: Server) -> None:
    def write(name: str, **settings: object) -> Project:
        return write_project(tmp_path / name, redis_server.url, JOBS, settings=settings)

    shop = write("shop", archive_url=f"sqlite:///{tmp_path}/shop.db")
    bank, gone = write("bank"), write("gone", archive_url=f"postgresql://shop@127.0.0.1:{free_port()}/shop")
    run_id = shop.submit("hello")
    shop.cli("revoke", run_id).check()
    shop.cli("archive").check()
    two, three = of_all(bank, shop), of_all(gone, bank, shop)
    assert [run["id"] for run in two("runs", "--archived", "--json").check().json] == [run_id]
    assert two("status", run_id, "--archived", "--json").check().json["id"] == run_id
    assert {document["project"] for document in two("stats", "--archived", "--json").check().json} == {"shop"}
    done = three("runs", "--archived", "--json").check(69)
    assert [run["id"] for run in done.json] == [run_id]
    assert done.stderr.startswith("warning: project gone is not shown: ")
    assert "no archive" in of_all(bank, write("other"))("runs", "--archived").check(2).stderr


def test_commands_that_act_want_one_project(pair: tuple[Project, Project]) -> None:
    shop, bank = pair
    done = of_all(shop, bank)("submit", "hello").check(2)
    assert "submit works on one project, and --project names 2" in done.stderr
    # What stands after the verb replaces what stands before it, as it always has.
    words = ("--project", str(shop.path), "submit", "hello", "--project", str(bank.path))
    assert bank.document(runner_cli(*words, cwd=Path("/")).check().id)["job"] == "hello"
    # The same project twice is one, and looks as one.
    single = of_all(shop, shop)("jobs", "--json").check().json
    assert "project" not in json.dumps(single)


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["/srv/shop", "/srv/bank"], ["shop", "bank"]),
        (["/srv/prod/shop", "/srv/test/shop", "/srv/bank"], ["prod-shop", "test-shop", "srv-bank"]),
        (["/shop", "/a/shop"], ["shop", "a-shop"]),
        (["/a-b/c", "/a/b-c"], ["c", "b-c"]),
    ],
)
def test_names_tell_projects_apart(folders: list[str], names: list[str]) -> None:
    assert names_of([Path(folder) for folder in folders]) == names
