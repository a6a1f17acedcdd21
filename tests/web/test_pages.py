"""The pages of the dashboard as they come, without any script: what they say, and what they say of what is wrong."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.answers import text
from tests.support.deadline import wait_until
from tests.support.project import write_project
from tests.support.servers import Server
from tests.web.conftest import MODULE, Web, serving

NIGHTLY = """
# Of the whole file.
defaults: {queue: reports}
jobs:
  # Ask Ann before you touch it.
  nightly:
    task: web_jobs:greet   # the real one
    tags: [finance]

    # After the import.
    schedule: {cron: "30 2 * * *", params: {day: "${run.slot.date - 1d}"}}
    params:
      name: {type: string, default: ann}
      day: {type: string, default: today}
  # Not of the one above.
  often: {task: "web_jobs:greet", schedule: {every: 5m}}
"""
RULED = """
jobs:
  ruled: {task: "web_jobs:greet", schedule: {cron: "0 4 * * *", except: ["calendar:closed"]}}
  # Its slots are those of the one above.
  shadow: {task: "web_jobs:greet", enabled: false, schedule: {cron: "0 4 * * *", except: ["calendar:closed"]}}
"""
BROKEN = "jobs:\n  broken: {task: 'web_jobs:greet', timeout: 30}\n"

FORM: dict[str, Any] = {
    "zone": {"type": "string", "enum": ["eu", "us"], "default": "eu", "description": "Where"},
    "day": {"type": "string", "format": "date", "required": True},
    "at": {"type": "string", "format": "date-time"},
    "mail": {"type": "string", "format": "email"},
    "code": {"type": "string", "minLength": 2, "maxLength": 4, "pattern": "^[a-z]+$"},
    "note": {"type": ["string", "null"], "default": None},
    "level": {"type": "integer", "enum": [1, 2], "default": 2},
    "count": {"type": "integer", "minimum": 1, "maximum": 10, "default": 3},
    "share": {"type": "number", "minimum": 0.5},
    "full": {"type": "boolean", "default": True},
    "sheets": {"type": "array", "items": {"type": "string"}, "default": ["a"]},
    "more": {"type": "object"},
    "any": {},
}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> Iterator[Web]:
    """A project that no worker serves, in a zone of its own."""
    module = MODULE + "\n\ndef take(**given):\n    return given\n"
    project = write_project(
        tmp_path_factory.mktemp("pages") / "p",
        redis_server.url,
        {"form": {"task": "web_jobs:take", "params": FORM}},
        {
            "web_jobs.py": module,
            "jobs.d/nightly.yaml": NIGHTLY,
            "jobs.d/broken.yaml": BROKEN,
            "jobs.d/ruled.yaml": RULED,
        },
        {"timezone": "Asia/Tokyo", "calendars": {"closed": ["2026-11-27", "2099-11-27", "2100-01-01"]}},
        f"w{uuid.uuid4().hex[:10]}",
    )
    with serving(project) as web:
        yield web


def text_of(web: Web, path: str, status: int = 200) -> str:
    with web.client() as client:
        answer = client.get(path)
    assert answer.status_code == status, answer.text
    return answer.text


def element(html: str, name: str) -> str:
    """Return the tag of the form's field of that name."""
    found = re.search(rf'<(?:input|select|textarea) id="param-{name}"[^>]*>', html)
    assert found is not None
    return found[0]


def submitted(web: Web, job: str, **fields: str) -> dict[str, Any]:
    """Submit a job's form as a browser without JavaScript does; return the run."""
    with web.client() as client:
        csrf = re.search(r'name="csrf" value="([^"]+)"', client.get(f"/jobs/{job}").text)
        assert csrf is not None
        data = {"csrf": csrf[1], **{f"param-{name}": value for name, value in fields.items()}}
        answer = client.post(f"/jobs/{job}/submit", data=data)
        assert answer.status_code == 303, answer.text
        run: dict[str, Any] = client.get(f"/api/v1{answer.headers['Location']}").json()
        return run


