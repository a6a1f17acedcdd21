"""Job files edited in the browser and through the API: who may, what is refused, and that nothing is lost."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from starlette.testclient import TestClient

from runner.actions import project as actions
from runner.actions.check_edit import Checked
from runner.actions.job_files import MOST_BYTES
from runner.actions.plan import Moved, OptionChange, Plan
from runner.actions.projects import Projects
from runner.catalog.catalog import Catalog
from runner.web.render import _templates
from runner.web.server import create_web_app
from runner.web.text_diff import unified
from tests.support.project import Project, write_project
from tests.support.servers import Server
from tests.web.conftest import MILLISECONDS, MODULE, Web, needs_chromium, new_page, serving
from tests.web.test_access import TOKENS, bearer, form_token

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page

GREET = "jobs:\n  greet: {task: 'web_jobs:greet'}\n"
WITH_SCHEDULE = GREET + "  hourly: {task: 'web_jobs:greet', schedule: {every: 1h}}\n"
TYPO = GREET + "  second:\n    task: 'web_jobs:greet'\n    retri: {max_retries: 1}\n"
REPORTS = """\
# Reports of the finance team. Ask Ann before you change their times.
defaults:
  retry: {max_retries: 3, delay: 1m}

jobs:
  nightly-report:
    description: Revenue report of one day
    task: web_jobs:greet
    schedule: {cron: "30 2 * * *"}
    timeout: 1h
    tags: [finance]
"""
WEB = {
    "edit": True,
    "tokens": {f"the-{role}": {"sha256": digest, "role": role} for role, (_, digest) in TOKENS.items()},
}
FILE = "/api/v1/files/jobs.d/jobs.yaml"


def made(folder: Path, server: Server, web: dict[str, Any]) -> Project:
    namespace = f"w{uuid.uuid4().hex[:10]}"
    return write_project(folder, server.url, GREET, {"web_jobs.py": MODULE}, {"web": web}, namespace)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> Iterator[Web]:
    project = made(tmp_path_factory.mktemp("editing") / "p", redis_server, WEB)
    git(project, "init", "--quiet")
    git(project, "add", "jobs.d")
    git(project, "-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "--quiet", "-m", "Begin")
    with serving(project) as web:
        yield web


@pytest.fixture
def editing(server: Web) -> Web:
    """The server, with one job file as it was in the beginning."""
    folder = server.project.path / "jobs.d"
    for path in folder.iterdir():
        path.unlink()
    (folder / "jobs.yaml").write_text(GREET, "utf-8")
    return server


@pytest.fixture
def admin(editing: Web) -> Iterator[httpx.Client]:
    with editing.client(headers=bearer("admin")) as client:
        yield client


@pytest.fixture
def session(editing: Web) -> Iterator[httpx.Client]:
    """A browser without JavaScript, logged in."""
    with editing.client() as client:
        assert client.post("/login", data={"token": TOKENS["admin"][0]}).status_code == 303
        yield client


def git(project: Project, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=project.path, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.strip()


def content(web: Web, name: str = "jobs.yaml") -> str:
    return (web.project.path / "jobs.d" / name).read_text("utf-8")


def hidden(html: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', html)
    assert found is not None
    return found[1]


def fields(html: str) -> dict[str, str]:
    """The hidden fields of the editor's form."""
    return {"csrf": form_token(html[html.index("<main") :]), "digest": hidden(html, "digest")}


