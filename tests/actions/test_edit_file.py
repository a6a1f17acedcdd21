"""Job files that are edited from outside: what may be touched, what a save keeps, and who loses a race."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from runner.actions.check_edit import check_text, plan_text
from runner.actions.edit_file import Saved, delete_file, save_file
from runner.actions.git_commit import commit_file
from runner.actions.job_files import MOST_BYTES, list_files, read_file
from runner.actions.project import Project
from runner.errors import CannotEdit, FileChanged, InvalidSpec, RunnerError, Unavailable, UnknownFile, UsageError
from runner.ledger.audit import read_acts
from tests.support.deadline import wait_until
from tests.support.processes import is_dead
from tests.support.servers import free_port
from tests.support.users import STRANGER, root_only

ONE = "jobs:\n  one: {task: 'builtins:print'}\n"
TWO = "# Two of them.\njobs:\n  one: {task: 'builtins:print'}\n  two: {task: 'builtins:print'}\n"
TYPO = TWO.replace("two: {", "two: {retri: {max_retries: 1}, ")
FLOW = "jobs:\n  flow: {steps: {first: {job: one}}}\n"
NAME = "jobs.d/jobs.yaml"


@pytest.fixture
def project(make_project: Callable[..., Any]) -> Project:
    return Project.open(make_project(ONE).path)


def save(project: Project, text: str, name: str = NAME, **options: Any) -> Saved:
    """Save a file as somebody who has just opened it."""
    try:
        options.setdefault("digest", read_file(project, name).digest)
    except UnknownFile:
        options.setdefault("digest", None)
    return save_file(project, name, text, by="ann", **options)


def acts(project: Project) -> list[tuple[str | None, str | None]]:
    return [(act.by, act.comment) for act in read_acts(project.ledger, limit=10, act="edit")]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def git(project: Project, *words: str) -> str:
    done = subprocess.run(
        ["git", *words], cwd=project.settings.project, capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(project: Project) -> Project:
    git(project, "init", "--quiet")
    git(project, "add", "jobs.d")
    git(project, "-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "--quiet", "-m", "Begin")
    return project


@root_only
def test_a_save_keeps_mode_owner_line_ends_and_byte_order_mark(project: Project) -> None:
    path = project.settings.project / NAME
    path.write_bytes(b"\xef\xbb\xbf" + ONE.replace("\n", "\r\n").encode())
    path.chmod(0o640)
    os.chown(path, STRANGER, STRANGER)
    found = read_file(project, NAME)
    assert found.text == ONE
    # A browser sends \r\n, whatever the file has; and the end of the last line may be missing.
    saved = save(project, TWO.replace("\n", "\r\n").removesuffix("\r\n"), comment="one more")
    assert path.read_bytes() == b"\xef\xbb\xbf" + TWO.replace("\n", "\r\n").encode()
    status = path.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o640, STRANGER, STRANGER)
    assert saved.digest == read_file(project, NAME).digest != found.digest
    assert list(project.catalog.jobs) == ["one", "two"]
    assert acts(project) == [("ann", f"changed {NAME}, {saved.digest[:19]}: one more")]
    assert names(path.parent) == ["jobs.yaml"]
    # The same text again is not an edit.
    assert not save(project, TWO).changed
    assert len(acts(project)) == 1


def test_create_and_delete(project: Project) -> None:
    (project.settings.project / "jobs.d/.runner-edit").write_text("left by a crash", "utf-8")
    made = save(project, "jobs:\n  new: {task: 'builtins:print'}\n", "jobs.d/new.yaml")
    path = project.settings.project / "jobs.d/new.yaml"
    assert stat.S_IMODE(path.stat().st_mode) & 0o022 == 0
    assert [(entry.name, entry.jobs, entry.reason) for entry in list_files(project)] == [
        (NAME, 1, None),
        ("jobs.d/new.yaml", 1, None),
    ]
    assert made.digest is not None
    delete_file(project, "jobs.d/new.yaml", digest=made.digest, by="bob")
    assert not path.exists()
    assert "new" not in project.catalog.jobs
    assert [by for by, _ in acts(project)] == ["bob", "ann"]


NAMES = [
    *("../outside.yaml", "jobs.d/../../outside.yaml", "/etc/outside.yaml", "jobs.d//etc/x.yaml", "jobs.d/./x.yaml"),
    *("outside.yaml", "runner.yaml", "jobs.d", "jobs.d/", "", ".", "jobs.d/x.txt", "jobs.d/x.yaml/", "other/x.yaml"),
    *("jobs.d/.x.yaml", "jobs.d/#x.yaml", "jobs.d/~x.yaml", "jobs.d/x~.yaml", "jobs.d/.git/x.yaml"),
    *("jobs.d/x\0.yaml", "jobs.d/x\n.yaml", "jobs.d\\x.yaml", "jobs.d/..\\x.yaml", "jobs.d/" + "x" * 300 + ".yaml"),
]


def test_a_name_cannot_lead_out_of_the_folders_of_jobs(project: Project) -> None:
    for name in NAMES:
        attempts: list[Callable[[], object]] = [
            lambda name=name: read_file(project, name),  # type: ignore[misc]
            lambda name=name: save_file(project, name, "jobs: {}", digest=None, by="ann"),  # type: ignore[misc]
            lambda name=name: delete_file(project, name, digest="sha256:0", by="ann"),  # type: ignore[misc]
        ]
        for attempt in attempts:
            with pytest.raises((UnknownFile, UsageError, CannotEdit)):
                attempt()
        assert set(names(project.settings.project)) - {".runner"} == {"jobs.d", "runner.yaml"}, name
    assert acts(project) == []


def test_settings_are_not_job_files_even_in_a_folder_of_jobs(make_project: Callable[..., Any]) -> None:
    """With ``jobs_dir: .``, a new runner.prod.yaml could decide who may do what."""
    project = Project.open(make_project("", {"jobs.yaml": ONE}, {"jobs_dir": "."}).path)
    for name in ("runner.yaml", "runner.prod.yaml"):
        with pytest.raises(UnknownFile):
            save_file(project, name, "", digest=None, by="ann")
    assert save(project, TWO, "jobs.yaml").changed


def link_file(folder: Path) -> None:
    (folder / "secret").write_text(ONE, "utf-8")
    (folder / NAME).unlink()
    (folder / NAME).symlink_to(folder / "secret")


def link_folder(folder: Path) -> None:
    (folder / "jobs.d").rename(folder / "elsewhere")
    (folder / "jobs.d").symlink_to("elsewhere")


def make_pipe(folder: Path) -> None:
    (folder / NAME).unlink()
    os.mkfifo(folder / NAME)


def open_to_all(path: str) -> Callable[[Path], None]:
    return lambda folder: (folder / path).chmod(0o777)


OBSTACLES: dict[str, Callable[[Path], object]] = {
    "a symbolic link": link_file,
    "a folder that is a symbolic link": link_folder,
    "a hard link": lambda folder: (folder / "second.yaml").hardlink_to(folder / NAME),
    "a pipe": make_pipe,
    "a file for all": open_to_all(NAME),
    "a folder for all": open_to_all("jobs.d"),
    "a project for all": open_to_all("."),
    "not UTF-8": lambda folder: (folder / NAME).write_bytes(b"# \xff\n" + ONE.encode()),
    "too large": lambda folder: (folder / NAME).write_bytes(b"#" * (MOST_BYTES + 1)),
}


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_a_file_that_is_not_plainly_ours_is_neither_shown_nor_changed(project: Project, obstacle: str) -> None:
    assert project.catalog.jobs
    folder = project.settings.project
    OBSTACLES[obstacle](folder)
    before = sorted((path, path.lstat()) for path in folder.rglob("*"))
    with pytest.raises(CannotEdit) as refused:
        read_file(project, NAME)
    assert refused.value.hint
    with pytest.raises(CannotEdit):
        save_file(project, NAME, TWO, digest="sha256:0", by="ann")
    with pytest.raises(CannotEdit):
        delete_file(project, NAME, digest="sha256:0", by="ann")
    after = sorted((path, path.lstat()) for path in folder.rglob("*") if ".runner" not in path.parts)
    assert [(path, status.st_ino, status.st_mtime_ns) for path, status in after] == [
        (path, status.st_ino, status.st_mtime_ns) for path, status in before if ".runner" not in path.parts
    ]
    assert acts(project) == []
    assert obstacle == "not UTF-8" or all(entry.reason for entry in list_files(project) if entry.name == NAME)


def test_a_version_that_is_not_the_one_edited_is_kept(project: Project) -> None:
    opened = read_file(project, NAME)
    path = project.settings.project / NAME
    path.write_text(TWO, "utf-8")
    attempts: list[Callable[[], object]] = [
        lambda: save_file(project, NAME, ONE, digest=opened.digest, by="ann"),
        lambda: save_file(project, NAME, ONE, digest=None, by="ann"),
        lambda: delete_file(project, NAME, digest=opened.digest, by="ann"),
    ]
    for attempt in attempts:
        with pytest.raises(FileChanged):
            attempt()
    assert path.read_text("utf-8") == TWO
    path.unlink()
    with pytest.raises(FileChanged, match="deleted"):
        save_file(project, NAME, ONE, digest=opened.digest, by="ann")
    assert not path.exists()


@pytest.mark.parametrize("exists", [True, False])
def test_of_many_who_save_at_once_one_wins(project: Project, exists: bool) -> None:
    """Each in a project of its own, as several web processes are; the others learn that they lost."""
    path = project.settings.project / NAME
    digest = read_file(project, NAME).digest if exists else None
    name = NAME if exists else "jobs.d/new.yaml"

    def attempt(number: int) -> str | None:
        text = f"jobs:\n  {'one' if exists else 'new'}: {{task: 'builtins:print', args: [{number}]}}\n"
        try:
            return save_file(Project.open(path.parents[1]), name, text, digest=digest, by=f"p{number}").digest
        except FileChanged:
            return None

    with ThreadPoolExecutor(8) as threads:
        won = [found for found in threads.map(attempt, range(8)) if found]
    assert won == [read_file(project, name).digest]
    assert len(acts(project)) == 1


def test_a_full_disk_leaves_the_file_and_the_audit_log_as_they_were(project: Project) -> None:
    digest = read_file(project, NAME).digest
    text = TWO + "#" * 20_000
    assert acts(project) == []  # connects, and makes what is made on the first use
    save(project, ONE + "#\n")
    save(project, ONE)
    known = acts(project)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(CannotEdit, match="file too large"):
            save_file(project, NAME, text, digest=digest, by="ann")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (project.settings.project / NAME).read_text("utf-8") == ONE
    assert names(project.settings.project / "jobs.d") == ["jobs.yaml"]
    assert acts(project) == known


def test_nothing_is_saved_that_cannot_be_noted(make_project: Callable[..., Any]) -> None:
    made = make_project(ONE, settings={"redis_url": f"redis://127.0.0.1:{free_port()}/0", "namespace": "n"})
    project = Project.open(made.path)
    with pytest.raises(Unavailable):
        save(project, TWO)
    with pytest.raises(Unavailable):
        delete_file(project, NAME, digest=read_file(project, NAME).digest, by="ann")
    assert (made.path / NAME).read_text("utf-8") == ONE
    assert names(made.path / "jobs.d") == ["jobs.yaml"]


def test_a_text_is_checked_together_with_all_other_files(make_project: Callable[..., Any]) -> None:
    project = Project.open(make_project(ONE, {"jobs.d/flow.yaml": FLOW, "jobs.d/bad.yaml": "jobs: {bad: 1}\n"}).path)
    sound = check_text(project, NAME, TWO)
    assert (sound.sound, sound.problems, sound.jobs()) == (True, (), {"added": ["two"], "changed": [], "removed": []})
    assert check_text(project, NAME, ONE.replace("print", "len")).changed == ("one",)
    # Old problems elsewhere do not prevent a save, but new problems that the edit causes elsewhere do.
    for text in ("jobs: {}\n", None):
        broken = check_text(project, NAME, text)
        assert [(problem.file, "one" in problem.message) for problem in broken.problems] == [("jobs.d/flow.yaml", True)]
    with pytest.raises(InvalidSpec, match=r"flow\.yaml"):
        delete_file(project, NAME, digest=read_file(project, NAME).digest, by="ann")
    twice = check_text(project, "jobs.d/new.yaml", ONE)
    assert [problem.file for problem in twice.problems] == ["jobs.d/new.yaml"]
    typo = check_text(project, NAME, TYPO)
    assert typo.problems[0].line == 4
    assert typo.problems[0].replacement == "retry"
    with pytest.raises(InvalidSpec, match="retri"):
        save(project, TYPO)
    # A warning is reported, but does not prevent a save.
    risky = ONE.replace("'}", "', retry: {max_retries: 1, delay: 2h, max_delay: 1h}}")
    assert [problem.severity for problem in check_text(project, NAME, risky).problems] == ["warning"]
    assert save(project, risky).changed
    for text in ("\ud800", "x" * (MOST_BYTES + 1)):
        with pytest.raises(UsageError):
            check_text(project, NAME, text)
    plan = plan_text(project, NAME, TWO)
    assert plan.added == ("flow", "one", "two")
    assert "two" not in project.catalog.jobs


def test_a_commit_has_the_person_as_author_and_one_file_only(repository: Project) -> None:
    folder = repository.settings.project
    marker = folder / "hook-ran"
    for hook in ("pre-commit", "post-commit", "commit-msg"):
        path = folder / ".git/hooks" / hook
        path.write_text(f"#!/bin/sh\ntouch {marker}\nexit 1\n", "utf-8")
        path.chmod(0o755)
    git(repository, "config", "commit.gpgSign", "true")
    git(repository, "config", "user.signingKey", "nobody")
    (folder / "staged").touch()
    git(repository, "add", "staged")
    saved = save_file(
        repository,
        NAME,
        TWO,
        digest=read_file(repository, NAME).digest,
        by="--amend <a@b>\nann@example.com",
        comment="-x: two jobs",
    )
    assert saved.commit.fault is None
    assert saved.commit.id == git(repository, "rev-parse", "--short", "HEAD")
    shown = git(repository, "log", "-1", "--format=%an|%cn|%s|%b", "--name-only").split("\n")
    assert shown[0].startswith("--amend a@bann@example.com|runner web|-x: two jobs|")
    assert shown[-1] == NAME
    assert git(repository, "diff", "--cached", "--name-only") == "staged"
    new = save(repository, "jobs: {}\n", "jobs.d/new.yaml")
    assert new.commit.id
    assert new.digest is not None
    assert delete_file(repository, "jobs.d/new.yaml", digest=new.digest, by="ann").commit.id
    assert git(repository, "rev-list", "--count", "HEAD") == "4"
    assert not marker.exists()


def test_a_commit_that_fails_or_hangs_leaves_the_saved_file(repository: Project) -> None:
    folder = repository.settings.project
    lock = folder / ".git/index.lock"
    lock.touch()
    saved = save(repository, TWO)
    assert (saved.changed, saved.commit.id) == (True, None)
    assert "index.lock" in (saved.commit.fault or "")
    assert (folder / NAME).read_text("utf-8") == TWO
    lock.unlink()
    # A filter is a program of the repository; this one, and its child, wait forever.
    (folder / ".gitattributes").write_text("*.yaml filter=slow\n", "utf-8")
    git(repository, "config", "filter.slow.clean", f"echo $$ > {folder}/filter.pid; sleep 600 & wait")
    begin = time.monotonic()
    hung = commit_file(folder / NAME, by="ann", message="Hang", seconds=1.0)
    assert time.monotonic() - begin < 300
    assert "took longer than 1 s" in (hung.fault or "")
    assert not lock.exists()
    started = int((folder / "filter.pid").read_text("utf-8"))
    wait_until(lambda: is_dead(started), 10.0, "the end of the filter")


def test_git_is_not_led_astray(repository: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Variables of the process that started the web name another repository, and a name looks like a pattern."""
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_EDITOR", "false")
    assert save(repository, TWO).commit.id
    monkeypatch.undo()
    (repository.settings.project / ".gitignore").write_text("jobs.d/ignored*\n", "utf-8")
    ignored = save(repository, "jobs: {}\n", "jobs.d/ignored.yaml")
    assert ignored.commit == type(ignored.commit)()


def test_errors_say_what_to_do(project: Project) -> None:
    with pytest.raises(RunnerError) as refused:
        save_file(project, "jobs.d/a b.yaml", ONE, digest=None, by="ann")
    assert "letters" in (refused.value.hint or "")
    with pytest.raises(UnknownFile, match="no folder"):
        save_file(project, "jobs.d/none/new.yaml", "jobs: {}\n", digest=None, by="ann")