def test_a_job_is_shown_as_it_was_written_with_its_comments(own: Web) -> None:
    html = text_of(own, "/jobs/nightly")
    shown = re.search(r'<pre class="source"[^>]*>(.*?)</pre>', html, re.DOTALL)
    assert shown is not None
    begin, end = NIGHTLY.index("  # Ask Ann"), NIGHTLY.index("  # Not of the one above")
    wanted = "\n".join(line[2:] for line in NIGHTLY[begin:end].rstrip().splitlines())
    assert shown[1].replace("&#34;", '"') == wanted
    assert "queue: reports" in html  # with defaults merged in


def test_a_form_has_a_field_for_every_kind_of_param_in_their_order(own: Web) -> None:
    html = text_of(own, "/jobs/form")
    assert re.findall(r'<label for="param-(\w+)"', html) == list(FORM)
    assert 'type="date"' in element(html, "day")
    assert " required" in element(html, "day")
    assert 'type="email"' in element(html, "mail")
    assert 'minlength="2" maxlength="4"' in element(html, "code")
    assert 'min="1" max="10" step="1"' in element(html, "count")
    assert 'value="3"' in element(html, "count")
    assert 'min="0.5" step="any"' in element(html, "share")
    assert element(html, "full").startswith("<select")
    assert element(html, "sheets").startswith("<textarea")
    assert "<option selected>eu</option><option>us</option>" in html
    for name in ("zone", "code", "sheets"):
        assert f'aria-describedby="about-{name}"' in element(html, name)
    assert re.search(r'zone <span class="default">default: eu</span>', html)
    assert re.search(r'id="about-zone">Where</p>', html)
    assert "matches ^[a-z]+$" in html


def test_what_a_form_sends_becomes_params_of_their_types(own: Web) -> None:
    defaults = {"zone": "eu", "note": None, "level": 2, "count": 3, "full": True, "sheets": ["a"]}
    # The form as it is sent if only required fields are filled in: null stays null, and does not become text.
    html = text_of(own, "/jobs/form")
    note = re.search(r'value="([^"]*)"', element(html, "note"))
    assert note is not None
    assert submitted(own, "form", day="2026-11-23", note=note[1])["params"] == {**defaults, "day": "2026-11-23"}
    given = {
        "zone": "us",
        "day": "2026-11-24",
        "at": "2026-11-24T02:00:00+01:00",
        "mail": "ann@example.org",
        "code": "abc",
        "note": "null and void",
        "level": "1",
        "count": "10",
        "share": "0.5",
        "full": "false",
        "sheets": '["北京", "b"]',
        "more": "a: {b: 1}",
        "any": "[1]",
    }
    run = submitted(own, "form", **given)
    assert run["params"] == {
        **given,
        "level": 1,
        "count": 10,
        "share": 0.5,
        "full": False,
        "sheets": ["北京", "b"],
        "more": {"a": {"b": 1}},
        "any": [1],
    }
    again = text_of(own, f"/jobs/form?like={run['id']}")
    assert 'value="null and void"' in element(again, "note")
    assert "<option>true</option><option selected>false</option>" in again


def test_times_are_those_of_the_project_and_say_so(own: Web) -> None:
    run = submitted(own, "nightly")
    html = text_of(own, f"/runs/{run['id']}")
    at = datetime.fromisoformat(run["submitted_at"]) + timedelta(hours=9)
    assert f">{at:%Y-%m-%d %H:%M:%S}</time>" in html
    # The zone is named once, beside the clock.
    [named] = re.findall(r"(\d\d:\d\d)</time> Asia/Tokyo", html)
    assert named in {f"{datetime.now(UTC) + timedelta(hours=9, seconds=back):%H:%M}" for back in (0, -60)}


