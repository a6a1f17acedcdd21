"""Crontabs as text: blocks in them, lines that call the runner, and jobs made out of them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.crontab.block import BrokenBlock, find_block, lines_of, put_in, setting_above, take_out
from runner.crontab.calendar import on_calendar
from runner.crontab.fields import Inexpressible
from runner.crontab.jobs_file import Surroundings, jobs_file
from runner.crontab.line import cron_time, job_line, tick_line
from runner.crontab.naming import name_of
from runner.crontab.reading import read_crontab
from runner.crontab.unit import Host, job_units, scheduler_units, tick_units, unit_name, worker_units
from runner.model.schedule import Schedule
from runner.schedule.timetable import Timetable
from runner.spec.catalog import load_files

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PROGRAM = ["/srv/venv/bin/runner"]
AROUND = Surroundings(lambda user: f"/home/{user or 'me'}", "Europe/Berlin", "Europe/Berlin", "me")

OTHERS = [
    b"",
    b"\n",
    b"# mine\nSHELL=/bin/bash\n0 2 * * * echo '100\\%'\n",
    b"0 2 * * * echo no line end",
    b"# Windows\r\n0 2 * * * echo\r\n",
    b"0 2 * * * echo \xff\xfe\n\n\n",
    b"\n\n  # indented\n\t5 5 * * * x\n ",
]


# -- the block


@pytest.mark.parametrize("text", OTHERS)
def test_what_is_put_in_can_be_taken_out(text: bytes) -> None:
    once = put_in(text, "/srv/a", ["* * * * * a"])
    assert once.startswith(text)
    assert put_in(once, "/srv/a", ["* * * * * a"]) == once
    assert lines_of(once, "/srv/a") == ["* * * * * a"]
    changed = put_in(once, "/srv/a", ["1 * * * * b", "2 * * * * c"])
    assert changed.startswith(text)
    assert lines_of(changed, "/srv/a") == ["1 * * * * b", "2 * * * * c"]
    assert take_out(changed, "/srv/a") == text
    assert take_out(text, "/srv/a") == text


def test_a_line_end_that_was_added_goes_with_the_last_block() -> None:
    text = b"0 2 * * * no line end"
    for project in ("/a", "/b", "/c"):
        text = put_in(text, project, ["x"])
    for project in ("/a", "/c", "/b"):
        text = take_out(put_in(text, project, ["y"]), project)
    assert text == b"0 2 * * * no line end"


@given(
    texts=st.lists(st.binary(max_size=30).filter(lambda part: b"runner cron" not in part), max_size=4),
    order=st.permutations(["/srv/a", "/srv/a b", "/srv/é"]),
)
def test_projects_keep_out_of_each_others_way(texts: list[bytes], order: list[str]) -> None:
    text = b"\n".join(texts)
    for project in order:
        text = put_in(text, project, [f"* * * * * {project}"])
    text += b"# below\n0 0 * * * later\n"
    changed = put_in(text, "/srv/a", ["* * * * * other"])
    assert changed.replace(b"* * * * * other\n", b"* * * * * /srv/a\n") == text
    for project in order:
        assert lines_of(text, project) == [f"* * * * * {project}"]
    for project in reversed(order):
        text = take_out(text, project)
    joined = b"\n".join(texts)
    below = b"# below\n0 0 * * * later\n"
    # A line end that was missing is needed now: there is a line below.
    assert text == joined + below or (not joined.endswith(b"\n") and text == joined + b"\n" + below)


def test_lines_below_and_above_stay() -> None:
    text = b"MAILTO=me\n" + put_in(b"", "/srv/a", ["x"]) + b"1 1 * * * mine\r\nlast"
    assert put_in(text, "/srv/a", ["y"]).endswith(b"1 1 * * * mine\r\nlast")
    assert take_out(text, "/srv/a") == b"MAILTO=me\n1 1 * * * mine\r\nlast"


@pytest.mark.parametrize(
    "text",
    [
        b"# runner cron: begin /srv/a\nx\n",
        b"# runner cron: end /srv/a\n",
        b"# runner cron: begin /srv/a\n# runner cron: begin /srv/b\n# runner cron: end /srv/b\n",
        put_in(b"", "/srv/a", ["x"]) * 2,
    ],
)
def test_broken_marks_are_refused(text: bytes) -> None:
    for act in (lambda: put_in(text, "/srv/a", ["x"]), lambda: take_out(text, "/srv/a")):
        with pytest.raises(BrokenBlock):
            act()


def test_a_block_with_line_ends_of_windows_is_not_current() -> None:
    text = put_in(b"", "/srv/a", ["* * * * * a"]).replace(b"\n", b"\r\n")
    assert lines_of(text, "/srv/a") != ["* * * * * a"]
    assert lines_of(put_in(text, "/srv/a", ["* * * * * a"]), "/srv/a") == ["* * * * * a"]


def test_a_block_sets_no_variable() -> None:
    text = put_in(b"SHELL=/bin/bash\n", "/srv/a", [tick_line(PROGRAM, "/srv/a")])
    span = find_block(text, "/srv/a")
    assert span is not None
    assert not any(re.match(rb"\s*\w+\s*=", line) for line in span.lines)
    assert setting_above(text + b"SHELL=/bin/csh\n", "/srv/a", "SHELL") == "/bin/bash"


# -- lines


def test_the_line_that_ticks() -> None:
    assert tick_line(PROGRAM, "/srv/a") == (
        "* * * * * /usr/bin/env SHELL=/bin/sh PATH=/srv/venv/bin:/usr/local/bin:/usr/bin:/bin "
        "/srv/venv/bin/runner --project /srv/a tick"
    )
    assert " RUNNER_ENV=prod /srv/" in tick_line(PROGRAM, "/srv/a", "prod")
    assert " RUNNER_ENV=prod /srv/" in job_line(PROGRAM, "/srv/a", "nightly", "0 2 * * *", "prod")
    assert r"--project '/srv/100\% mine'" in tick_line(PROGRAM, "/srv/100% mine")
    assert tick_line(["/bin/python3", "-m", "runner"], "/srv/a").endswith(
        "/bin/python3 -m runner --project /srv/a tick"
    )


@pytest.mark.parametrize("project", ["/srv/a\\b", "/srv/a\nb", "/srv/" + "x" * 900])
def test_paths_that_no_crontab_can_hold(project: str) -> None:
    with pytest.raises(Inexpressible):
        tick_line(PROGRAM, project)


@pytest.mark.parametrize("project", ["/srv/a", '/srv/it\'s $HOME `x` 5% "q"'])
def test_a_line_reads_in_the_shell_as_it_was_meant(project: str, tmp_path: Path) -> None:
    line = job_line([str(tmp_path / "show me")], project, "nightly", "0 2 * * *")
    (tmp_path / "show me").write_text('#!/bin/sh\nprintf "%s\\n" "$SHELL" "$@"\n')
    (tmp_path / "show me").chmod(0o755)
    [entry] = read_crontab(line.encode()).entries
    assert (entry.when, entry.stdin) == ("0 2 * * *", None)
    done = subprocess.run(["/bin/sh", "-c", entry.command], capture_output=True, text=True, check=True)
    *words, key = done.stdout.splitlines()
    assert words == ["/bin/sh", "--project", project, "submit", "nightly", "--wait", "--quiet", "--key"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\dZ", key)


@pytest.mark.parametrize(
    ("schedule", "host", "wanted"),
    [
        ({"cron": "0 2 * * *"}, "Europe/Berlin", "0 2 * * *"),
        ({"cron": "0 2 * * *", "timezone": "Etc/UTC"}, "UTC", "0 2 * * *"),
        ({"cron": "5/15 8-18 * jan-mar,dec mon-fri"}, "Europe/Berlin", "5-59/15 8-18 * 1-3,12 1-5"),
        ({"cron": "@daily"}, "Europe/Berlin", "0 0 * * *"),
        ({"cron": "0 */5 * * * *"}, "Europe/Berlin", "*/5 * * * *"),
        ({"every": 60.0}, "Asia/Kolkata", "* * * * *"),
        ({"every": 900.0}, "Asia/Kolkata", "*/15 * * * *"),
        ({"every": 3600.0}, "Europe/Berlin", "0 * * * *"),
        ({"every": 3600.0}, "Asia/Kolkata", "30 * * * *"),
        ({"every": 21600.0}, "UTC", "0 0,6,12,18 * * *"),
        ({"every": 86400.0}, "Asia/Kolkata", "30 5 * * *"),
        ({"every": 14400.0}, "Asia/Tokyo", "0 1,5,9,13,17,21 * * *"),
    ],
)
def test_times_have_the_slots_of_the_schedule(schedule: dict[str, object], host: str, wanted: str) -> None:
    declared = Schedule(**schedule)  # type: ignore[arg-type]
    written = cron_time(declared, host, host, NOW)
    assert written == wanted
    until = NOW + timedelta(days=300)
    assert list(Timetable(Schedule(cron=written), host).slots(NOW, until)) == list(
        Timetable(declared, host).slots(NOW, until)
    )


@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        ({"cron": "0 2 * * *", "timezone": "America/New_York"}, "America/New_York"),
        ({"cron": "30 0 2 * * *"}, "seconds"),
        ({"cron": "0 2 L * *"}, "L"),
        ({"cron": "0 2 * * 5#2"}, "5#2"),
        ({"cron": "0 2 * * *", "jitter": 60.0}, "jitter"),
        ({"cron": "0 2 * * *", "start": "2026-12-01"}, "start"),
        ({"cron": "0 2 * * *", "end": "2027-12-01"}, "end"),
        ({"every": 30.0}, "full minutes"),
        ({"every": 420.0}, "does not divide"),
        ({"every": 5400.0}, "does not divide"),
        ({"every": 172800.0}, "does not divide"),
        ({"every": 21600.0}, "summer time"),
    ],
)
def test_what_cron_can_not_say(schedule: dict[str, object], why: str) -> None:
    with pytest.raises(Inexpressible, match=re.escape(why)):
        cron_time(Schedule(**schedule), "Europe/Berlin", "Europe/Berlin", NOW)  # type: ignore[arg-type]


# -- systemd


@pytest.mark.parametrize(
    "schedule",
    [
        {"cron": "0 2 * * *"},
        {"cron": "*/7 8-18 * * mon-fri"},
        {"cron": "30 */10 1 * * *"},
        {"cron": "0 2 1,15 * 5"},
        {"cron": "0 2 */2 * 5"},
        {"cron": "0 9 L * *"},
        {"cron": "0 0 29 2 *"},
        {"cron": "0 0 * * 0,7"},
        {"cron": "@monthly", "timezone": "America/New_York"},
        {"every": 20.0},
        {"every": 60.0},
        {"every": 900.0},
        {"every": 21600.0},
        {"every": 604800.0},
    ],
    ids=str,
)
def test_a_timer_has_the_slots_of_the_schedule(needed: Callable[[str], str], schedule: dict[str, object]) -> None:
    program = needed("systemd-analyze")
    declared = Schedule(**schedule)  # type: ignore[arg-type]
    found: set[datetime] = set()
    for value in on_calendar(declared, "Europe/Berlin"):
        done = subprocess.run(
            [program, "calendar", "--iterations=12", "--base-time=2026-11-23 12:00:00 UTC", value],
            capture_output=True,
            text=True,
            env={"TZ": "UTC", "LC_ALL": "C"},
        )
        assert done.returncode == 0, done.stderr
        for text in re.findall(r"(?:elapse|#\d+): \w+ (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", done.stdout):
            found.add(datetime.fromisoformat(text).replace(tzinfo=UTC))
    slots = Timetable(declared, "Europe/Berlin").slots(NOW, NOW + timedelta(days=20000))
    assert sorted(found)[:12] == [next(slots) for _ in range(12)]


@pytest.mark.parametrize(
    "schedule",
    [
        {"cron": "0 2 * * 5#2"},
        {"cron": "0 2 LW * *"},
        {"cron": "0 2 * * *", "jitter": 60.0},
        {"cron": "0 2 * * *", "end": "2027-12-01"},
        {"every": 420.0},
        {"every": 0.5 + 1},
    ],
    ids=str,
)
def test_what_a_timer_can_not_say(schedule: dict[str, object]) -> None:
    with pytest.raises(Inexpressible):
        on_calendar(Schedule(**schedule), "UTC")  # type: ignore[arg-type]


@pytest.mark.parametrize("user", ["root", None])
def test_systemd_accepts_the_units(needed: Callable[[str], str], tmp_path: Path, user: str | None) -> None:
    program = needed("systemd-analyze")
    project = str(tmp_path / "it's 5% $HOME")
    tool = tmp_path / "a tool"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    host = Host([str(tool)], project, user, "prod")
    units = (
        tick_units(host)
        | scheduler_units(host)
        | worker_units(host, 30.0)
        | job_units(host, "nightly", ["*-*-* 02:00:00 Europe/Berlin"], catch_up=True)
    )
    for name, text in units.items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [program, "verify", "--man=no", *([] if user else ["--user"]), *(str(tmp_path / name) for name in units)],
        capture_output=True,
        text=True,
        env={"LC_ALL": "C", "PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)},
    )
    said = [line for line in done.stderr.splitlines() if any(name in line for name in units)]
    assert said == []
    assert done.returncode == 0, done.stderr


def test_names_of_units_differ() -> None:
    projects = ["/srv/a", "/srv/a-b", "/srv/a/b", "/srv/a b", "/srv/" + "é" * 300]
    names = {unit_name(project, "tick") for project in projects}
    assert len(names) == len(projects)
    assert all(re.fullmatch(r"runner-[A-Za-z0-9_.-]{1,130}-tick", name) for name in names)


# -- jobs out of a crontab

CRONTAB = r"""
MAILTO=ops@example.org
PATH = "/opt/bin:/usr/bin"
# Backs up the database
15 3 * * *   cd /srv/db && ./backup.sh --full >> /var/log/backup.log 2>&1
-*/5 * * * * /usr/bin/python3 /srv/x/poll.py; touch /tmp/x
@reboot /usr/local/bin/start
@DAILY flock -n /tmp/x.lock sh -c 'echo "${HOME}"'
0 9 * * mon-fri mail -s "it's 100\%" bob%Hello Bob,%how \% are you
0 0 30 2 * never
SHELL=/bin/bash
CRON_TZ=America/New_York
RANDOM_DELAY=5
0 2 * * * curl -fsS https://example.org/a	b
0 2 * * * curl -fsS https://example.org/b
99 * * * * bad
* * * * *
"""


def test_a_crontab_becomes_valid_jobs(tmp_path: Path) -> None:
    block = put_in(b"", "/srv/a", ["* * * * * /srv/venv/bin/runner tick"])
    text, names, left = jobs_file(read_crontab(CRONTAB.encode() + block), {"mail"}, AROUND)
    assert names == ["backup", "poll", "echo", "mail-2", "curl", "curl-2"]
    assert [each.line for each in left] == [2, 7, 10, 16, 17]
    (tmp_path / "crontab.yaml").write_text(text)
    catalog = load_files([tmp_path / "crontab.yaml"])
    assert [str(problem) for problem in catalog.problems] == []
    jobs = catalog.jobs
    assert list(jobs) == names
    assert jobs["backup"].kwargs == {
        "cwd": "/home/me",
        "script": "cd /srv/db && ./backup.sh --full >> /var/log/backup.log 2>&1",
    }
    assert dict(jobs["backup"].env) == {"PATH": "/opt/bin:/usr/bin"}
    assert jobs["poll"].kwargs["script"].startswith("set +e\n/usr/bin/python3")
    assert jobs["echo"].kwargs["script"].endswith("""sh -c 'echo "$${HOME}"'""")
    assert jobs["mail-2"].kwargs["script"] == """mail -s "it's 100%" bob"""
    assert jobs["mail-2"].kwargs["stdin"] == "Hello Bob,\nhow % are you\n"
    assert jobs["curl"].kwargs["command"] == ["/bin/bash", "-c", "curl -fsS https://example.org/a\tb"]
    assert [schedule.cron for job in jobs.values() for schedule in job.schedule] == [
        "15 3 * * *",
        "*/5 * * * *",
        "@daily",
        "0 9 * * mon-fri",
        "0 2 * * *",
        "0 2 * * *",
    ]
    assert (jobs["curl"].schedule[0].timezone, jobs["curl"].schedule[0].jitter) == ("America/New_York", 300.0)
    assert jobs["backup"].schedule[0].timezone is None
    assert "# Backs up the database" in text
    assert "# line 5: 15 3 * * *   cd /srv/db" in text
    assert "#   line 7: @reboot" in text


def test_a_system_crontab_names_users(tmp_path: Path) -> None:
    source = b"17 * * * * root cd / && run-parts --report /etc/cron.hourly\n@daily me a\n1 1 * * * nobody\n"
    text, names, left = jobs_file(read_crontab(source, system=True), (), AROUND)
    (tmp_path / "crontab.yaml").write_text(text)
    jobs = load_files([tmp_path / "crontab.yaml"]).jobs
    assert names == ["run-parts", "a"]
    assert jobs["run-parts"].kwargs == {"cwd": "/home/root", "script": "cd / && run-parts --report /etc/cron.hourly"}
    assert [(each.line, "root" in each.why or "names no user" in each.why) for each in left] == [(1, True), (3, True)]


@given(
    lines=st.lists(
        st.one_of(
            st.text(max_size=40),
            st.builds("{} {}".format, st.sampled_from(["* * * * *", "@daily", "0 0 L * *"]), st.text(max_size=30)),
            st.builds("{}={}".format, st.sampled_from(["A", "SHELL", "HOME", "CRON_TZ", "1A"]), st.text(max_size=10)),
        ),
        max_size=8,
    )
)
def test_whatever_a_crontab_holds_the_file_is_valid(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    reading = read_crontab("\n".join(lines).encode("utf-8", "surrogatepass"))
    text, names, _ = jobs_file(reading, (), AROUND)
    if names:
        path = tmp_path_factory.mktemp("spec") / "crontab.yaml"
        path.write_text(text, "utf-8")
        catalog = load_files([path])
        assert [str(problem) for problem in catalog.problems] == []
        assert list(catalog.jobs) == names


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("/srv/backup.sh --full", "backup"),
        ("cd /srv && ./Nightly Report.sh", "nightly"),
        ("test -x /usr/sbin/anacron || run-parts /etc/cron.daily", "run-parts"),
        ("test -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.daily; }", "run-parts"),
        ("FOO=1 nice -n 10 sudo -u bob /opt/x/sync_all.py >/dev/null 2>&1", "bob"),
        ("/usr/bin/php8.2 -q /srv/cron.php", "cron"),
        ("python3 -m reports.daily --day x", "reports.daily"),
        ("timeout 5m /usr/bin/flock -n /run/x.lock /opt/a.sh", "a"),
        ("python3 -c 'print(1)'", "python"),
        ("'unbalanced", "unbalanced"),
        ("日本", "command"),
    ],
)
def test_names_tell_what_runs(command: str, name: str) -> None:
    assert name_of(command, ()) == name
    assert name_of(command, {name}) == f"{name}-2"
