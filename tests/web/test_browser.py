"""The dashboard in a real Chromium: submitting, watching, revoking, filtering, reconnecting; nothing inaccessible."""

from __future__ import annotations

import os
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect

from tests.support.deadline import wait_until
from tests.support.project import Project, write_project
from tests.support.servers import Server
from tests.web.conftest import JOBS, MILLISECONDS, MODULE, Web, needs_chromium, serving

PAGES = ("/", "/jobs", "/jobs/typed", "/jobs/scheduled", "/runs", "/schedule", "/schedule/2026-11-26", "/fleet")

pytestmark = needs_chromium


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


def test_a_log_goes_on_below_an_error_that_appears(page: Page, web: Web, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run_id = web.project.cli("submit", "gated-flaky", "-p", f"gate={gate}").check().id
    page.goto(f"/runs/{run_id}")
    expect(page.locator("#log")).to_contain_text("#1 attempt 1")
    gate.touch()
    expect(page.get_by_role("heading", name="ConnectionError")).to_be_visible()
    expect(page.locator(".headline .state")).to_have_text("SUCCESS")
    expect(page.locator("#log")).to_contain_text("#2 attempt 2")


def test_a_form_says_what_is_wrong_and_keeps_what_was_typed(page: Page) -> None:
    page.goto("/jobs/typed")
    page.get_by_label("name").select_option("bob")
    page.get_by_label("count").fill("0")
    page.get_by_role("button", name="Submit").click()
    # Bounds are checked before anything is sent.
    assert page.get_by_label("count").evaluate("field => field.validity.rangeUnderflow")
    page.get_by_label("count").fill("2")
    page.get_by_label("more").fill("[")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("alert")).to_contain_text("more")
    expect(page.get_by_label("name")).to_have_value("bob")
    page.get_by_label("more").fill("a: {b: [1]}")
    page.get_by_label("day").fill("2026-11-23")
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url("**/runs/*")


def test_revoke_with_its_processes(page: Page, web: Web, tmp_path: Path) -> None:
    run_id = web.project.cli("submit", "gated", "-p", f"gate={tmp_path / 'never'}").check().id
    page.goto(f"/runs/{run_id}")
    expect(page.locator(".headline .state")).to_have_text("STARTED")
    page.locator("summary", has_text="Revoke").click()
    page.get_by_label("Terminate it now").check()
    page.get_by_label("Reason (optional)").fill("enough of it")
    page.get_by_role("button", name="Revoke").click()
    expect(page.locator(".headline .state")).to_have_text("REVOKED")
    expect(page.locator("main")).to_contain_text("enough of it")
    page.get_by_role("link", name="Submit with other params").click()
    expect(page.get_by_label("gate")).to_have_value(str(tmp_path / "never"))


def test_lists_filter_and_are_live(page: Page, web: Web) -> None:
    web.project.cli("submit", "fails", "--wait").check(1)
    page.goto("/runs")
    page.get_by_label("FAILURE").check()
    page.get_by_label("Error contains").fill("alert('error')")
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
    with project.start("web", "--port", port, "--no-token") as again:
        again.wait_for("runner web ready", 40.0)
        expect(page.locator("tbody tr")).to_have_count(before + 1, timeout=MILLISECONDS)
    context.close()


def test_it_comes_back_also_from_what_is_no_stream(page: Page, web: Web) -> None:
    """A proxy answers for a server that is away: browsers give a stream up then, for good."""
    refused: list[str] = []

    def refuse(route: Route) -> None:
        refused.append(route.request.url)
        route.fulfill(status=502, body="Bad Gateway")

    page.route("**/api/v1/events*", refuse)
    page.goto("/runs?job=greet")
    expect(page.locator("#live")).to_have_text("connecting again")
    before = page.locator("tbody tr").count()
    page.unroute("**/api/v1/events*")
    expect(page.locator("#live")).to_have_text("live")
    web.project.cli("submit", "greet", "--wait").check()
    expect(page.locator("tbody tr")).to_have_count(before + 1)
    assert refused


