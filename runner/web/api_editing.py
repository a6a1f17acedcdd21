"""The REST API: job files that administrators edit."""

from __future__ import annotations

import threading
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.convertors import PathConvertor, register_url_convertor
from typing_extensions import TypedDict

from runner.actions.check_edit import Checked, check_text, plan_text
from runner.actions.edit_file import Saved, delete_file, save_file
from runner.actions.job_files import MOST_BYTES, list_files, read_file
from runner.errors import UnknownFile
from runner.web import documents
from runner.web.documents import CLOSED, answers
from runner.web.edit_access import editable_project
from runner.web.requests import Admin, Reader, StrictRoute, answer
from runner.web.text_diff import unified
from runner.yaml_reader.problem import Problem


class _FileConvertor(PathConvertor):
    """A path that does not end with an action on a file, so that other methods there are answered with 405."""

    regex = r"(?!.+/(?:check|plan)$).*"


register_url_convertor("file", _FileConvertor())
router = APIRouter(prefix="/api/v1", route_class=StrictRoute, dependencies=[Reader])

MOST_COMMENT = 200
_AT_ONCE = threading.BoundedSemaphore(2)
"""Checks that run at once, so that people who type leave the server to others."""

FileName = Annotated[str, Path(description="Relative to the project, such as jobs.d/reports.yaml.", max_length=512)]
DIGEST = "The digest of the version that was edited."


class JobFile(TypedDict):
    """A job file, and the numbers of its jobs and problems. ``reason`` says why it cannot be edited here, if so."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    name: str
    size: int
    jobs: int
    problems: int
    reason: str | None


class JobFiles(TypedDict):
    """All job files, in the order in which they are read."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    files: list[JobFile]


class JobFileText(TypedDict):
    """A job file. Lines of ``text`` end with a line feed, whatever they end with in the file."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    name: str
    text: str
    digest: str


class Replacement(TypedDict):
    """What to write instead of the characters from ``start`` to ``end`` of the line; counted from 0, by code points."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    start: int
    end: int
    text: str


class EditProblem(TypedDict):
    """A problem as ``runner validate --json`` prints it, with the remedy, and the replacement where one is known."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    file: str
    line: int
    column: int
    path: str
    message: str
    severity: str
    source: str | None
    expected: str | None
    fix: str | None
    remedy: str | None
    replacement: Replacement | None


class ChangedJobs(TypedDict):
    """Names of jobs, compared with the files as they are."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    added: list[str]
    changed: list[str]
    removed: list[str]


class CheckedFile(TypedDict):
    """The result of a check. ``digest`` is that of the file as it is now, and null if there is none.

    ``problems`` are those of the file, and those that it would cause in other files. ``diff`` has the lines of a
    unified diff between the file and the text.
    """

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    sound: bool
    problems: list[EditProblem]
    jobs: ChangedJobs
    diff: list[str]
    digest: str | None


class SavedFile(TypedDict):
    """The result of an edit: ``digest`` is null after a deletion; ``commit_problem`` says why git did not commit it."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    name: str
    digest: str | None
    changed: bool
    commit: str | None
    commit_problem: str | None


class EditedText(BaseModel):
    """The whole text of a job file."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(description=f"The whole content of the file, at most {MOST_BYTES // 1024} KiB as UTF-8.")


class NewVersion(EditedText):
    """The new version of a job file."""

    digest: str | None = Field(default=None, max_length=80, description=f"{DIGEST} Null for a new file.")
    comment: str | None = Field(
        default=None, max_length=MOST_COMMENT, description="The reason; for the audit log and the commit."
    )


@router.get("/files", **answers(JobFiles))
def show_files(request: Request, person: Admin) -> Response:  # noqa: ARG001
    """Return the job files, and why one of them cannot be edited here."""
    project = editable_project(request)
    return answer(
        {
            "files": [
                {
                    "name": file.name,
                    "size": file.size,
                    "jobs": file.jobs,
                    "problems": file.problems,
                    "reason": file.reason,
                }
                for file in list_files(project)
            ]
        }
    )


@router.get("/files/{name:file}", **answers(JobFileText))
def show_file(name: FileName, request: Request, person: Admin) -> Response:  # noqa: ARG001
    """Return a job file, with the digest that a change of it has to give."""
    found = read_file(editable_project(request), name)
    return answer({"name": found.name, "text": found.text, "digest": found.digest})


@router.post("/files/{name:path}/check", **answers(CheckedFile))
def check_file(name: FileName, request: Request, person: Admin, body: EditedText) -> Response:  # noqa: ARG001
    """Check a text as the content of a job file, together with all other files. Nothing is saved."""
    project = editable_project(request)
    with _AT_ONCE:
        checked = check_text(project, name, body.text)
        try:
            current = read_file(project, name)
        except UnknownFile:
            current = None
        diff = unified(current.text if current is not None else "", body.text.replace("\r\n", "\n"))
    return answer(check_document(checked, diff, current.digest if current is not None else None))


@router.post("/files/{name:path}/plan", response_model=None, responses=documents.PROBLEMS)
def plan_file(name: FileName, request: Request, person: Admin, body: EditedText) -> Response:  # noqa: ARG001
    """Compare the jobs as they would be with those that the workers run, as `runner plan --json` does."""
    with _AT_ONCE:
        return answer(plan_text(editable_project(request), name, body.text).document())


@router.put("/files/{name:file}", **answers(SavedFile))
def put_file(name: FileName, request: Request, person: Admin, body: NewVersion) -> Response:
    """Save a job file, or create it. A text with problems is refused, and so is a file that has changed meanwhile."""
    project = editable_project(request)
    saved = save_file(
        project, name, body.text, digest=body.digest, by=person.name, comment=one_line_comment(body.comment)
    )
    return answer(_document(saved))


@router.delete("/files/{name:file}", **answers(SavedFile))
def remove_file(
    name: FileName,
    request: Request,
    person: Admin,
    digest: Annotated[str, Query(max_length=80, description=DIGEST)],
    comment: Annotated[str | None, Query(max_length=MOST_COMMENT)] = None,
) -> Response:
    """Delete a job file. It is refused if jobs of other files need one of its jobs."""
    project = editable_project(request)
    saved = delete_file(project, name, digest=digest, by=person.name, comment=one_line_comment(comment))
    return answer(_document(saved))


def one_line_comment(text: str | None) -> str:
    """Return a comment as one line, for a log and the subject of a commit."""
    return " ".join((text or "").encode("utf-8", "replace").decode().split())


def check_document(checked: Checked, diff: list[str], digest: str | None) -> dict[str, Any]:
    """Return a check as JSON values."""
    return {
        "sound": checked.sound,
        "problems": [problem_document(problem) for problem in checked.problems],
        "jobs": checked.jobs(),
        "diff": diff,
        "digest": digest,
    }


def problem_document(problem: Problem) -> dict[str, Any]:
    """Return a problem as JSON values, for an editor that can correct it."""
    replacement = None
    if problem.corrected:
        start = problem.index
        replacement = {"start": start, "end": start + problem.replaced, "text": problem.replacement}
    return {**problem.as_dict(), "remedy": problem.remedy or None, "replacement": replacement}


def _document(saved: Saved) -> dict[str, Any]:
    return {
        "name": saved.name,
        "digest": saved.digest,
        "changed": saved.changed,
        "commit": saved.commit.id,
        "commit_problem": saved.commit.fault,
    }