@pytest.mark.parametrize(
    ("web", "who", "message"),
    [({"tokens": WEB["tokens"]}, bearer("admin"), "set web.edit: true"), ({"edit": True}, {}, "without --no-token")],
)
def test_it_is_off_unless_asked_for_and_never_without_a_login(
    tmp_path: Path, redis_server: Server, web: dict[str, Any], who: dict[str, str], message: str
) -> None:
    project = made(tmp_path / "p", redis_server, web)
    app = create_web_app(Projects([actions.Project(project.settings)]), host="127.0.0.1")
    with TestClient(app, base_url="http://127.0.0.1", headers=who) as client:
        for answer in (
            client.get("/api/v1/files"),
            client.get(FILE),
            client.post(f"{FILE}/check", json={"text": GREET}),
            client.put(FILE, json={"text": "", "digest": None}),
            client.delete(FILE, params={"digest": "sha256:0"}),
            client.get("/files"),
        ):
            assert (answer.status_code, message in answer.text) == (403, True), answer.text
        assert "/files" not in client.get("/jobs").text
        # Nor is a larger body taken.
        assert client.put(FILE, json={"text": "#" * 300_000}).status_code == 413
    assert (project.path / "jobs.d/jobs.yaml").read_text("utf-8") == GREET


def test_of_several_projects_both_that_one_and_the_first_must_allow_it(tmp_path: Path, redis_server: Server) -> None:
    tokens = {"tokens": WEB["tokens"]}
    sections = {"first": WEB, "second": WEB, "closed": tokens}
    projects = [made(tmp_path / name, redis_server, section) for name, section in sections.items()]
    opened = [actions.Project(project.settings) for project in projects]
    for order, allowed in (((0, 1, 2), {"first", "second"}), ((2, 0, 1), set())):
        app = create_web_app(Projects([opened[number] for number in order]), host="127.0.0.1")
        with TestClient(app, base_url="http://127.0.0.1", headers=bearer("admin"), follow_redirects=False) as client:
            for name in sections:
                page = client.get(f"/projects/{name}/files/jobs.d/jobs.yaml")
                assert page.status_code == (200 if name in allowed else 403), (order, name)
                if name in allowed:
                    assert f'action="/projects/{name}/files/jobs.d/jobs.yaml"' in page.text
                    [check] = re.findall(r'data-check="([^"]+)"', page.text)
                    assert client.post(check, json={"text": TYPO}).json()["problems"][0]["line"] == 5
                    form = {**fields(page.text), "text": WITH_SCHEDULE, "act": "save"}
                    saved = client.post(f"/projects/{name}/files/jobs.d/jobs.yaml", data=form)
                    assert saved.headers["Location"] == f"/projects/{name}/files/jobs.d/jobs.yaml?saved=yes"
    written = [(project.path / "jobs.d/jobs.yaml").read_text("utf-8") for project in projects]
    assert written == [WITH_SCHEDULE, WITH_SCHEDULE, GREET]


def test_only_administrators_may(editing: Web) -> None:
    for role, status in (("read", 403), ("operate", 403), ("admin", 200)):
        with editing.client(headers=bearer(role)) as client:
            answers = [client.get(FILE), client.get("/files"), client.post(f"{FILE}/check", json={"text": TYPO})]
            assert [answer.status_code for answer in answers] == [status] * 3
            assert ('href="/files"' in client.get("/jobs").text) == (status == 200)
            assert ('href="/files/jobs.d/jobs.yaml#L2"' in client.get("/jobs/greet").text) == (status == 200)
            if status == 403:
                digest = "sha256:0"
                assert client.put(FILE, json={"text": "", "digest": digest}).status_code == 403
                assert client.delete(FILE, params={"digest": digest}).status_code == 403
    assert content(editing) == GREET


