"""The catalog: which files are read, how options merge, and what a job that is not sound does to others."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runner.catalog import catalog as catalog_module
from runner.catalog.catalog import Catalog, load_catalog, load_files
from runner.errors import InvalidSpec, NoProject, UnknownJob


@dataclasses.dataclass
class Project:
    project: Path
    jobs_dir: tuple[Path, ...]
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    files: tuple[Path, ...] = ()

    def load(self, *, use_cache: bool = False) -> Catalog:
        return load_catalog(self, use_cache=use_cache)

    def write(self, name: str, text: str) -> Path:
        path = self.project / "jobs.d" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)
        return path


@pytest.fixture
def project(tmp_path: Path) -> Project:
    folder = tmp_path / "jobs.d"
    folder.mkdir(mode=0o755)
    return Project(tmp_path, (folder,))


JOB = "jobs:\n  {}:\n    task: a.b:c\n"


def told(catalog: Catalog) -> list[str]:
    return [str(problem) for problem in catalog.problems]


def test_no_files_is_an_empty_catalog_and_a_warning(project: Project) -> None:
    catalog = project.load()
    assert (dict(catalog.jobs), catalog.problems, catalog.files) == ({}, (), 0)
    assert catalog.warnings == ("there are no jobs: no file name ends in .yaml",)


def test_no_jobs_in_any_file_is_a_warning(project: Project) -> None:
    project.write("a.yaml", "")
    project.write("b.yaml", "jobs: {}\n")
    assert project.load().warnings == ("jobs.d/a.yaml, jobs.d/b.yaml: no jobs are declared",)
    project.write("c.yaml", JOB.format("c"))
    assert project.load().warnings == ()


def test_a_missing_folder(project: Project) -> None:
    project.jobs_dir = (project.project / "nowhere",)
    with pytest.raises(NoProject) as raised:
        project.load()
    assert "runner init" in (raised.value.hint or "")


def test_sub_folders_yes_hidden_files_and_backups_no(project: Project) -> None:
    for name in ("a.yaml", "b.yml", "team/c.yaml", "team/deep/d.yaml"):
        project.write(name, JOB.format(Path(name).stem))
    for name in (
        ".hidden.yaml",
        ".git/x.yaml",
        "#auto.yaml",
        "~lock.yaml",
        "a.yaml~",
        "b~.yaml",
        "c.yaml.swp",
        "d.txt",
    ):
        project.write(name, "no: [yaml")
    catalog = project.load()
    assert sorted(catalog.jobs) == ["a", "b", "c", "d"]
    assert catalog.problems == ()
    assert catalog.jobs["d"].file == "jobs.d/team/deep/d.yaml"
    assert catalog.jobs["d"].line == 2


def test_a_file_with_another_spelling_is_warned_about(project: Project) -> None:
    project.write("A.YAML", JOB.format("a"))
    assert "jobs.d/A.YAML is not read, rename it to end in .yaml" in project.load().warnings


def test_loops_of_links_and_second_names(project: Project) -> None:
    project.write("a.yaml", JOB.format("a"))
    (project.project / "jobs.d" / "loop").symlink_to(".")
    (project.project / "jobs.d" / "up").symlink_to("..")
    (project.project / "jobs.d" / "same.yaml").symlink_to("a.yaml")
    catalog = project.load()
    assert list(catalog.jobs) == ["a"]
    assert catalog.problems == ()


def test_a_dangling_link_a_folder_and_a_pipe(project: Project) -> None:
    (project.project / "jobs.d" / "gone.yaml").symlink_to("nowhere.yaml")
    (project.project / "jobs.d" / "folder.yaml").mkdir(mode=0o755)
    os.mkfifo(project.project / "jobs.d" / "pipe.yaml", 0o644)
    assert told(project.load()) == [
        "jobs.d/gone.yaml:1:1: cannot be read: the target of the link does not exist",
        "jobs.d/pipe.yaml:1:1: is not a regular file, remove it or rename it",
    ]


def test_what_anybody_may_write_is_refused(project: Project, tmp_path: Path) -> None:
    project.write("a.yaml", JOB.format("a")).chmod(0o666)
    project.write("open/b.yaml", JOB.format("b"))
    (tmp_path / "jobs.d" / "open").chmod(0o777)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "c.yaml").write_text(JOB.format("c"))
    (outside / "c.yaml").chmod(0o644)
    outside.chmod(0o777)
    (tmp_path / "jobs.d" / "c.yaml").symlink_to(outside / "c.yaml")
    catalog = project.load()
    assert told(catalog) == [
        "jobs.d/a.yaml:1:1: anybody may write to this file, run: chmod o-w jobs.d/a.yaml",
        f"jobs.d/c.yaml:1:1: links to a file in {outside}, where anybody may write; copy it here",
        "jobs.d/open:1:1: anybody may write to this folder, run: chmod o-w jobs.d/open",
    ]
    assert dict(catalog.jobs) == {}


def test_a_file_without_permission(project: Project) -> None:
    project.write("a.yaml", JOB.format("a")).chmod(0)
    with bound_by_permissions(project.project):
        assert told(project.load()) == ["jobs.d/a.yaml:1:1: cannot be read: permission denied"]


@contextmanager
def bound_by_permissions(folder: Path) -> Iterator[None]:
    """Be somebody whom permissions bind: root reads everything."""
    if os.geteuid() != 0:
        yield
        return
    nobody = 65534
    above = [parent for parent in folder.parents if parent.owner() == "root" and parent.stat().st_mode & 0o005 != 0o005]
    before = {parent: parent.stat().st_mode for parent in (folder, *above)}
    for parent, mode in before.items():
        parent.chmod(mode | 0o055)
    os.seteuid(nobody)
    try:
        yield
    finally:
        os.seteuid(0)
        for parent, mode in before.items():
            parent.chmod(mode)


def test_job_over_file_over_project_defaults(project: Project) -> None:
    project.defaults = {"queue": "project", "priority": 1, "env": {"A": "1", "B": "1"}, "tags": ["p"]}
    project.write(
        "a.yaml",
        """