def test_redis_that_is_away_is_not_live(browser: Browser, tmp_path: Path) -> None:
    from runner.embedded import serve, stop

    project = write_project(tmp_path / "p", "embedded", {**JOBS}, {"web_jobs.py": MODULE})
    context = browser.new_context(locale="en-GB")
    page, other = context.new_page(), context.new_page()
    serve(project.settings)
    try:
        with serving(project) as web:
            page.goto(f"{web.url}/runs")
            expect(page.locator("#live")).to_have_text("live", timeout=MILLISECONDS)
            stop(project.settings)
            expect(page.locator("#live")).to_have_text("Redis is away", timeout=MILLISECONDS)
            other.goto(f"{web.url}/jobs")
            expect(other.get_by_role("alert")).to_contain_text("Redis", timeout=MILLISECONDS)
            serve(project.settings)
            expect(page.locator("#live")).to_have_text("live", timeout=MILLISECONDS)
            # What could not be shown shows by itself.
            expect(other.locator("h1")).to_have_text("Jobs", timeout=MILLISECONDS)
            project.cli("submit", "greet").check()
            expect(page.locator("tbody tr")).to_have_count(1, timeout=MILLISECONDS)
    finally:
        stop(project.settings)
        context.close()


def test_a_tab_that_nobody_looks_at_holds_no_connection(page: Page, web: Web, tmp_path: Path) -> None:
    """A browser has six connections to a host: the seventh page would never come."""
    gate = tmp_path / "gate"
    run_id = web.project.cli("submit", "gated", "-p", f"gate={gate}").check().id
    page.goto(f"/runs/{run_id}")
    expect(page.locator("#log")).to_contain_text("waiting for the gate")
    ended: list[str] = []
    page.on("requestfailed", lambda request: ended.append(request.url.split("?")[0].rsplit("/", 1)[1]))
    look = "(hidden) => { Object.defineProperty(document, 'hidden', {configurable: true, value: hidden});"
    page.evaluate(look + "document.dispatchEvent(new Event('visibilitychange')) }", True)
    wait_until(lambda: page.evaluate("1") and {"events", "stream"} <= set(ended), 30.0, "both streams are closed")
    gate.touch()
    web.project.cli("wait", run_id).check()
    expect(page.locator(".headline .state")).to_have_text("STARTED")
    page.evaluate(look + "document.dispatchEvent(new Event('visibilitychange')) }", False)
    expect(page.locator(".headline .state")).to_have_text("SUCCESS")
    expect(page.locator("#log .line")).to_have_count(2)
    assert page.locator("#log .line").all_text_contents()[1].endswith("through the gate\n")


def test_what_has_the_focus_and_what_is_typed_outlive_what_happens(page: Page, web: Web) -> None:
    run_id = web.project.cli("submit", "greet", "--wait").check().id
    page.goto("/runs?job=greet")
    link = page.locator(f'tr[data-key="{run_id}"] a code')
    before = page.locator("tbody tr").count()
    page.locator(f'tr[data-key="{run_id}"]').get_by_role("link").last.focus()
    web.project.cli("submit", "greet", "--wait").check()
    expect(page.locator("tbody tr")).to_have_count(before + 1)
    assert page.evaluate("document.activeElement.getAttribute('href')") == f"/runs/{run_id}"
    assert link.is_visible()
    page.goto("/jobs/greet")
    page.get_by_label("name").fill("half a na")
    page.get_by_text("With defaults merged in").click()
    web.project.cli("submit", "greet", "--wait").check()
    expect(page.locator("#runs tbody tr")).to_have_count(before + 2)
    expect(page.get_by_label("name")).to_have_value("half a na")
    expect(page.get_by_label("With defaults merged in")).to_be_visible()


