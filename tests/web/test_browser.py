"""The dashboard in a real Chromium: submitting, watching, revoking, filtering, reconnecting; nothing inaccessible."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.project import Project
from tests.web.conftest import Web, serving

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MILLISECONDS = 30_000

pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"), reason="needs Chromium on PATH; never skipped in CI"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # Without its sandbox, which needs rights that a container's root does not have.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, web: Web) -> Iterator[Page]:
    context = browser.new_context(base_url=web.url, locale="en-GB")
    page = context.new_page()
    page.set_default_timeout(MILLISECONDS)
    expect.set_options(timeout=MILLISECONDS)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if "Content Security" in message.text else None)
    yield page
    assert faults == []
    context.close()


def test_submit_by_form_and_watch_to_the_end(page: Page, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    page.goto("/jobs/gated")
    page.get_by_label("gate").fill(str(gate))
    page.get_by_role("button", name="Submit").click()
    expect(page.locator(".headline .state")).to_have_text("STARTED")
    expect(page.locator("#log")).to_contain_text("waiting for the gate")
    expect(page.get_by_role("progressbar")).to_be_visible()
    gate.touch()
    expect(page.locator(".headline .state")).to_have_text("SUCCESS")
    expect(page.locator("#log")).to_contain_text("through the gate")


def test_a_form_says_what_is_wrong_and_keeps_what_was_typed(page: Page) -> None:
    page.goto("/jobs/typed")
    page.get_by_label("name").select_option("bob")
    page.get_by_label("count").fill("0")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("alert")).to_contain_text("count")
    expect(page.get_by_label("name")).to_have_value("bob")
    page.get_by_label("count").fill("2")
    page.get_by_label("day").fill("2026-11-23")
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url("**/runs/*")


def test_revoke_with_its_processes(page: Page, web: Web, tmp_path: Path) -> None:
    run_id = web.project.cli("submit", "gated", "-p", f"gate={tmp_path / 'never'}").check().id
    page.goto(f"/runs/{run_id}")
    expect(page.locator(".headline .state")).to_have_text("STARTED")
    page.get_by_label("terminate").check()
    page.get_by_label("Why").fill("enough of it")
    page.get_by_role("button", name="Revoke").click()
    expect(page.locator(".headline .state")).to_have_text("REVOKED")
    expect(page.locator(".timeline")).to_contain_text("enough of it")
    page.get_by_role("link", name="Submit with other params").click()
    expect(page.get_by_label("gate")).to_have_value(str(tmp_path / "never"))


def test_lists_filter_and_are_live(page: Page, web: Web) -> None:
    web.project.cli("submit", "fails", "--wait").check(1)
    page.goto("/runs")
    page.get_by_label("State").select_option("FAILURE")
    page.get_by_label("Error has").fill("alert('error')")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("tbody tr .state").first).to_have_text("FAILURE")
    assert set(page.locator("tbody tr .state").all_text_contents()) == {"FAILURE"}
    page.goto("/runs?job=greet")
    before = page.locator("tbody tr").count()
    web.project.cli("submit", "greet", "--wait").check()
    expect(page.locator("tbody tr")).to_have_count(before + 1)


def test_it_comes_back_when_the_server_does(browser: Browser, project: Project) -> None:
    context = browser.new_context(locale="en-GB")
    page = context.new_page()
    with serving(project) as first:
        port = first.url.rsplit(":", 1)[1]
        page.goto(f"{first.url}/runs?job=greet")
        expect(page.locator("#live")).to_have_text("live", timeout=MILLISECONDS)
        before = page.locator("tbody tr").count()
    expect(page.locator("#live")).to_have_text("connecting again", timeout=MILLISECONDS)
    project.cli("submit", "greet", "--wait").check()
    with project.start("web", "--port", port) as again:
        again.wait_for("runner web ready", 40.0)
        expect(page.locator("tbody tr")).to_have_count(before + 1, timeout=MILLISECONDS)
    context.close()


def test_the_main_road_works_by_keyboard_alone(page: Page) -> None:
    page.goto("/jobs/greet")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.get_by_label("name").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/runs/*")


def test_pictures_for_the_documentation(browser: Browser, web: Web, tmp_path: Path) -> None:
    """``RUNNER_SCREENSHOTS=docs/images`` keeps them there."""
    folder = Path(os.environ.get("RUNNER_SCREENSHOTS") or tmp_path)
    web.project.cli("submit", "fails", "--wait").check(1)
    run_id = web.project.cli("submit", "gated", "-p", f"gate={tmp_path / 'never'}").check().id
    context = browser.new_context(base_url=web.url, viewport={"width": 1100, "height": 760})
    page = context.new_page()
    page.goto(f"/runs/{run_id}")
    expect(page.locator("#log")).to_contain_text("waiting for the gate", timeout=MILLISECONDS)
    page.screenshot(path=folder / "run.png")
    page.goto("/")
    expect(page.locator("h1")).to_have_text("Overview")
    page.screenshot(path=folder / "overview.png")
    web.project.cli("revoke", run_id, "--terminate").check()
    assert all((folder / name).stat().st_size > 10_000 for name in ("run.png", "overview.png"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_is_wrong_for_those_who_cannot_see(browser: Browser, web: Web, scheme: str) -> None:
    run_id = web.project.cli("submit", "fails", "--wait").check(1).id
    # axe is put into the page, which the page's own policy would refuse.
    context = browser.new_context(base_url=web.url, color_scheme=scheme, bypass_csp=True)  # type: ignore[arg-type]
    page = context.new_page()
    for path in ("/", "/jobs", "/jobs/typed", "/jobs/scheduled", "/runs", f"/runs/{run_id}", "/schedule", "/fleet"):
        page.goto(path)
        found = Axe().run(page).response["violations"]
        serious = [each for each in found if each["impact"] in ("serious", "critical")]
        assert not serious, f"{path}: {[(each['id'], [node['html'] for node in each['nodes']]) for each in serious]}"
    context.close()


def test_pages_can_be_read_without_javascript(browser: Browser, web: Web) -> None:
    run_id = web.project.cli("submit", "greet", "--wait").check().id
    context = browser.new_context(base_url=web.url, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"/runs/{run_id}")
    assert "hello world" in (page.locator("#log").text_content() or "")
    page.goto("/jobs/greet")
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url("**/runs/*")
    context.close()


HOSTILE = """<!doctype html><title>Hostile</title>
<iframe name="frame"></iframe><iframe name="other"></iframe>
<form id="form" method="post" target="frame" action="{url}/jobs/hostile/submit"></form>
<form id="json" method="post" target="other" enctype="text/plain" action="{url}/api/v1/jobs/hostile/runs">
  <input name='{{"params": {{}}, "x' value='": 1}}'></form>