defaults: {priority: 2, env: {B: "2", C: "2"}, tags: [f, g], retry: {max_retries: 2, delay: 5s}}
jobs:
  a:
    task: a.b:c
    env: {C: "3", A: null}
    retry: {max_retries: 3}
  b:
    task: a.b:c
    priority: null
    tags: null
    env: null
    retry: {delay: null}
    queue: own
""",
    )
    jobs = project.load().jobs
    assert (jobs["a"].queue, jobs["a"].priority, jobs["a"].tags) == ("project", 2, ("f", "g"))
    assert jobs["a"].env == {"B": "2", "C": "3"}
    assert (jobs["a"].retry.max_retries, jobs["a"].retry.delay) == (3, 5.0)
    assert (jobs["b"].queue, jobs["b"].priority, jobs["b"].tags) == ("own", 5, ())
    assert jobs["b"].env == {}
    assert (jobs["b"].retry.max_retries, jobs["b"].retry.delay) == (2, 10.0)


def test_kwargs_and_params_merge(project: Project) -> None:
    project.write(
        "a.yaml",
        """
defaults:
  kwargs: {deep: {a: 1, b: [1]}, flat: 1}
  params: {day: {type: string, format: date, default: 2026-11-23}, gone: {}}
jobs:
  a:
    task: a.b:c
    kwargs: {deep: {b: [2], c: null}, flat: null}
    params: {day: {default: null, format: null, type: [string, "null"]}, gone: null}