def test_a_change_of_state_is_said_once_and_nothing_else_is(page: Page, web: Web, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run_id = web.project.cli("submit", "gated", "-p", f"gate={gate}").check().id
    page.goto(f"/runs/{run_id}")
    expect(page.locator(".headline .state")).to_have_text("STARTED")
    expect(page.locator("#live")).to_have_text("live")
    page.evaluate(
        """() => { window.heard = []; for (const each of document.querySelectorAll('[role=status], [aria-live]'))
        new MutationObserver(() => heard.push(each.textContent)).observe(each, {childList: true, characterData: true,
        subtree: true}) }"""
    )
    # It is rendered anew while it runs: what it took so far grows.
    took = page.locator(".headline .total").text_content() or ""
    expect(page.locator(".headline")).not_to_contain_text(took)
    gate.touch()
    expect(page.locator(".headline .state")).to_have_text("SUCCESS")
    assert page.evaluate("heard") == ["The run is now SUCCESS"]
    assert page.title().startswith("SUCCESS gated")


def test_the_main_road_works_by_keyboard_alone(page: Page) -> None:
    page.goto("/jobs/greet")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    run = page.get_by_role("link", name="Run", exact=True)
    for _ in range(10):
        page.keyboard.press("Tab")
        if run.evaluate("link => link === document.activeElement"):
            break
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("name")).to_be_focused()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.wait_for_url("**/runs/*")


def test_keys_search_move_and_explain_themselves(page: Page) -> None:
    page.goto("/jobs")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    names = page.locator("tr[data-key] th a")
    expect(names.first).to_be_focused()
    page.keyboard.press("/")
    expect(page.get_by_label("Name or description")).to_be_focused()
    # In a field they are letters.
    page.keyboard.type("j?greet")
    expect(page.get_by_label("Name or description")).to_have_value("j?greet")
    page.goto("/schedule")
    page.keyboard.press("/")
    page.wait_for_url("**/jobs#search")
    expect(page.get_by_label("Name or description")).to_be_focused()
    names.first.focus()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Search")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


SMALL = """() => [...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, summary')]
  .filter((each) => each.checkVisibility() && !each.matches('.skip, p a, li a:not(.chip), .alarm a, label > input'))
  .map((each) => [each.outerHTML.slice(0, 120), each.getBoundingClientRect()])
  .filter(([_, box]) => box.width < 24 || box.height < 24).map(([html, box]) => `${html} ${box.width}x${box.height}`)"""


def test_a_finger_hits_what_can_be_touched(browser: Browser, web: Web) -> None:
    """At least 24 pixels (WCAG 2.2, 2.5.8), but for links within sentences."""
    web.project.cli("submit", "long", "--wait").check(1)
    context = browser.new_context(base_url=web.url, viewport={"width": 390, "height": 844})
    page = context.new_page()
    for path in ("/", "/jobs", "/runs", "/fleet", "/nothing"):
        page.goto(path)
        assert page.evaluate(SMALL) == [], path
        links = page.locator(".main-nav a")
        assert len({links.nth(number).bounding_box()["y"] for number in range(links.count())}) == 1  # type: ignore[index]
    context.close()


def test_ages_and_the_clock_go_by_the_time_of_the_server(browser: Browser, web: Web) -> None:
    web.project.cli("submit", "greet", "--wait").check()
    context = browser.new_context(base_url=web.url)
    page = context.new_page()
    page.clock.install(time="2020-01-01T00:00:00Z")
    page.goto("/runs?job=greet")
    age = page.locator("time.age").first
    assert re.fullmatch(r"just now|\d+ s ago", age.text_content() or "")
    page.clock.run_for(130_000)
    expect(age).to_have_text(re.compile("2 min ago"), timeout=MILLISECONDS)
    context.close()