def test_the_api_reads_checks_saves_and_deletes(editing: Web, admin: httpx.Client) -> None:
    assert admin.get("/api/v1/files").json() == {
        "files": [{"name": "jobs.d/jobs.yaml", "size": len(GREET), "jobs": 1, "problems": 0, "reason": None}]
    }
    opened = admin.get(FILE).json()
    assert (opened["name"], opened["text"]) == ("jobs.d/jobs.yaml", GREET)
    checked = admin.post(f"{FILE}/check", json={"text": TYPO}).json()
    [problem] = checked["problems"]
    assert (checked["sound"], problem["line"], problem["column"]) == (False, 5, 5)
    assert problem["replacement"] == {"start": 4, "end": 9, "text": "retry"}
    assert checked["digest"] == opened["digest"]
    assert "+    retri: {max_retries: 1}" in checked["diff"]
    refused = admin.put(FILE, json={"text": TYPO, "digest": opened["digest"]})
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_spec")
    assert "jobs.yaml:5:5" in refused.json()["error"]["message"]
    assert content(editing) == GREET
    saved = admin.put(FILE, json={"text": WITH_SCHEDULE, "digest": opened["digest"], "comment": "Greet\nhourly"}).json()
    assert (saved["changed"], saved["commit_problem"]) == (True, None)
    assert git(editing.project, "log", "-1", "--format=%h %an %s") == f"{saved['commit']} the-admin Greet hourly"
    assert content(editing) == WITH_SCHEDULE
    assert "hourly" in {job["name"] for job in admin.get("/api/v1/jobs").json()["jobs"]}
    # The version that was opened is not the one that is there.
    for late in (
        admin.put(FILE, json={"text": GREET, "digest": opened["digest"]}),
        admin.put(FILE, json={"text": GREET, "digest": None}),
        admin.delete(FILE, params={"digest": opened["digest"]}),
    ):
        assert (late.status_code, late.json()["error"]["code"]) == (409, "file_changed")
    plan = admin.post(f"{FILE}/plan", json={"text": GREET}).json()
    assert (plan["added"], plan["workers"]) == (["greet"], [])
    gone = admin.delete(FILE, params={"digest": saved["digest"]}).json()
    assert (gone["digest"], (editing.project.path / "jobs.d/jobs.yaml").exists()) == (None, False)
    acts = admin.get("/api/v1/audit", params={"act": "edit"}).json()["acts"]
    assert [(act["by"], act["comment"].partition(",")[0]) for act in acts[:2]] == [
        ("the-admin", "deleted jobs.d/jobs.yaml"),
        ("the-admin", "changed jobs.d/jobs.yaml"),
    ]
    assert "edit by='the-admin'" in editing.process.stderr
    assert admin.get(FILE).status_code == 404


def test_a_path_cannot_lead_out_however_it_is_written(editing: Web) -> None:
    """Clients tidy paths up; an attacker's does not."""
    (editing.project.path / "outside.yaml").write_text(GREET, "utf-8")
    address = urlsplit(editing.url)
    for path in (
        *("jobs.d/../outside.yaml", "jobs.d/%2e%2e/outside.yaml", "..%2Foutside.yaml", "jobs.d%2F..%2Foutside.yaml"),
        *(
            "/etc/x.yaml",
            "%2Fetc%2Fx.yaml",
            "jobs.d/..%5Coutside.yaml",
            "runner.yaml",
            "jobs.d/%00.yaml",
            "outside.yaml",
        ),
    ):
        for method, body in (("GET", ""), ("PUT", json.dumps({"text": GREET, "digest": None}))):
            request = (
                f"{method} /api/v1/files/{path} HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\n"
                f"Authorization: {bearer('admin')['Authorization']}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n{body}"
            )
            with socket.create_connection((address.hostname, address.port), 30) as connection:
                connection.sendall(request.encode())
                answer = connection.makefile("rb").read()
            assert answer.startswith(b"HTTP/1.1 404"), (method, path, answer[:200])
    assert sorted(path.name for path in (editing.project.path / "jobs.d").iterdir()) == ["jobs.yaml"]


def test_another_site_cannot_edit(editing: Web, session: httpx.Client) -> None:
    html = session.get("/files/jobs.d/jobs.yaml").text
    good = {**fields(html), "text": WITH_SCHEDULE, "act": "save"}
    other = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    refused = [
        session.post("/files/jobs.d/jobs.yaml", data={**good, "csrf": ""}),
        session.post("/files/jobs.d/jobs.yaml", data={**good, "csrf": "0" * 64}),
        session.post("/files/jobs.d/jobs.yaml", data=good, headers=other),
        session.put(FILE, json={"text": WITH_SCHEDULE, "digest": good["digest"]}, headers=other),
        session.delete(FILE, params={"digest": good["digest"]}, headers=other),
    ]
    assert [answer.status_code for answer in refused] == [403] * 5
    body = json.dumps({"text": WITH_SCHEDULE, "digest": good["digest"]})
    assert session.put(FILE, content=body, headers={"Content-Type": "text/plain"}).status_code == 415
    with editing.client() as somebody:
        somebody.post("/login", data={"token": TOKENS["operate"][0]})
        token = form_token(somebody.get("/jobs/greet").text)
        assert somebody.post("/files/jobs.d/jobs.yaml", data={**good, "csrf": token}).status_code == 403
    assert content(editing) == GREET


