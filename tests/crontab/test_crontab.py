"""Crontabs as text: blocks in them, lines that call the runner, and jobs made out of them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from runner.catalog.catalog import load_files
from runner.crontab.block import BrokenBlock, find_block, lines_of, put_in, setting_above, take_out
from runner.crontab.calendar import on_calendar
from runner.crontab.fields import Inexpressible
from runner.crontab.jobs_file import Surroundings, jobs_file
from runner.crontab.line import cron_time, job_line, tick_line
from runner.crontab.naming import name_of
from runner.crontab.reading import read_crontab
from runner.crontab.redirections import hidden_output
from runner.crontab.unit import Host, job_units, scheduler_units, tick_units, unit_name, worker_units
from runner.model.schedule import Schedule
from runner.schedule.timetable import Timetable

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
    acts: list[Callable[[], object]] = [lambda: put_in(text, "/srv/a", ["x"]), lambda: take_out(text, "/srv/a")]
    for act in acts:
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
        ({"cron": "0 2 * * *", "excepted": ("2026-12-25",)}, "except and only"),
        ({"every": 900.0, "only": ("calendar:trading",)}, "except and only"),
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
        {"cron": "0 2 * * *", "excepted": ("2026-12-25",)},
        {"cron": "0 2 * * *", "only": ("calendar:trading",)},
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
    messages = [line for line in done.stderr.splitlines() if any(name in line for name in units)]
    assert messages == []
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
    assert names == ["backup", "poll", "echo", "mail-2", "curl-example.org", "curl-example.org-2"]
    assert [leftover.line for leftover in left] == [2, 5, 7, 10, 16, 17]
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
    assert jobs["curl-example.org"].kwargs["command"] == ["/bin/bash", "-c", "curl -fsS https://example.org/a\tb"]
    assert [schedule.cron for job in jobs.values() for schedule in job.schedule] == [
        "15 3 * * *",
        "*/5 * * * *",
        "@daily",
        "0 9 * * mon-fri",
        "0 2 * * *",
        "0 2 * * *",
    ]
    assert (jobs["curl-example.org"].schedule[0].timezone, jobs["curl-example.org"].schedule[0].jitter) == (
        "America/New_York",
        300.0,
    )
    assert jobs["backup"].schedule[0].timezone is None
    assert "# Backs up the database" in text
    assert "# line 5: 15 3 * * *   cd /srv/db" in text
    assert "#   line 7: @reboot" in text


def test_a_system_crontab_names_users(tmp_path: Path) -> None:
    source = b"17 * * * * root cd / && run-parts --report /etc/cron.hourly\n@daily me a\n1 1 * * * nobody\n"
    text, names, left = jobs_file(read_crontab(source, system=True), (), AROUND)
    (tmp_path / "crontab.yaml").write_text(text)
    jobs = load_files([tmp_path / "crontab.yaml"]).jobs
    assert names == ["run-parts-cron.hourly", "a"]
    assert jobs[names[0]].kwargs == {"cwd": "/home/root", "script": "cd / && run-parts --report /etc/cron.hourly"}
    assert [(leftover.line, "root" in leftover.why or "names no user" in leftover.why) for leftover in left] == [
        (1, True),
        (3, True),
    ]


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


FOREGROUND = "the & at its end is left out"
BACKGROUND = "starts something in the background"
HIDDEN = "the run does not wait for it"
SYSTEM = "Read it with --system"


@pytest.mark.parametrize(
    ("line", "script", "told"),
    [
        # What ends in an ampersand, with all that stands behind one.
        ("0 3 * * * nohup /srv/backup.sh > /dev/null 2>&1 &", "nohup /srv/backup.sh > /dev/null 2>&1", FOREGROUND),
        ("0 3 * * * /srv/a.sh&", "/srv/a.sh", FOREGROUND),
        ("0 3 * * * /srv/a.sh & disown", "/srv/a.sh", FOREGROUND),
        ("0 3 * * * (cd /srv; ./a.sh) & ", "set +e\n(cd /srv; ./a.sh)", FOREGROUND),
        (
            "@hourly setsid /srv/a.sh >/dev/null 2>&1 < /dev/null &",
            "set +e\ntrap wait EXIT\nsetsid /srv/a.sh >/dev/null 2>&1 < /dev/null",
            FOREGROUND,
        ),
        ("0 3 * * * /usr/bin/setsid /srv/a.sh", "set +e\ntrap wait EXIT\n/usr/bin/setsid /srv/a.sh", None),
        # In the middle.
        ("0 3 * * * /srv/a.sh & /srv/b.sh", "set +e\ntrap wait EXIT\n/srv/a.sh & /srv/b.sh", BACKGROUND),
        (
            "0 3 * * * wget -q http://x/cron.php?a=1&b=2",
            "set +e\ntrap wait EXIT\nwget -q http://x/cron.php?a=1&b=2",
            BACKGROUND,
        ),
        ("0 3 * * * a &> /dev/null", "set +e\ntrap wait EXIT\na &> /dev/null", BACKGROUND),
        # With a comment behind it, or closed by a parenthesis.
        ("0 3 * * * /srv/a.sh & # in the background", "/srv/a.sh", FOREGROUND),
        ("0 3 * * * (/srv/a.sh &)", "set +e\n(/srv/a.sh; )", FOREGROUND),
        (
            "0 3 * * * ( cd /srv && ./a.sh & ) >/dev/null 2>&1",
            "set +e\n( cd /srv && ./a.sh; ) >/dev/null 2>&1",
            FOREGROUND,
        ),
        ("0 3 * * * { /srv/a.sh & }", "set +e\n{ /srv/a.sh; }", FOREGROUND),
        # Where the shell of the job cannot wait for it.
        ("0 3 * * * (a & b) && c", "set +e\ntrap wait EXIT\n(a & b) && c", HIDDEN),
        ("0 3 * * * sh -c 'a &'", "sh -c 'a &'", HIDDEN),
        ('0 3 * * * su - me -c "nohup a >/dev/null 2>&1 &"', 'su - me -c "nohup a >/dev/null 2>&1 &"', HIDDEN),
        ("0 3 * * * screen -dmS a /srv/a.sh", "screen -dmS a /srv/a.sh", "detaches"),
        ("0 3 * * * tmux new-session -d -s a /srv/a.sh", "tmux new-session -d -s a /srv/a.sh", "detaches"),
        (
            "0 3 * * * /sbin/start-stop-daemon --start --background --exec /srv/a",
            "/sbin/start-stop-daemon --start --background --exec /srv/a",
            "detaches",
        ),
        ("0 3 * * * x=`a &`", "x=`a &`", HIDDEN),
        ("0 3 * * * echo /srv/a.sh | at now", "echo /srv/a.sh | at now", "detaches"),
        ("0 3 * * * at -f /srv/a.sh now", "at -f /srv/a.sh now", "detaches"),
        ("0 3 * * * batch < /srv/a.sh", "batch < /srv/a.sh", "detaches"),
        ("0 3 * * * systemd-run --user /srv/a.sh", "systemd-run --user /srv/a.sh", "detaches"),
        ("0 3 * * * daemon -- /srv/a.sh", "daemon -- /srv/a.sh", "detaches"),
        # None.
        ("0 3 * * * systemd-run --wait /srv/a.sh", "systemd-run --wait /srv/a.sh", None),
        ("0 3 * * * look at this", "look at this", None),
        ("0 3 * * * at -l", "at -l", None),
        ("0 3 * * * case $1 in a) b ;& c) d ;;& *) e;; esac", "set +e\ncase $1 in a) b ;& c) d ;;& *) e;; esac", None),
        ("0 3 * * * echo $((6 & 3))", "echo $((6 & 3))", None),
        ("0 3 * * * a;# b & c", "set +e\na;# b & c", None),
        ("0 3 * * * python3 -c 'print(6 & 3)'", "python3 -c 'print(6 & 3)'", None),
        ("0 3 * * * screen -S a -X quit", "screen -S a -X quit", None),
        ("0 3 * * * a && b || c", "a && b || c", None),
        ("0 3 * * * curl -s 'https://x/?a=1&b=2' >& /dev/null", "curl -s 'https://x/?a=1&b=2' >& /dev/null", "thrown"),
        ('0 3 * * * curl "https://x/?a=1&" 2>&1 | logger', 'curl "https://x/?a=1&" 2>&1 | logger', "logger"),
        ("0 3 * * * echo a \\&", "echo a \\&", None),
        ("0 3 * * * /srv/a.sh # in the background &", "/srv/a.sh # in the background &", None),
        ("0 3 * * * a |& b", "a |& b", None),
        # Six and seven fields.
        ("0 0 12 * * ? /srv/a.sh", None, "six fields of time"),
        ("*/10 * * * * * /srv/a.sh", None, "six fields of time"),
        ("0 0 12 1/1 * ? * /srv/a.sh", None, "seven fields of time"),
        ("0 15 10 * * ? 2026 /srv/a.sh", None, "seven fields of time"),
        ("0 0 9 * * MON-FRI /srv/a.sh", None, "six fields of time"),
        ("0 0 12 ? * WED /srv/a.sh", None, "six fields of time"),
        ("0 0 12 * * sat,sun root /srv/a.sh", None, "six fields of time"),
        ("0 3 * * * mon -f", "mon -f", None),
        ("0 3 * * * 7z a x y", "7z a x y", None),
        # Blanks that cron does not know.
        ("0\u00a03 * * * * /srv/a.sh", None, "not a time"),
        ("0 3 * * *\u00a0/srv/a.sh x", None, "not a time"),
        ("0\t3  * *\t * \t/srv/a.sh\tx", "/srv/a.sh\tx", None),
        # A crontab of the system.
        ("17 * * * * root cd / && run-parts --report /etc/cron.hourly", None, SYSTEM),
        ("*/5 * * * * www-data /usr/bin/php /srv/cron.php", None, SYSTEM),
        ("*/5 * * * * www-data wget -q http://x/", None, SYSTEM),
        ("*/5 * * * * www-data -v", "www-data -v", None),
        ("*/5\t*\t*\t*\t*\troot\t/usr/libexec/atrun", None, SYSTEM),
        ("@daily root /srv/a.sh", None, SYSTEM),
        ("0 3 * * * www-data-report /srv", "www-data-report /srv", None),
        # Flags of BSD.
        ("0 3 * * * -n -q /srv/a.sh", "/srv/a.sh", "-n and -q of BSD's cron"),
        ("0 3 * * * -nq /srv/a.sh -n", "/srv/a.sh -n", "-n and -q of BSD's cron"),
        ("0 3 * * * -n", None, "no command"),
        # As found in the wild.
        (
            '26 0 * * * "/root/.acme.sh"/acme.sh --cron --home "/root/.acme.sh" > /dev/null',
            '"/root/.acme.sh"/acme.sh --cron --home "/root/.acme.sh" > /dev/null',
            None,
        ),
        (
            "* * * * * cd /var/www && php artisan schedule:run >> /dev/null 2>&1",
            "cd /var/www && php artisan schedule:run >> /dev/null 2>&1",
            "its output is thrown away",
        ),
        (
            "*/5 * * * * if [ -x /usr/bin/m ]; then /usr/bin/m; fi",
            "set +e\nif [ -x /usr/bin/m ]; then /usr/bin/m; fi",
            None,
        ),
        (
            "0 */12 * * * test -x /usr/bin/certbot && perl -e 'sleep int(rand(43200))' && certbot -q renew",
            "test -x /usr/bin/certbot && perl -e 'sleep int(rand(43200))' && certbot -q renew",
            None,
        ),
        ("@every 5m /srv/a.sh", None, "not a time"),
        ("@reboot sleep 60 && /srv/a.sh &", None, "when the machine starts"),
    ],
)
def test_lines_of_real_crontabs(tmp_path: Path, line: str, script: str | None, told: str | None) -> None:
    reading = read_crontab(line.encode() + b"\n", is_user=lambda word: word in ("root", "www-data"))
    text, names, left = jobs_file(reading, (), AROUND)
    assert {leftover.line for leftover in left} == ({1} if told else set())
    if told is not None:
        assert any(told in leftover.why for leftover in left)
    assert len(names) == (0 if script is None else 1)
    if script is not None:
        (tmp_path / "crontab.yaml").write_text(text)
        [job] = load_files([tmp_path / "crontab.yaml"]).jobs.values()
        assert job.kwargs["script"].replace("$${", "${") == script


def test_an_ampersand_of_bash(tmp_path: Path) -> None:
    source = b"SHELL=/bin/bash\n0 3 * * * a &> x\n0 4 * * * b & c\n0 5 * * * d &\n0 6 * * * -s e\n"
    text, _, left = jobs_file(read_crontab(source), (), AROUND)
    (tmp_path / "crontab.yaml").write_text(text)
    jobs = list(load_files([tmp_path / "crontab.yaml"]).jobs.values())
    assert [job.kwargs["command"][2] for job in jobs] == ["a &> x", "trap wait EXIT; b & c", "d", "e"]
    assert [leftover.line for leftover in left] == [2, 3, 4]
    assert jobs[3].concurrency is not None
    assert (jobs[3].concurrency.limit, jobs[3].concurrency.policy) == (1, "skip")


def test_a_users_crontab_is_told_from_one_of_the_system() -> None:
    reading = read_crontab(b"0 3 * * * /srv/a.sh --all\n0 3 * * * root:wheel/daemon /srv/b.sh\n", system=True)
    assert [(leftover.line, "without --system" in leftover.why) for leftover in reading.left] == [(1, True)]
    assert [entry.user for entry in reading.entries] == ["root:wheel/daemon"]


def test_a_run_lasts_as_long_as_what_its_line_starts(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    line = f"0 3 * * * (read x < {tmp_path}/gate; echo done > {mark}) & false"
    text, _, _ = jobs_file(read_crontab(line.encode()), (), AROUND)
    (tmp_path / "crontab.yaml").write_text(text)
    [job] = load_files([tmp_path / "crontab.yaml"]).jobs.values()
    os.mkfifo(tmp_path / "gate")
    with subprocess.Popen(["/bin/sh", "-ec", job.kwargs["script"]]) as shell:
        (tmp_path / "gate").write_text("go\n")
        assert shell.wait(30) == 1
    assert mark.read_text() == "done\n"


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_a_run_lasts_as_long_as_a_session_of_its_own(tmp_path: Path, shell: str) -> None:
    """A shell that replaces itself by its only command makes ``setsid`` fork, and end at once."""
    mark = tmp_path / "mark"
    line = f"SHELL={shell}\n0 3 * * * setsid sh -c 'read x < {tmp_path}/gate; echo done > {mark}' &\n"
    text, _, _ = jobs_file(read_crontab(line.encode()), (), AROUND)
    (tmp_path / "crontab.yaml").write_text(text)
    [job] = load_files([tmp_path / "crontab.yaml"]).jobs.values()
    os.mkfifo(tmp_path / "gate")
    argv = job.kwargs.get("command") or ["/bin/sh", "-ec", job.kwargs["script"]]
    with subprocess.Popen(argv, start_new_session=True) as process:
        (tmp_path / "gate").write_text("go\n")
        assert process.wait(30) == 0
    assert mark.read_text() == "done\n"


NAMES_OF_YAML = [
    "y",
    "n",
    "NO",
    "on",
    "Yes",
    "null",
    "NULL",
    "true",
    "False",
    "inf",
    "e1",
    "_",
    "nan",
    "env",
    "defaults",
]


@given(
    name=st.one_of(st.sampled_from(NAMES_OF_YAML), st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True)),
    value=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\n\r"), max_size=40),
    command=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\n\r%\\"), min_size=1, max_size=40),
    comment=st.text(max_size=20),
    shell=st.sampled_from(["", "/bin/bash", "/opt/a b/fish", "yes", "~"]),
    home=st.sampled_from(["", "/home/x", "/${HOME}", "no", "1:30"]),
)
def test_the_text_that_goes_in_comes_out(
    tmp_path_factory: pytest.TempPathFactory, name: str, value: str, command: str, comment: str, shell: str, home: str
) -> None:
    assume(name not in ("SHELL", "HOME", "MAILTO", "LOGNAME", "USER", "CRON_TZ", "RANDOM_DELAY", "MAILFROM"))
    assume(not name.startswith("RUNNER_"))
    settings = [f'{name}="{value}"', *([f"SHELL={shell}"] if shell else []), *([f"HOME={home}"] if home else [])]
    source = "\n".join(["# " + comment.replace("\n", " "), *settings, f"5 4 * * * {command}"])
    reading = read_crontab(source.encode("utf-8", "surrogatepass"))
    assume(len(reading.entries) == 1)
    [entry] = reading.entries
    text, names, _ = jobs_file(reading, (), AROUND)
    path = tmp_path_factory.mktemp("spec") / "crontab.yaml"
    path.write_text(text, "utf-8")
    catalog = load_files([path])
    assert [str(problem) for problem in catalog.problems] == []
    job = catalog.jobs[names[0]]

    def plain(given: str) -> str:
        return given.replace("$${", "${")

    assert {key: plain(given) for key, given in job.env.items()} == {name: value, **({"HOME": home} if home else {})}
    assert plain(job.kwargs["cwd"]) == (home or "/home/me")
    if "command" in job.kwargs:
        assert [plain(argument) for argument in job.kwargs["command"][:2]] == [shell, "-c"]
        out = plain(job.kwargs["command"][2]).removeprefix("trap wait EXIT; ")
    else:
        out = plain(job.kwargs["script"]).removeprefix("set +e\n").removeprefix("trap wait EXIT\n")
    assert out == entry.command
    assert entry.command in command or _letters(entry.command) in _letters(command)
    [schedule] = job.schedule
    assert schedule.cron == "5 4 * * *"


def _letters(command: str) -> str:
    """Return a command without what puts it in the background, or ends it: ``(a &)`` becomes ``(a; )``."""
    return re.sub(r"[\s;&]", "", command)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("/srv/backup.sh --full", "backup"),
        ("cd /srv && ./Nightly Report.sh", "nightly"),
        ("test -x /usr/sbin/anacron || run-parts /etc/cron.daily", "run-parts-cron.daily"),
        ("test -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.daily; }", "run-parts-cron.daily"),
        ("[ -x /usr/lib/php/a ] && if [ ! -d /run/systemd ]; then /usr/lib/php/sessionclean; fi", "sessionclean"),
        ("if [ -x /usr/bin/m ] && [ $(date +%d) -le 7 ]; then /usr/bin/m --all; fi", "m"),
        ("for each in a b; do /srv/load.sh $each; done", "load"),
        ("while true; do sync.py; done", "sync"),
        ("if", "command"),
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


@pytest.mark.parametrize(
    ("command", "comments", "name"),
    [
        ("cd /srv/db && ./backup.sh", ["Backs up the database"], "backup"),
        ("find /var/cache -mtime +7 -delete", ["Remove old cache files, weekly"], "remove-old-cache-files"),
        ("find /var/cache -mtime +7 -delete", [], "find-cache"),
        ("find . -name '*.tmp' | xargs rm; /srv/tidy.sh", [], "tidy"),
        (
            "curl -fsS https://www.example.org/ping?key=1",
            ["Tell the watchdog that we are alive"],
            "tell-watchdog-alive",
        ),
        ("curl -fsS https://me:secret@www.example.org/ping?key=1", [], "curl-example.org"),
        ("/usr/bin/wget -q -O- https://example.org", ["--- 1 ---"], "wget-example.org"),
        (
            "pg_dump shop | gzip > /backup/shop.gz",
            ["m h  dom mon dow   command", "=== Nightly dump ==="],
            "nightly-dump",
        ),
        ("pg_dump shop | gzip > /backup/shop.gz", ["0 5 * * * old.sh", "@daily x", "A=b"], "pg_dump-shop"),
        ("sh -c 'find /x -delete'", ["数据库"], "find-x"),
        ("rsync -a $HOME/data/ other:", ["Joe's copies (of all data)"], "joes-copies"),
        ("sleep 5", [], "sleep"),
        ("echo it works", [], "echo"),
    ],
)
def test_names_come_from_comments_and_not_from_tools(command: str, comments: list[str], name: str) -> None:
    assert name_of(command, (), comments) == name
    assert name_of(command, {name}, comments) == f"{name}-2"


# -- output that is led elsewhere


@pytest.mark.parametrize(
    ("command", "text", "target"),
    [
        ("a >> /var/log/a.log 2>&1", ">> /var/log/a.log 2>&1", "/var/log/a.log"),
        ("a >>/var/log/a.log", ">>/var/log/a.log", "/var/log/a.log"),
        ("a > 'my log' 2>&1; b", "> 'my log' 2>&1", "'my log'"),
        ('a 1>> "$HOME/a" 2>> "$HOME/b"', '1>> "$HOME/a" 2>> "$HOME/b"', '"$HOME/a"'),
        ("a 2> /tmp/errors", "2> /tmp/errors", "/tmp/errors"),
        ("a &> /tmp/all", "&> /tmp/all", "/tmp/all"),
        ("a >& /tmp/all", ">& /tmp/all", "/tmp/all"),
        ("a > /dev/null 2>&1", "> /dev/null 2>&1", "/dev/null"),
        ("a 2>&1 | logger -t a", "2>&1 | logger -t a", "logger"),
        ("pg_dump shop > /backup/shop.sql", None, None),
        ("a | gzip > /backup/a.gz", None, None),
        ("a > /dev/null", None, None),
        ("a 2> /dev/null", None, None),
        ("a 2>&1", None, None),
        ("a >&2", None, None),
        ("echo '>> b 2>&1' \">> c\" \\>\\> d", None, None),
        ("[ 1 -gt 0 ] && a", None, None),
    ],
)
def test_output_that_logs_would_not_show(command: str, text: str | None, target: str | None) -> None:
    found = hidden_output(command)
    assert (found and found.text, found and found.target) == (text, target)
    notes = read_crontab(f"* * * * * {command}\n".encode()).entries[0].notes
    assert any("runner logs" in note for note in notes) is (text is not None)


# -- MAILTO


def enabled(text: str) -> str:
    """Return a file of jobs with its hooks that are comments, as somebody does who removes each ``#``."""
    first = text.index("  # MAILTO=")
    hooks = re.sub(r"^    # (hooks: )", r"    \1", text[:first], flags=re.MULTILINE)
    return hooks + re.sub(r"^  # (?!MAILTO=)", "  ", text[first:], flags=re.MULTILINE)