def test_nothing_is_wider_than_a_phone_nor_comes_from_elsewhere(browser: Browser, web: Web) -> None:
    run_id = web.project.cli("submit", "long", "--wait").check(1).id
    context = browser.new_context(base_url=web.url, viewport={"width": 360, "height": 740})
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for path in (*PAGES, f"/runs/{run_id}"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
    assert {urlsplit(url).netloc for url in asked} == {urlsplit(web.url).netloc}
    context.close()


PICTURED = """
# What the finance team reads in the morning.
defaults: {tags: [finance]}
jobs:
  nightly-report:
    description: Revenue report of one day
    task: shop:report
    # when the orders are in
    schedule: {cron: "0 2 * * *", jitter: 5m, params: {day: "${run.slot.date - 1d}"}}
    retry: {max_retries: 3, delay: 1s}
    params:
      day: {type: string, format: date, required: true, description: Day to report}
      region: {type: string, enum: [eu, us], default: eu}
      limit: {type: integer, minimum: 1, maximum: 100, default: 20}
  import-orders: {task: "shop:orders", description: Orders of the shops, schedule: {cron: "15 */3 * * *"}}
  clean-up: {task: "shop:clean", schedule: {cron: "30 4 * * sun"}}
  heartbeat: {task: "shop:clean", schedule: {every: 5m}}
  close-books:
    description: Invoices of a month, checked by a person before they are sent
    params: {month: {type: string, required: true}}
    steps:
      list-shops: {task: "shop:shops"}
      invoice:
        needs: [list-shops]
        each: "${steps.list-shops.result}"
        task: "shop:invoice"
        kwargs: {shop: "${item}"}
      report: {needs: [invoice], task: "shop:total", kwargs: {amounts: "${steps.invoice.results}"}}
      archive: {needs: [invoice], job: clean-up}
      approve: {needs: [report], approval: {within: 12h}}
      send: {needs: [approve], task: "shop:clean", delivery: at_most_once}
      tell-finance: {needs: [send, archive], when: ended, task: "shop:clean"}
"""
SHOP = """
import os, time
from pathlib import Path
from runner import current_run


def report(day, region, limit):
    if current_run().attempt == 1:
        raise ConnectionError("db-3 refused the connection")
    print(f"reading the orders of {day}, {region}")
    current_run().progress(0.4, "4 of 10 shops")
    while not Path("gate").exists():
        time.sleep(0.05)


def orders():
    raise TimeoutError("shop-7 did not answer within 30 s")


def clean():
    print("nothing to do")


def shops():
    time.sleep(1)
    return [f"shop-{number}" for number in range(1, 13)]


def invoice(shop):
    time.sleep(0.7)
    return len(shop)


def total(amounts):
    time.sleep(1.2)
    return sum(amounts)
"""


def test_pictures_for_the_documentation(browser: Browser, redis_server: Server, tmp_path: Path) -> None:
    """``RUNNER_SCREENSHOTS=docs/images`` keeps them there."""
    folder = Path(os.environ.get("RUNNER_SCREENSHOTS") or tmp_path).absolute()
    project = write_project(tmp_path / "shop", redis_server.url, PICTURED, {"shop.py": SHOP})
    with project.worker(concurrency=4), serving(project) as web:
        for _ in range(5):
            project.cli("submit", "clean-up", "--wait").check()
        project.cli("submit", "import-orders", "--wait").check(1)
        run_id = project.cli("submit", "nightly-report", "-p", "day=2026-11-23").check().id
        flow = project.cli("submit", "close-books", "-p", "month=2026-10").check().id
        context = browser.new_context(base_url=web.url, viewport={"width": 1100, "height": 760})
        page = context.new_page()
        for name, path, there in (
            ("run", f"/runs/{run_id}", page.get_by_role("progressbar")),
            ("flow", f"/runs/{flow}", page.get_by_role("button", name="Approve")),
            ("overview", "/", page.locator("h1", has_text="failing")),
            ("job", "/jobs/nightly-report", page.get_by_label("limit")),
            ("schedule", "/schedule", page.get_by_role("heading", name="Frequent").first),
        ):
            page.goto(path)
            expect(there).to_be_visible(timeout=MILLISECONDS)
            expect(page.locator("#live")).to_have_text("live", timeout=MILLISECONDS)
            page.set_viewport_size({"width": 1100, "height": {"flow": 1220, "overview": 1040}.get(name, 760)})
            page.screenshot(path=folder / f"{name}.png")
            assert (folder / f"{name}.png").stat().st_size > 10_000
        (project.path / "gate").touch()
        project.cli("wait", run_id).check()
        context.close()


# The dark scheme changes colors, and nothing else; all else is judged in the light one.
SCHEMES: dict[Any, dict[str, Any]] = {"light": {}, "dark": {"runOnly": ["cat.color"]}}


@pytest.mark.parametrize("width", [1200, 360])
def test_axe_finds_nothing_on_any_page(browser: Browser, web: Web, tmp_path: Path, width: int) -> None:
    failed, flaky = (
        web.project.cli("submit", job, "--wait").check(code).id for job, code in (("long", 1), ("flaky", 0))
    )
    running = web.project.cli("submit", "gated", "-p", f"gate={tmp_path / 'never'}").check().id
    # axe is put into the page, which the page's own policy would refuse.
    context = browser.new_context(base_url=web.url, bypass_csp=True, viewport={"width": width, "height": 800})
    page = context.new_page()
    for path in (
        *PAGES,
        *(f"/runs/{run_id}" for run_id in (failed, flaky, running)),
        "/runs?since=x&tag=y",
        "/nothing",
    ):
        page.goto(path)
        for scheme, rules in SCHEMES.items():
            page.emulate_media(color_scheme=scheme)
            found = Axe().run(page, options={"resultTypes": ["violations"], **rules}).response["violations"]
            faults = [(violation["id"], [node["html"] for node in violation["nodes"]]) for violation in found]
            assert not faults, f"{path}, {scheme}: {faults}"
        assert page.locator("h1").count() == 1, path
    web.project.cli("revoke", running, "--terminate").check()
    context.close()


def test_pages_can_be_read_and_forms_sent_without_javascript(browser: Browser, web: Web, tmp_path: Path) -> None:
    run_id = web.project.cli("submit", "greet", "--wait").check().id
    context = browser.new_context(base_url=web.url, java_script_enabled=False)
    page = context.new_page()
    for path in PAGES:
        page.goto(path)
        assert page.locator("main h1").is_visible(), path
    page.goto(f"/runs/{run_id}")
    assert "hello world" in (page.locator("#log").text_content() or "")
    page.get_by_role("link", name="Submit with other params").click()
    page.get_by_label("name").fill("Ann")
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url("**/runs/*")
    page.goto("/jobs/gated")
    page.get_by_label("gate").fill(str(tmp_path / "never"))
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url("**/runs/*")
    web.project.wait_for_state(page.url.rsplit("/", 1)[1], "STARTED")
    page.reload()
    page.locator("summary", has_text="Revoke").click()
    page.get_by_label("Terminate it now").check()
    page.get_by_role("button", name="Revoke").click()
    web.project.wait_for_state(page.url.rsplit("/", 1)[1], "REVOKED")
    page.reload()
    page.get_by_label("More actions").click()
    page.get_by_role("button", name="Forget").click()
    page.wait_for_url("**/runs")
    page.get_by_label("FAILURE").check()
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**state=FAILURE**")
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
        title = page.title()
        context.close()
        server.shutdown()
    assert {"json no", "read no", "events no"} <= set(title.removeprefix("done: ").split(", "))
    posts = [status for method, status in answers if method == "POST"]
    # Of what scripts send without asking first, the browser tells nobody the answer; what it did is seen below.
    assert posts
    assert set(posts) == {403}
    with web.client() as client:
        assert client.get("/api/v1/runs", params={"job": "hostile"}).json()["runs"] == []
        assert client.get("/api/v1/jobs/hostile").json()["paused"] is None