def test_a_calendar_shows_a_week_and_a_day(own: Web) -> None:
    html = text_of(own, "/schedule?day=2099-11-26")
    days = re.findall(r'<section aria-labelledby="day-(\S+)".*?</section>', html, re.DOTALL)
    assert days == [f"2099-{month:02}-{day:02}" for month, day in [(11, d) for d in range(26, 31)] + [(12, 1), (12, 2)]]
    starts = re.findall(r'>02:30</time><span class="what"><a href="/jobs/nightly">nightly</a> <code[^>]*>([^<]*)', html)
    assert [start.partition("=")[2] for start in starts] == [f"2099-11-{day}" for day in range(25, 31)] + ["2099-12-01"]
    # All of its runs together, or they would hide all the others.
    assert html.count('href="/jobs/often"') == 7
    day = text_of(own, "/schedule/2099-11-26")
    assert len(re.findall(r'href="/jobs/often">often</a></td><td class="wide">every 5 min', day)) == 24
    assert re.search(r'href="/jobs/nightly">nightly</a></td><td class="wide">.*>02:30</time> <code>.*2099-11-25', day)
    text_of(own, "/schedule/never", 422)


def test_a_calendar_shows_what_is_left_out_and_why(own: Web) -> None:
    html = text_of(own, "/schedule?day=2099-11-26")
    assert html.count('<a href="/jobs/ruled">') == 7
    [left_out] = re.findall(r'<ul class="left-out">(.*?)</ul>', html, re.DOTALL)
    assert '<span class="reason">except calendar:closed</span>' in left_out
    assert "shadow" not in html
    day = text_of(own, "/schedule/2099-11-27")
    assert re.search(r'href="/jobs/ruled">ruled</a></td><td>.*2099-11-28 00:00:00</time></td>', day)
    assert "except calendar:closed" in day
    assert "Left out" not in text_of(own, "/schedule/2099-11-28")
    with own.client() as client:
        window = {"job": "ruled", "from": "2026-11-26 00:00", "to": "2026-11-28 00:00"}
        answer = client.get("/api/v1/upcoming", params=window).json()
    assert [slot["slot"] for slot in answer["upcoming"]] == ["2026-11-25T19:00:00.000Z"]
    [left_out] = answer["skipped"]
    assert left_out == {
        "job": "ruled",
        "slot": "2026-11-26T19:00:00.000Z",
        "until": "2026-11-27T15:00:00.000Z",
        "reason": "except calendar:closed",
    }


def test_a_job_shows_what_is_left_out_before_its_next_runs(own: Web) -> None:
    days = [datetime.now(UTC).date() + timedelta(days=number) for number in range(-1, 3)]
    rules = ", ".join(map(str, days))
    schedule = f"{{every: 8h, except: [{rules}]}}"
    own.project.write({"jobs.d/soon.yaml": f"jobs: {{soon: {{task: 'web_jobs:greet', schedule: {schedule}}}}}\n"})
    wait_until(lambda: "soon" in text_of(own, "/jobs"), 10.0, "the job is there")
    html = text_of(own, "/jobs/soon")
    assert "Left out</h3>" in html
    assert f"except {days[2]}" in html


def test_an_hour_that_the_clock_repeats_or_skips(tmp_path: Path) -> None:
    from runner.model.job import JobSpec
    from runner.model.schedule import Schedule
    from runner.web.calendar import Calendar
    from tests.support.catalogs import catalog_of

    jobs = {
        name: JobSpec(name=name, task="a:b", schedule=(Schedule(cron=cron),))
        for name, cron in {"hourly": "0 * * * *", "fixed": "30 2 * * *", "often": "*/20 * * * *"}.items()
    }
    calendar = Calendar(catalog_of(jobs), "Europe/Berlin")
    for day, hours, fixed in ((datetime(2026, 10, 25), 25, "00:30"), (datetime(2026, 3, 29), 23, "01:00")):
        runs, often = calendar.day(day.date())
        assert often == ["often"]
        assert sum(due.job == "hourly" for due in runs) == hours
        assert [f"{due.start.astimezone(UTC):%H:%M}" for due in runs if due.job == "fixed"] == [fixed]
        assert len(calendar.hours(day.date())) == hours


def test_a_job_that_is_gone_or_broken_keeps_its_page(own: Web) -> None:
    own.project.write({"jobs.d/extra.yaml": "jobs: {brief: {task: 'web_jobs:greet'}}\n"})
    wait_until(lambda: "brief" in text_of(own, "/jobs"), 10.0, "the job is there")
    run = submitted(own, "brief")
    (own.project.path / "jobs.d/extra.yaml").unlink()
    wait_until(lambda: "No file declares it any more" in text_of(own, "/jobs/brief"), 10.0, "the job is gone")
    assert run["id"] in text_of(own, "/jobs/brief")
    assert 'href="/jobs/brief"' in text_of(own, f"/runs/{run['id']}")
    broken = text_of(own, "/jobs/broken")
    assert "30 has no unit" in broken
    assert 'href="/jobs/broken"' in text_of(own, "/jobs")
    assert "no job is named" in text_of(own, "/jobs/nothing", 404)