def test_mailto_becomes_a_hook_in_comments(tmp_path: Path) -> None:
    source = (
        b"0 1 * * * /srv/quiet.sh\nMAILFROM=cron@example.org\nMAILTO=ops@example.org, root\n0 2 * * * /srv/a.sh\n"
        b'MAILTO=dev@example.org\n0 3 * * * /srv/b.sh\nMAILTO=""\n0 4 * * * /srv/silent.sh\n'
    )
    around = Surroundings(AROUND.home, "Europe/Berlin", "Europe/Berlin", "me", "host1")
    text, names, left = jobs_file(read_crontab(source), {"mail-failures"}, around)
    assert names == ["quiet", "a", "b", "silent"]
    assert [leftover.line for leftover in left] == [3, 5]
    assert all("remove the #" in leftover.why for leftover in left)
    (tmp_path / "crontab.yaml").write_text(text)
    asleep = load_files([tmp_path / "crontab.yaml"])
    assert not asleep.problems
    assert list(asleep.jobs) == names
    assert not any(job.hooks.failure for job in asleep.jobs.values())
    (tmp_path / "crontab.yaml").write_text(enabled(text))
    awake = load_files([tmp_path / "crontab.yaml"])
    assert [str(problem) for problem in awake.problems] == []
    assert {name: [hook.job for hook in job.hooks.failure] for name, job in awake.jobs.items()} == {
        **{name: [] for name in awake.jobs},
        "a": ["mail-failures-2"],
        "b": ["mail-failures-3"],
    }
    job = awake.jobs["mail-failures-2"]
    assert job.task == "runner.tasks.notify:email"
    assert (job.kwargs["to"], job.kwargs["sender"]) == (["ops@example.org", "root@host1"], "cron@example.org")
    assert awake.jobs["mail-failures-3"].kwargs["to"] == ["dev@example.org"]