""",
    )
    job = project.load().jobs["a"]
    assert job.kwargs == {"deep": {"a": 1, "b": [2], "c": None}, "flat": None}
    assert list(job.params) == ["day"]
    assert dict(job.params["day"].schema) == {"type": ["string", "null"], "default": None}


def test_problems_in_file_defaults_are_told_once_and_disable_the_file(project: Project) -> None:
    project.write("a.yaml", "defaults:\n  timeout: 5\n" + JOB.format("a") + "  b:\n    task: a.b:c\n    que: x\n")
    project.write("z.yaml", JOB.format("z"))
    catalog = project.load()
    assert told(catalog) == [
        "jobs.d/a.yaml:2:12: defaults.timeout: 5 has no unit, write 5s, 5m or 5h",
        "jobs.d/a.yaml:8:5: jobs.b.que: unknown option, did you mean queue?",
    ]
    assert list(catalog.jobs) == ["z"]


def test_problems_in_project_defaults_are_told_where_they_stand(project: Project) -> None:
    project.files = (project.project / "runner.yaml",)
    project.files[0].write_text("namespace: x\ndefaults:\n  retry: {delay: 5}\n")
    project.defaults = {"retry": {"delay": 5}}
    project.write("a.yaml", JOB.format("a") + "  b:\n    task: a.b:c\n")
    catalog = project.load(use_cache=True)
    assert told(catalog) == ["runner.yaml:3:18: defaults.retry.delay: 5 has no unit, write 5s, 5m or 5h"]
    assert dict(catalog.jobs) == {}
    assert dict(catalog.broken) == {"a": "jobs.d/a.yaml:2", "b": "jobs.d/a.yaml:4"}


def test_problems_in_defaults_of_an_environment_are_told_in_its_file(project: Project) -> None:
    base, over = project.files = (project.project / "runner.yaml", project.project / "runner.prod.yaml")
    base.write_text("defaults:\n  retry: {delay: 5}\n  timeout: 1m\n")
    over.write_text("defaults: {timeout: 5}\n")
    project.defaults = {"retry": {"delay": 5}, "timeout": 5}
    assert told(project.load()) == [
        "runner.prod.yaml:1:21: defaults.timeout: 5 has no unit, write 5s, 5m or 5h",
        "runner.yaml:2:18: defaults.retry.delay: 5 has no unit, write 5s, 5m or 5h",
    ]


def test_a_fault_shared_through_an_anchor_is_told_once(project: Project) -> None:
    jobs = "".join(f"  j{n}:\n    <<: *base\n    task: a.b:c\n" for n in range(3))
    project.write("a.yaml", "x-base: &base\n  timeout: 5\njobs:\n" + jobs)
    assert told(project.load()) == ["jobs.d/a.yaml:2:12: jobs.j0.timeout: 5 has no unit, write 5s, 5m or 5h"]


def test_a_name_in_two_files_disables_both(project: Project) -> None:
    project.write("a.yaml", JOB.format("a"))
    project.write("b.yaml", JOB.format("b") + "  a:\n    task: a.b:c\n")
    project.write("c.yaml", "jobs:\n  a: {}\n")
    catalog = project.load()
    assert list(catalog.jobs) == ["b"]
    assert [line for line in told(catalog) if "declared" in line] == [
        "jobs.d/b.yaml:4:1: jobs.a: is also declared in jobs.d/a.yaml:2, which disables both; rename or remove one",
        "jobs.d/c.yaml:2:1: jobs.a: is also declared in jobs.d/a.yaml:2, which disables both; rename or remove one",
    ]


def test_sound_jobs_of_a_file_with_problems_are_there(project: Project) -> None:
    project.write("a.yaml", JOB.format("a") + "  b:\n    task: a.b:c\n    queue: one\n    queue: two\n")
    project.write("b.yaml", "jobs: [")
    catalog = project.load()
    assert list(catalog.jobs) == ["a"]
    assert len(catalog.problems) == 2
    with pytest.raises(InvalidSpec) as raised:
        catalog.check()
    assert raised.value.message.endswith("\n2 problems in 2 files")


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("nightly-repot", "no job is named 'nightly-repot'", "Did you mean nightly-report?"),
        ("zzz", "no job is named 'zzz'", "1 problem in 1 file: runner validate lists them."),
        ("broken", "job broken is declared in jobs.d/a.yaml:4, but has problems", "runner validate lists them."),
    ],
)
def test_an_unknown_job(project: Project, name: str, message: str, hint: str) -> None:
    project.write("a.yaml", JOB.format("nightly-report") + "  broken:\n    queue: x\n")
    with pytest.raises(UnknownJob) as raised:
        project.load().get(name)
    assert (raised.value.message, raised.value.hint) == (message, hint)


def test_too_many_jobs(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog_module, "MAX_JOBS", 5)
    for name in "abcdefgh":
        project.write(f"{name}.yaml", JOB.format(name))
    catalog = project.load()
    assert dict(catalog.jobs) == {}
    assert "more than 5 jobs are declared" in told(catalog)[0]


def test_named_files_and_folders(project: Project, tmp_path: Path) -> None:
    project.write("team/a.yaml", JOB.format("a"))
    odd = tmp_path / "jobs.txt"
    odd.write_text(JOB.format("b"))
    catalog = load_files([tmp_path / "jobs.d", odd, tmp_path / "none.yaml"], base=tmp_path)
    assert sorted(catalog.jobs) == ["a", "b"]
    assert told(catalog) == ["none.yaml:1:1: cannot be read: no such file or directory"]


def test_the_digest_is_of_what_is_meant_and_not_of_how_it_is_written(project: Project) -> None:
    project.write("a.yaml", "defaults: {queue: q}\njobs:\n  a: {task: 'a.b:c', timeout: 90s, tags: [x]}\n")
    project.write("b.yaml", "jobs:\n  b: {tags: [x], queue: q, priority: 5, timeout: 1m30s, task: a.b:c}\n")
    project.write("c.yaml", "jobs:\n  c: {tags: [x], queue: q, timeout: 91s, task: a.b:c}\n")
    jobs = project.load().jobs
    assert jobs["a"].digest == jobs["b"].digest
    assert jobs["a"].digest != jobs["c"].digest
    assert jobs["a"].digest.startswith("sha256:")


def test_params_keep_the_order_of_the_file_and_the_digest_does_not_care(project: Project) -> None:
    params = ("    z: {type: string}\n", "    a: {type: integer, default: 1}\n")
    head = "jobs:\n  j:\n   task: a.b:c\n   params:\n"
    digests = []
    for order in (params, params[::-1]):
        project.write("a.yaml", head + "".join(order))
        job = project.load(use_cache=True).get("j")
        assert list(project.load(use_cache=True).get("j").params) == [line.split(":")[0].strip() for line in order]
        digests.append(job.digest)
    assert digests[0] == digests[1]


def test_a_fault_of_a_hook_does_not_tell_the_other_problems_again(tmp_path: Path) -> None:
    path = tmp_path / "jobs.yaml"
    path.write_text("jobs:\n  a: {task: a:b, enabled: yes}\n  h: {task: a:b, hooks: {failure: [nobody]}}\n", "utf-8")
    assert [problem.line for problem in load_files([path], base=tmp_path).problems] == [2, 3]
