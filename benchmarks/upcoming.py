"""``runner upcoming`` over 10,000 scheduled jobs whose slots calendars and windows leave out."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.loading import JOBS_PER_FILE
from benchmarks.pairs import Row
from benchmarks.peers import url_of
from benchmarks.place import BIN, Place

JOBS = 10_000
ROUNDS = 7
MOST_SECONDS = 2.0
RULES = (
    "except: [calendar:closed, calendar:bavaria]",
    'except: [{from: "22:00", to: "06:00"}, calendar:trading]',
    "only: [{days: [mon, tue, wed, thu, fri]}], except: [calendar:bavaria, 2026-12-24]",
    "only: [calendar:trading, calendar:closed, {days: [sun]}]",
)
EVENT = "BEGIN:VEVENT\r\nUID:{n}\r\nDTSTART;VALUE=DATE:2026{month:02}{day:02}\r\nRRULE:FREQ=YEARLY\r\nEND:VEVENT\r\n"


def write_ruled_project(folder: Path, namespace: str, jobs: int) -> None:
    """Write jobs that all have slots in the same hours, and rules that leave some of them out."""
    (folder / "jobs.d").mkdir()
    (folder / "runner.yaml").write_text(
        f"redis_url: env:BENCH_URL\nnamespace: {namespace}\ntimezone: Europe/Berlin\n"
        "calendars: {closed: file:closed.txt, trading: file:trading.ics, bavaria: 'holidays:DE-BY'}\n"
    )
    days = [(month, day) for month in range(1, 13) for day in (3, 9, 17, 26)]
    (folder / "closed.txt").write_text("".join(f"2026-{month:02}-{day:02}\n" for month, day in days))
    events = "".join(EVENT.format(n=n, month=month, day=day) for n, (month, day) in enumerate(days))
    head = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:bench\r\n"
    (folder / "trading.ics").write_text(f"{head}{events}END:VCALENDAR\r\n")
    for first in range(0, jobs, JOBS_PER_FILE):
        text = "jobs:\n"
        for n in range(first, min(first + JOBS_PER_FILE, jobs)):
            when = f'cron: "{n % 60} {8 + n // 60 % 12} * * *"' if n % 3 else 'cron: "*/10 * * * *"'
            text += f'  job-{n}: {{task: "a:b", schedule: {{{when}, {RULES[n % len(RULES)]}}}}}\n'
        (folder / "jobs.d" / f"team-{first:06}.yaml").write_text(text)


def measure(place: Place) -> list[Row]:
    """Time whole processes, which know the next slot of each job from the one before, and which compute it anew."""
    rounds, jobs = place.some(ROUNDS, 1), place.some(JOBS, 100)
    with tempfile.TemporaryDirectory(prefix="runner-bench-", dir="/tmp") as name:
        folder = Path(name).resolve()
        write_ruled_project(folder, "bench-upcoming", jobs)
        environment = {**place.environment, "BENCH_URL": url_of("other")}
        # Files as young as this are not cached, since a second change could go unnoticed.
        time.sleep(0.3)

        def upcoming(*, known: bool = True) -> float:
            if not known:
                (folder / ".runner" / "cache" / "schedules.json").unlink(missing_ok=True)
            start = time.perf_counter()
            done = subprocess.run(
                [str(BIN / "runner"), "upcoming", "--json"],
                cwd=folder,
                env=environment,
                check=True,
                capture_output=True,
                text=True,
            )
            taken = time.perf_counter() - start
            assert done.stdout.count('"slot"') == 20, done.stdout[:200]
            return taken

        upcoming()  # reads the files
        times = [upcoming() for _ in range(rounds)]
        anew = [upcoming(known=False) for _ in range(rounds)]
        floor = statistics.median(_seconds() for _ in range(rounds))
    return [
        Row(
            f"upcoming, {jobs:,} scheduled jobs with calendars : python -c pass",
            statistics.median(times),
            floor,
            "s",
            rounds,
            most=MOST_SECONDS,
            bounds="figure",
        ),
        Row(
            f"upcoming, {jobs:,} jobs with calendars, as the first command after a change : python -c pass",
            statistics.median(anew),
            floor,
            "s",
            rounds,
        ),
    ]


def _seconds() -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - start