def test_a_large_file_is_taken_and_a_larger_one_refused(editing: Web, admin: httpx.Client) -> None:
    digest = admin.get(FILE).json()["digest"]
    large = GREET + "# 路\n" * ((MOST_BYTES - 1000) // 6)
    assert admin.post(f"{FILE}/check", json={"text": large}).json()["sound"]
    saved = admin.put(FILE, json={"text": large, "digest": digest}).json()
    too_large = admin.put(FILE, json={"text": large + "#" * 2000, "digest": saved["digest"]})
    assert too_large.status_code == 422
    assert admin.put(FILE, json={"text": "#" * 2_000_000, "digest": saved["digest"]}).status_code == 413
    half = json.dumps({"text": "\ud800", "digest": saved["digest"]})
    assert admin.put(FILE, content=half, headers={"Content-Type": "application/json"}).status_code == 422
    assert content(editing) == large


def test_a_diff_is_one_that_patch_would_take() -> None:
    assert unified("a\nb\nc\n", "a\nx\nc\nd\n") == ["@@ -1,3 +1,4 @@", " a", "-b", "+x", " c", "+d"]
    assert unified("", "a\n") == ["@@ -0,0 +1 @@", "+a"]
    assert unified("a\n", "") == ["@@ -1 +0,0 @@", "-a"]
    assert unified("a\n", "a\n") == []
    many = "".join(f"{number}\n" for number in range(60))
    changed = many.replace("\n3\n", "\nx\n").replace("\n50\n", "\n")
    assert [line for line in unified(many, changed) if line[0] == "@"] == ["@@ -1,7 +1,7 @@", "@@ -48,7 +48,6 @@"]
    # With this many lines, the shortest difference would take minutes.
    assert len(unified("a\nb\n" * 5000, "b\na\nc\n" * 5000)) > 10_000


def test_a_plan_is_compared_with_live_workers() -> None:
    moved = Moved("hourly", (1_764_000_000_000,), (1_764_003_600_000,))
    change = OptionChange("retry.max_retries", None, 3)
    worker = {"name": "w1", "catalog": "sha256:0", "current": False, "behind": None}
    found = Plan(
        added=("new",),
        changed={"hourly": (change,)},
        removed=("<old>",),
        schedules=(moved,),
        queued={"hourly": 2},
        workers=(worker,),
        unsafe=("other",),
    )
    parts = _templates.get_template("edit_parts.html").make_module({"zone": ZoneInfo("UTC")})
    shown = parts.plan(found, Checked((), (), ("hourly",), (), Catalog()))  # type: ignore[attr-defined]
    for part in (
        "+ new",
        "~ hourly",
        "default → <code>3</code>",
        "&lt;old&gt;",
        "before: 2025-11-24",
        "2 waiting runs",
    ):
        assert part in shown
    assert "No worker" not in shown
    assert "unsafe" not in shown


def test_without_javascript_review_conflict_save_and_delete(editing: Web, session: httpx.Client) -> None:
    path = "/files/jobs.d/jobs.yaml"
    assert '<a href="/files/jobs.d/jobs.yaml">' in session.get("/files").text
    form = fields(session.get(path).text)
    # As browsers send it.
    typed = WITH_SCHEDULE.replace("\n", "\r\n")
    review = session.post(path, data={**form, "text": typed, "act": "review"}).text
    changes = ('<span class="add">+  hourly:', "1 job added: hourly", "+ hourly", "Next runs of <b>hourly")
    for part in ("No problems", "No worker is alive", *changes):
        assert part in review
    wrong = session.post(path, data={**form, "text": TYPO, "act": "save"})
    assert wrong.status_code == 422
    for part in ("1 problem", 'data-line="5"', "retri: {max_retries: 1}", "Write <code>retry:"):
        assert part in wrong.text
    # Somebody else is faster. The text stays, and is compared with what is there now.
    (editing.project.path / "jobs.d/jobs.yaml").write_text(GREET + "# theirs\n", "utf-8")
    late = session.post(path, data={**form, "text": typed, "act": "save"})
    assert late.status_code == 409
    for part in ("was changed meanwhile", '<span class="del">-# theirs', "  hourly: {task"):
        assert part in late.text
    assert content(editing) == GREET + "# theirs\n"
    done = session.post(path, data={**fields(late.text), "text": typed, "act": "save", "comment": "Hourly"})
    assert (done.status_code, done.headers["Location"].partition("?")[0]) == (303, path)
    assert content(editing) == WITH_SCHEDULE
    shown = session.get(done.headers["Location"]).text
    assert f"committed as <code>{git(editing.project, 'rev-parse', '--short', 'HEAD')}</code>" in shown
    assert session.get(f"{path}?saved=<b>").status_code == 422
    # A new file; a name that is taken leads to the file.
    assert session.get("/files/new?name=jobs").headers["Location"] == path
    new = session.get("/files/new", params={"name": "new.yaml"})
    assert 'action="/files/jobs.d/new.yaml"' in new.text
    made = session.post("/files/jobs.d/new.yaml", data={**fields(new.text), "text": "jobs: {}", "act": "save"})
    assert (made.status_code, content(editing, "new.yaml")) == (303, "jobs: {}\n")
    opened = session.get("/files/jobs.d/new.yaml").text
    asked = session.post("/files/jobs.d/new.yaml", data={**fields(opened), "text": "jobs: {}", "act": "remove"}).text
    assert "Delete jobs.d/new.yaml?" in asked
    assert (editing.project.path / "jobs.d/new.yaml").exists()
    gone = session.post("/files/jobs.d/new.yaml", data={**fields(asked), "act": "delete"})
    assert (gone.status_code, (editing.project.path / "jobs.d/new.yaml").exists()) == (303, False)
    assert "jobs.d/new.yaml is deleted" in session.get(gone.headers["Location"]).text


def test_a_failed_commit_is_told_and_the_file_is_saved(editing: Web, session: httpx.Client) -> None:
    form = fields(session.get("/files/jobs.d/jobs.yaml").text)
    lock = editing.project.path / ".git/index.lock"
    lock.touch()
    try:
        answer = session.post("/files/jobs.d/jobs.yaml", data={**form, "text": WITH_SCHEDULE, "act": "save"})
    finally:
        lock.unlink()
    assert answer.status_code == 200
    assert "It is not committed: fatal: Unable to create" in answer.text
    assert content(editing) == WITH_SCHEDULE
    # The form that came with it goes on from what was saved.
    again = session.post("/files/jobs.d/jobs.yaml", data={**fields(answer.text), "text": GREET, "act": "save"})
    assert (again.status_code, content(editing)) == (303, GREET)


@pytest.fixture
def page(browser: Browser, editing: Web) -> Iterator[Page]:
    """A page of somebody who has logged in."""
    with new_page(browser, editing) as page:
        page.goto("/login")
        page.get_by_label("Token").fill(TOKENS["admin"][0])
        page.get_by_role("button", name="Log in").click()
        page.goto("/files/jobs.d/jobs.yaml")
        yield page


@needs_chromium
def test_a_text_is_checked_while_somebody_types(page: Page, editing: Web) -> None:
    from playwright.sync_api import expect

    verdict, text = page.locator("#verdict"), page.get_by_role("textbox", name="Content")
    expect(verdict).to_have_text("No problems")
    text.press("Control+End")
    # Enter goes on below a key, deeper.
    page.keyboard.type("  sécond:\n", delay=1)
    page.keyboard.type("task: 'web_jobs:greet'\nretri: {max_retries: 1}")
    expect(verdict).to_have_text("2 problems")  # the name is one, too
    page.keyboard.press("Control+Home")
    text.fill(TYPO)
    expect(verdict).to_have_text("1 problem")
    expect(page.locator("#numbers b")).to_have_text("✕ 5")
    expect(page.locator("#diff .add").last).to_have_text("+    retri: {max_retries: 1}")
    expect(page.locator("#jobs")).to_have_text("")
    page.get_by_role("link", name="Line 5").click()
    assert text.evaluate("field => field.value.slice(field.selectionStart).startsWith('retri')")
    page.get_by_role("button", name="Write retry").click()
    expect(verdict).to_have_text("No problems")
    expect(page.locator("#jobs")).to_have_text("1 job added: second")
    assert text.input_value() == TYPO.replace("retri:", "retry:")
    page.keyboard.press("Control+z")
    expect(verdict).to_have_text("1 problem")
    page.keyboard.press("Control+Shift+z")
    expect(verdict).to_have_text("No problems")
    page.keyboard.press("Control+s")
    expect(page.get_by_text("Saved, and committed as")).to_be_visible()
    assert content(editing) == TYPO.replace("retri:", "retry:")


@needs_chromium
def test_what_was_typed_is_not_left_by_accident(page: Page, editing: Web) -> None:
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    page.get_by_role("textbox", name="Content").press("Control+End")
    page.keyboard.type("# unsaved\n")
    page.get_by_role("link", name="Job files").click()
    page.wait_for_function("document.querySelector('#text').value.endsWith('# unsaved\\n')")
    assert asked == ["beforeunload"]
    assert page.url.endswith("/files/jobs.d/jobs.yaml")
    assert content(editing) == GREET


@needs_chromium
def test_picture_for_the_documentation(page: Page, editing: Web, tmp_path: Path) -> None:
    """``RUNNER_SCREENSHOTS=docs/images`` keeps it there."""
    (editing.project.path / "jobs.d/reports.yaml").write_text(REPORTS, "utf-8")
    page.set_viewport_size({"width": 1100, "height": 760})
    page.goto("/files/jobs.d/reports.yaml")
    page.locator("#text").fill(REPORTS.replace("30 2 * * *", "30 1 * * *").replace("timeout: 1h", "timeuot: 1h"))
    page.get_by_role("button", name="Write timeout").wait_for()
    page.locator("#text").blur()
    page.evaluate("scrollTo(0, 0)")
    picture = Path(os.environ.get("RUNNER_SCREENSHOTS") or tmp_path).absolute() / "edit.png"
    page.screenshot(path=picture)
    assert picture.stat().st_size > 10_000


@needs_chromium
@pytest.mark.parametrize("width", [390, 1400])
def test_the_pages_are_accessible_and_fit(browser: Browser, editing: Web, width: int) -> None:
    context = browser.new_context(base_url=editing.url, bypass_csp=True, viewport={"width": width, "height": 800})
    page = context.new_page()
    page.set_default_timeout(MILLISECONDS)
    page.goto("/login")
    page.get_by_label("Token").fill(TOKENS["admin"][0])
    page.get_by_role("button", name="Log in").click()
    for shown in ("list", "editor", "review", "delete"):
        page.goto("/files" if shown == "list" else "/files/jobs.d/jobs.yaml")
        if shown == "review":
            page.get_by_role("textbox", name="Content").fill(WITH_SCHEDULE + "  bad: {}\n")
            page.get_by_role("button", name="Review changes").click()
            page.get_by_role("alert").or_(page.locator(".faults li")).first.wait_for()
        if shown == "delete":
            page.get_by_role("button", name="Delete this file").click()
            page.get_by_role("button", name="Delete the file").wait_for()
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            found = Axe().run(page).response["violations"]
            assert not found, [
                (shown, scheme, violation["id"], [node["html"] for node in violation["nodes"]]) for violation in found
            ]
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (shown, width)
    context.close()
