"""The example jobs do what their descriptions say, called as the plain functions that they are."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples import backup, behavior, page_index, repo_report
from runner.app.target import load_exceptions, load_target
from runner.catalog.catalog import load_catalog
from runner.catalog.steps import step_specs
from runner.current import CurrentRun, running
from runner.model.job import JobSpec
from runner.params.check import check_params
from runner.settings import load_settings
from runner.tasks import shell

PROJECT = Path(__file__).parents[2]
CATALOG = load_catalog(load_settings(PROJECT, environ={}), use_cache=False)


def run_shell_job(name: str, **params: object) -> dict[str, object]:
    job = CATALOG.get(name)
    assert job.task == "runner.tasks.shell:run"
    return shell.run(**job.kwargs, **check_params(job, params))


def tasks() -> Iterator[JobSpec]:
    """The jobs, and the task steps of flows."""
    for job in CATALOG.jobs.values():
        yield from step_specs(job) if job.is_flow else [job]


def test_examples_are_sound_and_described() -> None:
    assert not CATALOG.problems
    assert not CATALOG.warnings
    assert {*CATALOG.jobs} == {
        "repo-report",
        "backup-folder",
        "disk-usage",
        "index-docs",
        "flaky",
        "slow-count",
        "broken-example",
    }
    for job in CATALOG.jobs.values():
        assert job.description
        check_params(job, {})


def test_targets_and_the_exceptions_to_retry_can_be_imported() -> None:
    for job in tasks():
        assert callable(load_target(job.import_path))
        load_exceptions(job.retry.for_)


def test_no_shell_job_hands_its_command_to_the_submitter() -> None:
    for job in tasks():
        if job.task == "runner.tasks.shell:run":
            assert not shell.RESERVED & {*job.params}


def test_report_counts_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.py").write_text("one\ntwo\n")
    (tmp_path / "b.py").write_text("one\n")
    (tmp_path / "LICENSE").write_text("free")
    for hidden in (".git", "__pycache__"):
        (tmp_path / hidden).mkdir()
        (tmp_path / hidden / "x.py").write_text("not counted\n")
    (tmp_path / "link.py").symlink_to(tmp_path / "a.py")
    assert repo_report.build(largest=1, folder=tmp_path) == {
        "files": 3,
        "lines": 3,
        "bytes": 16,
        "by_suffix": {
            ".py": {"files": 2, "lines": 3, "bytes": 12},
            "LICENSE": {"files": 1, "lines": 0, "bytes": 4},
        },
        "largest": [{"path": "a.py", "bytes": 8}],
    }
    assert capsys.readouterr().out == "3 files, 3 lines\n"


def test_report_on_this_repository() -> None:
    report = repo_report.build()
    assert report["by_suffix"][".py"]["files"] > 10
    assert len(report["largest"]) == 5
    assert len(json.dumps(report)) < 64 * 1024


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "docs" / "inner").mkdir(parents=True)
    (tmp_path / "docs" / "a.md").write_text("a")
    (tmp_path / "docs" / "inner" / "b.md").write_text("b")
    return tmp_path


def test_backup_can_be_restored_and_checked(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    result = backup.backup("docs", project=project)
    archive = project / result["archive"]
    assert result["files"] == 2
    assert result["bytes"] == archive.stat().st_size
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == result["sha256"]
    assert Path(f"{archive}.sha256").read_text() == f"{result['sha256']}  {archive.name}\n"
    restored = tmp_path_factory.mktemp("restored")
    with tarfile.open(archive) as tar:
        tar.extractall(restored, filter="data")
    assert (restored / "inner" / "b.md").read_text() == "b"


def test_backup_keeps_the_newest(project: Path) -> None:
    made = [backup.backup("docs", keep=2, project=project)["archive"] for _ in range(4)]
    left = {path.relative_to(project).as_posix() for path in (project / ".runner/backups").iterdir()}
    assert left == {name for archive in made[-2:] for name in (archive, f"{archive}.sha256")}


@pytest.mark.parametrize("folder", ["..", "../other", "/etc", ".", ".runner", "docs/../..", "no-such", "docs/a.md"])
def test_backup_refuses_what_is_no_folder_inside(project: Path, folder: str) -> None:
    (project / ".runner").mkdir()
    with pytest.raises(backup.BackupError):
        backup.backup(folder, project=project)


def test_backup_refuses_a_link_that_leads_out(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (project / "out").symlink_to(tmp_path_factory.mktemp("outside"))
    with pytest.raises(backup.BackupError, match="not a folder inside"):
        backup.backup("out", project=project)


def test_backup_of_a_file_that_changes_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = backup._write

    def changes(source: Path, archive: Path) -> dict[str, str]:
        return written(source, archive) | {"a.md": "another digest"}

    monkeypatch.setattr(backup, "_write", changes)
    with pytest.raises(backup.ChangedMeanwhileError, match=r"a\.md"):
        backup.backup("docs", project=project)
    assert not list((project / ".runner/backups").iterdir())


def index(project: Path) -> dict[str, object]:
    pages = [page_index.count_words("docs", page, project) for page in page_index.list_pages("docs", project)]
    return page_index.join_pages("docs", pages, project)


def test_the_index_has_the_words_of_all_pages(project: Path) -> None:
    (project / "docs" / "a.md").write_text("Runs and runs. [b](inner/b.md) [c](c.md) [d](https://x.example/d.md)")
    (project / "docs" / "inner" / "b.md").write_text("Every run runs.")
    # Four words of four letters or more, and those of the links: inner, https, and example.
    assert index(project) == {
        "pages": 2,
        "words": 7,
        "different": 5,
        "broken": {"docs/a.md": ["c.md"]},
        "changed": True,
    }
    assert page_index.publish("docs", project) == ".runner/page-index.json"
    found = json.loads((project / ".runner/page-index.json").read_text())
    assert found["runs"] == {"docs/a.md": 2, "docs/inner/b.md": 1}
    assert index(project)["changed"] is False


def test_the_scratch_folder_is_kept_after_a_failure(project: Path) -> None:
    index(project)
    scratch = page_index.scratch_of("docs", project)
    (scratch / "x.partial").touch()
    assert page_index.clean_up("docs", "REVOKED", "REVOKED", project) == ["x.partial"]
    assert page_index.clean_up("docs", "SUCCESS", "FAILURE", project) == []
    assert len(page_index.clean_up("docs", "SUCCESS", "REVOKED", project)) == 3
    assert not scratch.exists()


@pytest.mark.parametrize("folder", ["..", "/etc", "no-such", "docs/a.md", "empty"])
def test_the_index_refuses_what_has_no_pages(project: Path, folder: str) -> None:
    (project / "empty").mkdir()
    with pytest.raises(page_index.PageIndexError):
        page_index.list_pages(folder, project)


def test_flaky_fails_twice_and_then_succeeds() -> None:
    for attempt in (1, 2):
        with running(CurrentRun(id="x", job="flaky", attempt=attempt)), pytest.raises(ConnectionError):
            behavior.flaky()
    with running(CurrentRun(id="x", job="flaky", attempt=3)):
        assert behavior.flaky() == "attempt 3 went through"
    assert CATALOG.get("flaky").retry.max_retries >= 2


def test_slow_count_tells_how_far_it_is() -> None:
    reports: list[tuple[float | None, str | None]] = []
    with running(CurrentRun(id="x", job="slow-count", attempt=1, report=lambda f, m: reports.append((f, m)))):
        assert behavior.slow_count(0.01) == {"counted_to": 1}
    assert reports == [(1.0, "1 of 1")]


def test_disk_usage_lists_the_largest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_PROJECT", str(PROJECT))
    lines = str(run_shell_job("disk-usage", top=3)["output"]).splitlines()
    assert 1 < len(lines) <= 3
    assert lines[0].endswith("\tdocs")


def test_disk_usage_of_no_folder_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_PROJECT", str(PROJECT))
    with pytest.raises(shell.ShellError, match="no-such"):
        run_shell_job("disk-usage", folder="no-such")


def test_broken_example_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_PROJECT", str(PROJECT))
    with pytest.raises(shell.ShellError) as caught:
        run_shell_job("broken-example")
    assert "exit status 1" in str(caught.value)
    assert "invoices/2026-11.csv" in str(caught.value)
    assert "never reached" not in str(caught.value)