def test_runs_are_found_by_all_that_the_command_line_can_ask(own: Web) -> None:
    keyed = own.project.cli("submit", "nightly", "--key", "k7").check().id
    other = own.project.cli("submit", "often").check().id
    own.project.cli("revoke", other).check()

    def found(query: str) -> set[str]:
        html = text_of(own, f"/runs?{query}")
        return set(re.findall(r'<tr data-key="([^"]+)"', html))

    assert {keyed, other} <= found("")
    assert found("key=k7") == {keyed}
    assert found("reason=cancelled&order=oldest") == {other}
    assert keyed in found("tag=finance&trigger=cli")
    assert other not in found("tag=finance")
    assert {keyed, other} <= found("state=PENDING&state=REVOKED&since=1h")
    assert keyed not in found("state=REVOKED")
    assert found("until=1h") == set()
    assert found("worker=nobody") == set()
    assert found("text=nowhere") == set()
    wrong = text_of(own, "/runs?since=2026-13-01&tag=finance", 422)
    assert "is not a time" in wrong
    assert 'name="tag" value="finance"' in wrong


def test_pages_follow_each_other_and_keep_what_was_asked(own: Web) -> None:
    with own.client() as client:
        for _ in range(51):
            client.post("/api/v1/jobs/often/runs")
    first = text_of(own, "/runs?job=often&order=newest")
    older = re.search(r'class="more" href="([^"]+)"', first)
    assert older is not None
    second = text_of(own, older[1].replace("&amp;", "&"))
    keys = [re.findall(r'<tr data-key="([^"]+)"', html) for html in (first, second)]
    assert len(keys[0]) == 50
    assert keys[1]
    assert not set(keys[0]) & set(keys[1])
    assert 'href="/jobs/nightly"' not in second
    assert 'href="/runs?job=often">First page' in second


def test_a_form_submits_runs_for_past_slots_and_shows_them_first(own: Web) -> None:
    asked = {"from": "2026-05-01", "to": "2026-05-03", "at_once": "2"}
    with own.client() as client:
        html = client.get("/jobs/nightly").text
        csrf = re.search(r'name="csrf" value="([^"]+)"', html)
        assert csrf is not None
        data = {"csrf": csrf[1], **asked}
        first = client.post("/jobs/nightly/backfill", data={**data, "look": "on"})
        assert "3 slots to run, 0 skipped" in first.text
        assert "2026-05-01 02:30:00" in first.text
        assert "day=2026-04-30" in first.text
        assert 'name="from" required maxlength="64"' in first.text
        assert 'value="2026-05-01"' in first.text
        backfills = client.get("/api/v1/backfills").json()["backfills"]
        assert backfills == []
        made = client.post("/jobs/nightly/backfill", data=data)
        assert made.status_code == 303, made.text
        assert text_of(own, made.headers["Location"]).count("<tr data-key") == 3
        [backfill] = client.get("/api/v1/backfills").json()["backfills"]
        assert (backfill["slots"], backfill["at_once"]) == (3, 2)
        again = client.post("/jobs/nightly/backfill", data=data)
        assert "0 slots to run, 3 skipped" in again.text
        again = client.post("/jobs/nightly/backfill", data={**data, "again": "on"})
        assert again.status_code == 303
        for wrong, message in (
            ({"at_once": "many"}, "is not a whole number"),
            ({"at_once": "0"}, "out of range"),
            ({"from": "never"}, "never"),
            ({"from": ""}, "time"),
            ({"to": "2026-04-01"}, "lies before"),
        ):
            refused = client.post("/jobs/nightly/backfill", data={**data, **wrong})
            assert refused.status_code == 422, wrong
            assert 'role="alert"' in refused.text
            assert message in refused.text
        assert "backfill" not in client.get("/jobs/form").text  # it has no schedule


