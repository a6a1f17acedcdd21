"""The pages on which administrators edit job files. They work without JavaScript, one form per file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from runner._dataclass import dataclass
from runner.actions.check_edit import Checked, check_text, plan_text
from runner.actions.edit_file import Saved, delete_file, save_file
from runner.actions.job_files import FileText, check_new_name, list_files, locate, read_file
from runner.actions.plan import Plan
from runner.actions.project import Project
from runner.errors import FileChanged, RunnerError, UnknownFile, UsageError
from runner.model.http_status import http_status
from runner.web.access import Role
from runner.web.api_editing import MOST_COMMENT, FileName, one_line_comment, problem_document
from runner.web.edit_access import editable_project
from runner.web.render import page
from runner.web.requests import Admin, Reader, check_form
from runner.web.state import base_of
from runner.web.text_diff import unified

router = APIRouter(include_in_schema=False, dependencies=[Reader])

NEW_TEXT = """\
jobs:
  hello:
    description: Say hello
    task: runner.tasks.shell:run
    kwargs: {command: [echo, hello]}
    schedule: {every: 1h}
"""
"""What a new file begins with."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A job file as somebody edits it. ``digest`` is that of the version they have seen; None for a new file."""

    name: str
    text: str
    digest: str | None
    comment: str = ""


@router.get("/files")
def show_files(request: Request, person: Admin, gone: Annotated[str, Query(max_length=512)] = "") -> Response:  # noqa: ARG001
    """Show the job files."""
    return _list(request, editable_project(request), gone=gone)


@router.get("/files/new")
def new_file(request: Request, person: Admin, name: Annotated[str, Query(max_length=512)] = "") -> Response:  # noqa: ARG001
    """Begin a new file, or open the one that has this name already."""
    project = editable_project(request)
    if not name.endswith((".yaml", ".yml")):
        name += ".yaml"
    if "/" not in name and (folders := _folders(project)):
        name = f"{folders[0].relative_to(project.settings.project).as_posix()}/{name}"
    locate(project.settings, name)
    try:
        read_file(project, name)
    except UnknownFile:
        check_new_name(name)
        return _editor(request, project, Draft(name, NEW_TEXT, None))
    return RedirectResponse(f"{base_of(request)}/files/{quote(name)}", 303)


@router.get("/files/{name:path}")
def show_file(
    name: FileName,
    request: Request,
    person: Admin,  # noqa: ARG001
    saved: Annotated[str, Query(pattern="^(yes|[0-9a-f]{4,64})?$")] = "",
) -> Response:
    """Show a job file in an editor, with the problems that it has now."""
    project = editable_project(request)
    found = read_file(project, name)
    return _editor(request, project, Draft(name, found.text, found.digest), saved=saved)


@router.post("/files/{name:path}")
def edit_form(
    name: FileName,
    request: Request,
    text: Annotated[str, Form()] = "",
    digest: Annotated[str, Form(max_length=80)] = "",
    comment: Annotated[str, Form(max_length=MOST_COMMENT)] = "",
    act: Annotated[str, Form(max_length=16)] = "review",
    csrf: Annotated[str, Form(max_length=128)] = "",
) -> Response:
    """Check, review, save, or delete a file, as the button says that was pressed."""
    person = check_form(request, Role.ADMIN, csrf)
    project = editable_project(request)
    draft = Draft(name, text.replace("\r\n", "\n"), digest or None, one_line_comment(comment))
    if act not in ("save", "delete"):
        return _editor(request, project, draft, act=act)
    try:
        saved = _apply(project, draft, act, person.name)
    except RunnerError as error:
        if isinstance(error, FileChanged):
            # Whoever saves again has seen the difference to the version that is there now.
            current = _current(project, name)
            draft = replace(draft, digest=current.digest if current is not None else None)
        return _editor(request, project, draft, act=act, error=error)
    if saved.digest is None and saved.commit.fault is not None:
        return _list(request, project, gone=name, fault=saved.commit.fault)
    if saved.commit.fault is not None:
        return _editor(request, project, replace(draft, digest=saved.digest), saved="yes", fault=saved.commit.fault)
    if saved.digest is None:
        return RedirectResponse(f"{base_of(request)}/files?{urlencode({'gone': name})}", 303)
    return RedirectResponse(f"{base_of(request)}/files/{quote(name)}?saved={saved.commit.id or 'yes'}", 303)


def _apply(project: Project, draft: Draft, act: str, by: str) -> Saved:
    if act == "delete":
        return delete_file(project, draft.name, digest=draft.digest or "", by=by, comment=draft.comment)
    if not draft.text:
        raise UsageError("the text is empty", hint="delete the file instead")
    return save_file(project, draft.name, draft.text, digest=draft.digest, by=by, comment=draft.comment)


def _list(request: Request, project: Project, *, gone: str = "", fault: str | None = None) -> Response:
    folders = [folder.relative_to(project.settings.project).as_posix() for folder in _folders(project)]
    return page(request, "edit_list", files=list_files(project), folders=folders, gone=gone, fault=fault)


def _editor(
    request: Request,
    project: Project,
    draft: Draft,
    *,
    act: str = "",
    error: RunnerError | None = None,
    saved: str = "",
    fault: str | None = None,
) -> Response:
    """Show a file in an editor, with its problems, the difference to the version on the disk, and perhaps the plan."""
    current = _current(project, draft.name)
    deletes = act in ("remove", "delete")
    checked, plan = None, None
    try:
        checked = check_text(project, draft.name, None if deletes else draft.text)
        plan = _plan(project, draft, checked, act)
    except RunnerError as refused:
        error = error or refused
    before = current.text if current is not None else ""
    return page(
        request,
        "edit",
        http_status(error) if error is not None else 200,
        draft=draft,
        lines=draft.text.count("\n") + (not draft.text.endswith("\n")),
        current=current,
        deletes=deletes,
        checked=checked,
        problems=[problem_document(problem) for problem in checked.problems] if checked is not None else [],
        diff=unified(before, "" if deletes else draft.text),
        plan=plan,
        error=error,
        saved=saved,
        fault=fault,
    )


def _plan(project: Project, draft: Draft, checked: Checked, act: str) -> Plan | None:
    if act not in ("review", "remove") or not checked.sound:
        return None
    return plan_text(project, draft.name, None if act == "remove" else draft.text)


def _current(project: Project, name: str) -> FileText | None:
    try:
        return read_file(project, name)
    except UnknownFile:
        return None


def _folders(project: Project) -> list[Path]:
    """Return the folders of jobs that lie in the project."""
    root = project.settings.project
    return [folder for folder in project.settings.jobs_dir if folder != root and folder.is_relative_to(root)]
