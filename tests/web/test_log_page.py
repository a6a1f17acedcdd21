"""The log on the page of a run: search, links to lines, wrapping, and the download, with and without a script."""

from __future__ import annotations

import re

import httpx
from playwright.sync_api import Page, expect

from tests.web.conftest import Web, needs_chromium


def test_a_log_is_searched_and_its_lines_are_linked_without_a_script(web: Web, client: httpx.Client) -> None:
    run_id = web.project.cli("submit", "chatty", "--wait").check().id
    path = f"/runs/{run_id}"
    found = client.get(path, params={"search": "LINE 17 "}).text
    assert re.findall(r'<a href="([^"]+)">18</a>', found) == ["?line=1.18#L1.18"]
    assert "1 line of 3,000" in " ".join(found.split())
    around = client.get(path, params={"line": "1.18"}).text
    assert 'id="L1.18"' in around
    assert 'id="L1.3000"' not in around
    later = re.search(r'href="\?line=(1\.\d+)#L\1">Later lines', around)
    assert later is not None
    assert f'id="L{later[1]}"' in client.get(path, params={"line": later[1]}).text
    assert "No line contains it." in client.get(path, params={"search": "<script>"}).text
    assert client.get(path, params={"line": "nonsense"}).status_code == 200
    assert len(client.get(path).content) < 100 * 1024
    download = client.get(f"{path}/log", params={"download": "1"})
    assert download.headers["Content-Disposition"] == f'attachment; filename="chatty-{run_id[:8]}.log"'
    assert len(download.text.splitlines()) == 3000


@needs_chromium
def test_a_reader_finds_a_line_links_to_it_and_switches_wrapping_off(page: Page, web: Web) -> None:
    run_id = web.project.cli("submit", "chatty", "--wait").check().id
    # A line that the page does not have at first.
    page.goto(f"/runs/{run_id}#L1.18")
    line = page.locator("[id='L1.18']")
    expect(line).to_be_in_viewport()
    expect(line).to_contain_text("line 17 路")
    page.goto(f"/runs/{run_id}")
    search = page.get_by_label("Search the log")
    page.keyboard.press("/")
    expect(search).to_be_focused()
    search.fill("LINE 299")
    expect(page.locator("#log-hits")).to_have_text("10 here")
    search.press("Enter")
    expect(page.locator(".line.current")).to_contain_text("line 2990 路")
    search.press("Shift+Enter")
    expect(page.locator(".line.current")).to_contain_text("line 2999 路")
    search.fill("line 17 ")
    expect(page.locator("#log-hits")).to_have_text("none here")
    # What this part does not have, the server finds in the rest.
    search.press("Enter")
    page.wait_for_url("**search=line*")
    page.get_by_role("link", name="18", exact=True).click()
    expect(line).to_be_in_viewport()
    wrap = page.get_by_role("button", name="Wrap long lines")
    expect(wrap).to_have_attribute("aria-pressed", "true")
    wrap.click()
    page.reload()
    expect(wrap).to_have_attribute("aria-pressed", "false")
    assert page.locator("#log").evaluate("log => getComputedStyle(log).whiteSpace") == "pre"