def test_a_thousand_jobs_come_in_portions_and_are_found(tmp_path: Path, redis_server: Server) -> None:
    jobs: dict[str, Any] = {
        f"job-{number:04}": {"task": "web_jobs:greet", "tags": [f"t{number % 10}"], "schedule": "7 3 * * *"}
        for number in range(1000)
    }
    project = write_project(tmp_path / "p", redis_server.url, jobs, {"web_jobs.py": MODULE}, {}, f"w{uuid.uuid4().hex}")
    with serving(project) as web:
        html = text_of(web, "/jobs")
        assert "1,000 jobs, 1 to 40" in html
        names, path = re.findall(r'data-key="job-(job-\d+)"', html), ""
        while (after := re.search(r'href="(/jobs\?start=\d+)">After', html)) is not None:
            assert after[1] != path
            path = after[1]
            html = text_of(web, path)
            names += re.findall(r'data-key="job-(job-\d+)"', html)
        assert names == sorted(jobs)
        assert "100 jobs" in text_of(web, "/jobs?tag=t3")
        assert 'href="/jobs/job-0777"' in text_of(web, "/jobs?q=777")
        assert "960 more" in text_of(web, "/schedule?day=2099-11-26")
        for path in ("/", "/jobs", "/jobs/job-0500", "/runs", "/schedule"):
            with web.client() as client:
                assert len(client.get(path).content) < 100 * 1024, path


def test_where_nothing_is_pages_teach_what_to_do(tmp_path: Path, redis_server: Server) -> None:
    project = write_project(tmp_path / "p", redis_server.url, {}, {}, {}, f"w{uuid.uuid4().hex}")
    with serving(project) as web:
        home = text_of(web, "/")
        assert "No worker is running" in home
        [snippet] = re.findall(r'data-copy="(jobs:[^"]+)"', home)
        assert snippet in text_of(web, "/jobs")
        assert "No runs yet" in text_of(web, "/runs")
        assert 'data-copy="runner worker"' in text_of(web, "/fleet")
        assert "No job has a schedule" in text_of(web, "/schedule")
        # What the empty page tells people to save is a job.
        project.write({"jobs.d/hello.yaml": unescape(snippet)})
        project.cli("validate").check()
        wait_until(lambda: "daily at 08:00" in text_of(web, "/"), 10.0, "the job is there")
        assert "No run fits" in text_of(web, "/runs?job=hello")
        assert "No job fits" in text_of(web, "/jobs?q=nothing")


def test_the_first_page_says_how_jobs_are(web: Web) -> None:
    for _ in range(2):
        web.project.cli("submit", "long", "--wait").check(1)
    web.project.cli("submit", "greet", "--wait").check()
    html = text_of(web, "/")
    heading = re.sub(r"<[^>]+>", "", html[html.index("<h1") : html.index("</h1>")])
    assert re.match(r"\d+ jobs? failing", heading), heading
    assert "next start" in heading
    group = html[html.index("<b>long</b>") :]
    assert group.startswith("<b>long</b> ×2")
    assert "x" * 100 in group[:600]
    assert "ValueError" not in group[:600]
    row = html[html.index('data-key="job-long"') :].partition("</tr>")[0]
    assert "Failing" in row
    assert 'aria-label="Last 2 runs: 2 failed"' in row
    assert row.count("#q-FAILURE") == 2
    assert "0 %" in row
    # Those that fail come first.
    assert html.index('data-key="job-long"') < html.index('data-key="job-greet"')
    assert 'data-key="job-long"' in text_of(web, "/jobs?show=failing")
    assert 'data-key="job-greet"' not in text_of(web, "/jobs?show=failing")


