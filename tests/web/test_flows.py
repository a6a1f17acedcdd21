"""The pages of flows, with and without a browser: the graph, the Gantt chart, approvals, step runs, reruns."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.support.deadline import wait_until
from tests.support.project import Project, write_project
from tests.support.servers import Server
from tests.web.conftest import MILLISECONDS, Web, needs_chromium

MODULE = """
import time
from pathlib import Path


def extract():
    return {"files": ["a.csv", "b.csv", "c.csv"]}


def load(file, gate):
    print(f"loading {file}")
    while not Path(gate).exists():
        time.sleep(0.05)
    return len(file)


def check(gate):
    if Path(gate + "-bad").exists():
        raise ValueError("3 rows are wrong")


def nothing():
    pass
"""
TASK = {"task": "flow_jobs:nothing"}
GATE = {"gate": {"type": "string", "required": True}}
LARGE = {
    "first": TASK,
    **{
        f"part-number-{number:02}-of-many": {
            **TASK,
            "needs": ["first"] if number < 9 else [f"part-number-{number - 9:02}-of-many"],
        }
        for number in range(98)
    },
    "last": {**TASK, "needs": [f"part-number-{number:02}-of-many" for number in range(89, 98)], "when": "ended"},
}
JOBS: dict[str, Any] = {
    "nightly": {
        "params": GATE,
        "steps": {
            "extract": {"task": "flow_jobs:extract"},
            "load": {
                "needs": ["extract"],
                "each": "${steps.extract.result.files}",
                "task": "flow_jobs:load",
                "kwargs": {"file": "${item}", "gate": "${params.gate}"},
            },
            "approve": {"needs": ["load"], "approval": {"within": "12h"}},
            "publish": {"needs": ["approve"], **TASK},
            "tidy": {"needs": ["publish"], "when": "ended", "job": "sweep", "description": "Remove <b>files</b>"},
        },
    },
    "checked": {
        "params": GATE,
        "steps": {
            "extract": {"task": "flow_jobs:extract"},
            "check": {"needs": ["extract"], "task": "flow_jobs:check", "kwargs": {"gate": "${params.gate}"}},
            "publish": {"needs": ["check"], **TASK},
        },
    },
    "large": {"steps": LARGE},
    "sweep": TASK,
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("flows")
    namespace = f"w{uuid.uuid4().hex[:10]}"
    project = write_project(folder / "p", redis_server.url, JOBS, {"flow_jobs.py": MODULE}, {}, namespace)
    with project.worker(concurrency=4):
        yield project


def waiting(web: Web, gate: Path) -> str:
    """Submit a flow, and return it once it waits for approval."""
    gate.touch()
    flow = str(web.project.cli("submit", "nightly", "-p", f"gate={gate}").check().id)

    def waits() -> bool:
        run = httpx.get(f"{web.url}/api/v1/runs/{flow}", timeout=30.0).json()
        return bool(step_of(run, "approve")["counts"])

    wait_until(waits, 30.0, "the flow waits for approval")
    return flow


def step_of(run: dict[str, Any], name: str) -> dict[str, Any]:
    return next(step for step in run["steps"] if step["name"] == name)


def sent(client: httpx.Client, page: str, action: str, **fields: str) -> httpx.Response:
    """Send a form of a page."""
    csrf = re.search(r'name="csrf" value="([^"]+)"', client.get(page).text)
    assert csrf is not None
    return client.post(action, data={"csrf": csrf[1], **fields})


@needs_chromium
def test_a_flow_is_watched_and_approved(page: Page, web: Web, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    page.goto("/jobs/nightly")
    expect(page.locator(".drawing text").filter(has_text="approval")).to_be_visible()
    page.get_by_label("gate").fill(str(gate))
    page.get_by_role("button", name="Submit").click()
    graph = page.get_by_role("figure", name="Graph of the steps")
    expect(graph.locator("text.STARTED")).to_contain_text("STARTED 0/3")
    expect(graph.locator("text.SUCCESS")).to_contain_text("SUCCESS")
    bars = page.locator(".gantt li:not(.axis)")
    expect(bars).to_have_count(5)
    expect(bars.nth(1)).to_contain_text("STARTED, 0 of 3")
    expect(page.locator("#log")).to_contain_text("load[1] #1 loading b.csv")
    grows = bars.nth(1).locator("rect")
    x = float((grows.get_attribute("x") or "").rstrip("%"))
    assert x + float((grows.get_attribute("width") or "").rstrip("%")) == pytest.approx(100, abs=0.5)
    expect(bars.nth(2).locator("rect")).to_have_count(0)
    expect(page.locator(".axis text").first).to_have_text(re.compile(r"\d\d:\d\d:\d\d"))
    gate.touch()
    # Everything follows without the page being loaded again.
    approval = page.get_by_role("region", name="Step approve waits for approval")
    approval.get_by_label("Comment").fill("looks fine")
    expect(graph.locator("text").filter(has_text="waits for approval")).to_be_visible()
    expect(page.locator(".headline .state")).to_have_text("STARTED")
    expect(page.locator("main")).to_contain_text("Step approve blocks it: it waits for approval until")
    approval.get_by_role("button", name="Approve").click()
    expect(page.locator(".headline .state")).to_have_text("SUCCESS")
    expect(approval).to_have_count(0)
    expect(graph.locator("text.SUCCESS")).to_have_count(5)
    expect(bars.locator("rect.SUCCESS")).to_have_count(5)
    expect(page.locator("#log .line")).to_have_count(3)
    page.reload()
    expect(page.locator("#log .line")).to_have_count(3)
    graph.get_by_role("link", name="approve").click()
    expect(page.get_by_role("region", name="Result")).to_contain_text("looks fine")
    page.get_by_role("link", name="Flow nightly").click()
    graph.get_by_role("link", name="load").click()
    expect(page.locator("tbody tr")).to_have_count(3)
    assert {text[:12] for text in page.locator("td.name").all_inner_texts()} == {"nightly/load"}


@needs_chromium
def test_a_rejection_is_final_and_a_comment_outlives_what_happens(page: Page, web: Web, tmp_path: Path) -> None:
    flow = waiting(web, tmp_path / "gate")
    page.goto(f"/runs/{flow}")
    page.get_by_label("Comment").fill("wrong curren")
    expect(page.locator("#live")).to_have_text("live")
    took = page.locator(".gantt li").nth(3).text_content() or ""
    # The page is rendered anew while somebody types.
    expect(page.locator(".gantt li").nth(3)).not_to_have_text(took)
    expect(page.get_by_label("Comment")).to_have_value("wrong curren")
    page.get_by_role("button", name="Reject").click()
    expect(page.locator(".headline")).to_contain_text("FAILURE step_failed")
    steps = page.get_by_role("table", name="Steps of the flow")
    expect(steps.get_by_role("row", name="approve")).to_contain_text("REVOKED rejected")
    expect(steps.get_by_role("row", name="publish")).to_contain_text("REVOKED upstream_failed")
    expect(steps.get_by_role("row", name="tidy")).to_contain_text("SUCCESS")


def test_an_approval_is_given_without_a_script_by_whoever_has_the_form(
    web: Web, client: httpx.Client, tmp_path: Path
) -> None:
    flow = waiting(web, tmp_path / "gate")
    approval = step_of(web.project.document(flow), "approve")["run"]
    assert client.post(f"/runs/{approval}/approve", data={"csrf": "0" * 64}).status_code == 403
    assert "nightly/approve waits for approval since" in client.get("/").text
    for path in (f"/runs/{flow}", f"/runs/{approval}"):
        html = client.get(path).text
        assert f'action="/runs/{approval}/approve"' in html
        assert f'formaction="/runs/{approval}/reject"' in html
    answer = sent(client, f"/runs/{approval}", f"/runs/{approval}/approve", comment="no <b>script</b>")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/runs/{flow}")
    web.project.wait_for_state(flow, "SUCCESS")
    assert "no &lt;b&gt;script&lt;/b&gt;" in client.get(f"/runs/{approval}").text
    assert web.project.document(approval)["result"]["comment"] == "no <b>script</b>"
    numbers = re.sub(r"<[^>]*>", " ", client.get("/jobs/nightly").text.partition("Figures of its steps")[2])
    assert re.search(r"load\s+\d+\s+100.0 %", numbers)
    log = client.get(f"/runs/{flow}/log").text
    assert "load[0] #1 loading a.csv" in log
    # It was decided; asking again changes nothing.
    assert sent(client, f"/runs/{flow}", f"/runs/{approval}/reject").status_code == 409
    assert "/approve" not in client.get(f"/runs/{flow}").text


def test_a_step_run_leads_to_its_flow_and_is_in_lists_only_when_asked_for(
    web: Web, client: httpx.Client, tmp_path: Path
) -> None:
    flow = waiting(web, tmp_path / "gate")
    items = client.get("/api/v1/runs", params={"flow": flow, "job": "nightly/load"}).json()["runs"]
    assert sorted(run["item"] for run in items) == [0, 1, 2]
    html = client.get(f"/runs/{items[0]['id']}").text
    assert f'<a href="/runs/{flow}">Flow nightly {flow[:8]}</a>' in html
    assert f'<span class="mark">item {items[0]["item"]}</span>' in html
    assert 'href="/jobs/nightly">nightly</a>/load' in html
    assert f'href="/runs?flow={flow}&amp;job=nightly%2Fload">All items of load</a>' in html
    shown = client.get("/runs").text
    assert f'data-key="{flow}"' in shown
    assert not [run["id"] for run in items if run["id"] in shown]
    assert 'name="steps"' in shown
    shown = client.get("/runs", params={"steps": "on"}).text
    assert all(f'data-key="{run["id"]}"' in shown for run in items)
    assert re.search(r'name="steps" checked', shown)
    listed = client.get("/runs", params={"flow": flow}).text
    assert listed.count("<tr data-key") == 5
    assert "step of" in listed


def test_a_flow_runs_again_from_where_it_failed(web: Web, client: httpx.Client, tmp_path: Path) -> None:
    gate, bad = tmp_path / "gate", tmp_path / "gate-bad"
    bad.touch()
    flow = web.project.cli("submit", "checked", "-p", f"gate={gate}", "--wait").check(1).id
    html = client.get(f"/runs/{flow}").text
    assert "Rerun from failed" in html
    assert "check failed" in html
    bad.unlink()
    answer = sent(client, f"/runs/{flow}", f"/runs/{flow}/rerun", from_failed="on")
    assert answer.status_code == 303
    again = answer.headers["Location"].removeprefix("/runs/")
    web.project.wait_for_state(again, "SUCCESS")
    reused = web.project.document(step_of(web.project.document(again), "extract")["run"])["reused_from"]
    assert reused == step_of(web.project.document(flow), "extract")["run"]
    html = client.get(f"/runs/{again}").text
    assert "Rerun from failed" not in html
    extract = step_of(web.project.document(again), "extract")["run"]
    assert f'Taken from <a class="id" href="/runs/{reused}">' in client.get(f"/runs/{extract}").text


def test_a_job_shows_the_graph_that_it_declares(client: httpx.Client) -> None:
    html = client.get("/jobs/nightly").text
    begin = html.index('<figure class="drawing"')
    graph = html[begin : html.index("</figure>", begin)]
    assert re.findall(r'<text x="13" y="20">(\w+)<', graph) == ["extract", "load", "approve", "publish", "tidy"]
    assert graph.count("<path d=") + graph.count("<path class=") >= 4
    assert "approval within 12h" in graph
    assert 'href="/jobs/sweep"' in graph
    assert "Remove &lt;b&gt;files&lt;/b&gt;" in html
    assert "${steps.extract.result.files}" in html
    assert "task: null" not in html
    assert "Graph of the steps" not in client.get("/jobs/sweep").text


def test_the_page_of_a_large_flow_stays_small(web: Web, client: httpx.Client) -> None:
    flow = web.project.cli("submit", "large", "--wait").check().id
    page = client.get(f"/runs/{flow}")
    assert len(page.content) < 100 * 1024
    assert page.text.count('data-key="step-') == 40
    assert "All 100 steps" in page.text
    assert client.get(f"/runs/{flow}", params={"steps": "all"}).text.count('data-key="step-') == 100
    assert len(client.get("/jobs/large").content) < 100 * 1024


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_everybody_can_read_it(browser: Browser, web: Web, tmp_path: Path, scheme: Any, width: int) -> None:
    flow = waiting(web, tmp_path / "gate")
    gate = tmp_path / "other"
    (tmp_path / "other-bad").touch()
    failed = web.project.cli("submit", "checked", "-p", f"gate={gate}", "--wait").check(1).id
    approval = step_of(web.project.document(flow), "approve")["run"]
    context = browser.new_context(
        base_url=web.url, color_scheme=scheme, bypass_csp=True, viewport={"width": width, "height": 800}
    )
    page = context.new_page()
    page.set_default_timeout(MILLISECONDS)
    for path in (
        f"/runs/{flow}",
        f"/runs/{failed}",
        f"/runs/{approval}",
        f"/runs?flow={flow}",
        "/jobs/nightly",
        "/jobs/large",
    ):
        page.goto(path)
        found = Axe().run(page).response["violations"]
        serious = [finding for finding in found if finding["impact"] in ("serious", "critical")]
        assert not serious, (
            f"{path}: {[(finding['id'], [node['html'] for node in finding['nodes']]) for finding in serious]}"
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    web.project.cli("revoke", flow).check()
    context.close()