<script>
const api = "{url}/api/v1/jobs/hostile/runs", done = [];
const tell = (name, asked) => asked.then(() => done.push(name + " sent"), () => done.push(name + " no"));
const body = '{{"params": {{}}}}';
async function attack() {{
  document.getElementById("form").submit();
  document.getElementById("json").submit();
  await tell("plain", fetch(api, {{method: "POST", mode: "no-cors", headers: {{"Content-Type": "text/plain"}}, body}}));
  await tell("empty", fetch(api, {{method: "POST", mode: "no-cors", credentials: "include"}}));
  await tell("json", fetch(api, {{method: "POST", headers: {{"Content-Type": "application/json"}}, body}}));
  await tell("read", fetch("{url}/api/v1/runs"));
  await tell("pause", fetch("{url}/api/v1/jobs/hostile/pause", {{method: "POST", mode: "no-cors"}}));
  await new Promise((end) => {{
    const source = new EventSource("{url}/api/v1/events");
    source.onopen = () => {{ done.push("events open"); end(); }};
    source.onerror = () => {{ done.push("events no"); source.close(); end(); }};
  }});
  document.title = "done: " + done.join(", ");
}}
window.onload = attack;
</script>"""


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_a_page_of_another_site_can_do_nothing(browser: Browser, web: Web, name: str) -> None:
    # localhost is another site than 127.0.0.1; another port of 127.0.0.1 is another origin of the same site.
    class Hostile(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(HOSTILE.format(url=web.url).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hostile) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        context = browser.new_context()
        page = context.new_page()
        answers: list[tuple[str, int]] = []
        page.on(
            "response", lambda got: answers.append((got.request.method, got.status)) if web.url in got.url else None
        )
        page.goto(f"http://{name}:{server.server_address[1]}/")
        page.wait_for_function("document.title.startsWith('done')", timeout=MILLISECONDS)
        told = page.title()
        context.close()
        server.shutdown()
    assert {"json no", "read no", "events no"} <= set(told.removeprefix("done: ").split(", "))
    posts = [status for method, status in answers if method == "POST"]
    # Of what scripts send without asking first, the browser tells nobody the answer; what it did is seen below.
    assert posts
    assert set(posts) == {403}
    with web.client() as client:
        assert client.get("/api/v1/runs", params={"job": "hostile"}).json()["runs"] == []
        assert client.get("/api/v1/jobs/hostile").json()["paused"] is None