def test_jobs_are_run_paused_and_resumed_in_lists(web: Web) -> None:
    with web.client() as client:
        html = client.get("/jobs?q=hostile").text
        csrf = re.search(r'name="csrf" value="([^"]+)"', html)
        assert csrf is not None
        form = {"csrf": csrf[1], "to": "/jobs"}
        assert 'formaction="/jobs/hostile/pause"' in html
        assert client.post("/jobs/hostile/pause", data=form).headers["Location"] == "/jobs"
        html = client.get("/jobs?show=paused").text
        assert 'data-key="job-hostile"' in html
        assert "1 job paused" in client.get("/").text
        elsewhere = client.post("/jobs/hostile/resume", data={**form, "to": "//evil.example"})
        assert elsewhere.headers["Location"] == "/jobs/hostile"
        started = client.post("/jobs/greet/submit", data=form)
        assert started.headers["Location"].startswith("/runs/")
        # One that needs params leads to its form.
        assert 'href="/jobs/gated#submit"' in client.get("/jobs?q=gated").text


def test_filters_in_use_are_chips_that_lead_to_the_others(own: Web) -> None:
    html = text_of(own, "/runs?job=often&tag=a&state=PENDING&since=24h")
    chips = {
        re.sub(r"<[^>]+>", "", text).strip(): unescape(href)
        for href, text in re.findall(r'<li><a class="chip" aria-current="true" href="([^"]+)"[^>]*>(.*?)</a>', html)
    }
    assert chips == {
        "Job: often": "/runs?state=PENDING&since=24h&tag=a",
        "Tag: a": "/runs?job=often&state=PENDING&since=24h",
        "Since: 24h": "/runs?job=often&state=PENDING&tag=a",
    }
    assert 'href="/runs?job=often&amp;state=PENDING&amp;tag=a&amp;since=1h">Last hour' in html
    assert 'aria-current="true">24 hours' in html


def test_errors_say_in_the_words_of_the_page_what_to_do(own: Web) -> None:
    run = text_of(own, "/runs/00000000", 404)
    assert "Run not found" in run
    assert "runner runs" not in run
    assert 'href="/runs">All runs' in run
    assert "Page not found" in text_of(own, "/nothing", 404)
    job = text_of(own, "/jobs/nigtly", 404)
    assert "Job not found" in job
    assert "nightly" in job


def test_a_long_log_is_cut_on_its_page_and_whole_as_text(web: Web, client: httpx.Client) -> None:
    run_id = web.project.cli("submit", "chatty", "--wait").check().id
    html = client.get(f"/runs/{run_id}").text
    assert "The last 400 of 3,000 lines." in html
    assert "line 2999 路" in html
    assert "line 1999 路" not in html
    whole = client.get(f"/runs/{run_id}/log")
    assert whole.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert [line.split(" ", 2)[2] for line in whole.text.splitlines()] == [f"line {n} 路" for n in range(3000)]


def test_each_attempt_is_in_the_timeline(web: Web, client: httpx.Client) -> None:
    run_id = web.project.cli("submit", "flaky", "--wait").check().id
    html = client.get(f"/runs/{run_id}").text
    attempts = re.findall(r'<details class="attempt".*?</details>', html, re.DOTALL)
    texts = [" ".join(re.sub(r"<[^>]+>", " ", attempt).split()) for attempt in attempts]
    assert [text.partition(" ")[0] for text in texts] == ["1", "2", "3"]
    assert [re.findall(r"Outcome (\w+)", text) for text in texts] == [["failed"], ["failed"], ["succeeded"]]
    assert [re.findall(r"Error (\S+: try \d)", text) for text in texts] == [
        ["ConnectionError: try 1"],
        ["ConnectionError: try 2"],
        [],
    ]
    assert "3 attempts" in html


def test_a_run_that_overran_is_marked_in_lists_and_on_its_page(web: Web, client: httpx.Client) -> None:
    run_id = web.project.cli("submit", "flaky", "--wait").check().id
    assert "overran" not in client.get(f"/runs/{run_id}").text
    key = f"{web.project.ledger().namespace}:run:{run_id}"
    web.project.redis().hset(key, "overran_at", text(web.project.redis().hget(key, "finished_at")))
    shown = client.get(f"/runs/{run_id}").text
    assert "took longer than its <code>overrun</code>" in shown
    assert '<span class="reason">overran</span>' in shown
    assert '<span class="reason">overran</span>' in client.get("/runs", params={"job": "flaky"}).text
    assert client.get(f"/api/v1/runs/{run_id}").json()["overran_at"]
