"""What the README and the documentation tell people to type is typed, and works.

Every line of every ``sh`` block and every ``python`` block is executed, in a project that has the jobs they speak of.
An id, a path or a URL of an example stands for a real one. A ``console`` block shows commands after a ``$``, and what
they print is compared with what they print here. Lines that nobody may run in a test are listed with the
reason, in :data:`LEFT_OUT`; a line that is listed and stands in no page fails, so the list stays short.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.crontab_host import CRONTAB
from tests.support.deadline import wait_until
from tests.support.project import Project, clean_environment, write_project
from tests.support.running import Running
from tests.support.servers import Server, free_port, kombu_url
from tests.support.terminal import Terminal, screen

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(page for page in ROOT.glob("docs/**/*.md") if page.name != "cli.md")])
FENCE = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(r"^```(console|sh|yaml|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

COLUMNS = 100
"""Of a terminal whose output the README and two tutorials show."""

ALIKE = [
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "ID"),
    (r"celery-\d+-[0-9a-f]{6}@\S+", "WORKER"),
    (r"worker \d+", "WORKER"),
    (r"\b[0-9a-f]{8}\b(?!-)", "SHORT"),
    (r"\b(\d+[smhd] ago|now)\b", "AGE"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?[+-]\d\d:\d\d", "WHEN"),
    (r"\b(\d+\.\d s|\d+ ms)\b", "TIME"),
    (r"by \S+@[\w.-]+", "by SOMEBODY"),
    (r"\d+\\t", r"KIB\\t"),
    (r" +", " "),
]
"""What differs from one time to the next, and what stands for it when outputs are compared."""

# Whether these are seen hangs on whether the run or the command that waits for it is faster.
PASSING = re.compile(r"^(PENDING|STARTED) ")

TOUR = ROOT / "docs" / "tutorials" / "tour.md"
FIRST_PROJECT = ROOT / "docs" / "tutorials" / "first-project.md"
RABBITMQ = ROOT / "docs" / "how-to" / "rabbitmq.md"
"""Typed by test_docs_rabbitmq.py, on a RabbitMQ."""
FIRST_FLOW = ROOT / "docs" / "tutorials" / "first-flow.md"
FRAMEWORKS = [ROOT / "docs" / "how-to" / name for name in ("django.md", "flask.md")]
FROM_NOTHING = [TOUR, FIRST_PROJECT, FIRST_FLOW, RABBITMQ, *FRAMEWORKS]
"""Pages that begin in an empty folder, or with `runner init`."""

LEFT_OUT = {
    "make ": "these run in CI by themselves, or for many minutes",
    "pip install": "the package is installed; the wheel is tried in CI",
    "sudo ": "changes the host",
    "systemctl ": "changes the host",
    "ssh ": "needs another host",
    "curl -X POST https://": "needs another host; tests/web/test_inbound.py sends such requests",
    "runner up --systemd": "changes the host; tests/system/test_services.py does it",
}

GO_ON = {
    "runner worker": "runner worker ready",
    "celery -A runner worker": "transport:",
    "celery -A runner flower": "Visit me at",
    "flask --app shop runner worker": "runner worker ready",
    "runner web": "runner web ready",
    "runner watch": "",
    "runner runs -w": "",
    "runner workers -w": "",
    "runner backfills -w": "",
    "runner queues -w": "",
    "runner audit -w": "",
    "runner scheduler": "ready",
    "runner archive --follow": "finished runs are copied to",
}
"""What goes on until it is interrupted, and what it says once it works."""

ANSWERS = {
    "runner submit broken-example": {1},
    "runner plan": {0, 1},
    "runner status --exit-status": {0, 1},
    "runner rerun": {1},
    "runner reject": {5},
    "runner doctor": {0, 1},
    "runner validate --imports": {0},
}
"""Exit codes other than 0 that a page speaks of, by how the line begins."""

ALTERED = {
    # Programs that may not be there, folders of others, and runs that there are in this project.
    "| jq .state": "| cat",
    "/var/lib/prometheus/node-exporter/": "",
    "--job nightly-report --state failure --ids": "--job broken-example --state failure --ids",
    "approve 3f2a9c41": "approve 9c1e7a40",
    "/srv/shop": "/srv/reports",
    "/srv/bank": "/srv/reports",
    " | dot -Tsvg > nightly.svg": "",
}
"""What is changed about examples of commands."""

MODULES = {
    "reports/__init__.py": "def build(day: str = '', region: str = 'eu') -> dict:\n    return {'day': day}\n",
    "reports/nightly.py": "def build(day=None):\n    print('built', day)\n    return {'day': day}\n",
    "shop/__init__.py": "",
    "shop/db.py": "engine = connect = None\n",
    "orders.py": "def close(least=0):\n    return least\n",
    "etl.py": """def extract(day):
    return {"files": ["eu.csv", "us.csv"], "day": day}


def load(file):
    print("loading", file)
    assert file != "us.csv"
""",
    "days.jsonl": '{"day": "2026-11-01"}\n{"day": "2026-11-02"}\n',
    "old-crontab.txt": "15 3 * * * ./backup.sh\n",
}
JOBS = """jobs:
  nightly-report:
    task: reports.nightly:build
    params: {day: {type: string, format: date}}
    tags: [finance]
    schedule: "0 2 * * *"
    hooks: {failure: [mail-us]}
  mail-us:
    task: runner.tasks.shell:run
    params: {run: {type: object, required: true}}
    kwargs: {command: ["true"]}
  nightly:
    params: {day: {type: string, format: date, default: "2026-11-27"}}
    steps:
      extract: {task: "etl:extract", kwargs: {day: "${params.day}"}}
      load: {needs: [extract], each: "${steps.extract.result.files}", task: "etl:load", kwargs: {file: "${item}"}}
  release: {steps: {approve: {approval: {within: 3d}}}}
  backup: {task: runner.tasks.shell:run, kwargs: {command: ["true"]}}
  close-orders: {task: "orders:close", params: {least: {type: integer, default: 0}}}
"""


class Reader:
    """Somebody who types what a page says."""

    def __init__(self, project: Project, folder: Path, run_id: str, flows: Sequence[tuple[str, str]] = ()) -> None:
        self.project, self.folder, self.run_id, self.flows = project, folder, run_id, flows
        self.web_port = free_port()
        programs = folder / "bin"
        programs.mkdir()
        (programs / "crontab").write_text(CRONTAB.format(table=shlex.quote(str(folder / "table"))))
        (programs / "crontab").chmod(0o755)
        (folder / "table").write_text(MODULES["old-crontab.txt"])
        self.variables = {
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "RUNNER_PROJECT": str(project.path),
        }
        self.cwd = project.path
        self.terminal = False
        """Whether a page shows what a terminal shows, and not what a pipe gets."""
        self.running: list[Running] = []

    def real(self, text: str) -> str:
        """Return a line with what an example only stands for replaced."""
        url = self.project.redis_url
        text = re.sub(r"redis://localhost:6379/\d", kombu_url(url) if "Celery(" in text else url, text)
        for shown, flow in self.flows:
            text = text.replace(shown, flow)
        text = text.replace("1f58ffd2-89f3-4af7-8f2d-5b72167ecdff", self.run_id).replace("3f2a9c41", self.run_id[:8])
        text = text.replace("/srv/reports/.venv/bin/", f"{Path(sys.executable).parent}/")
        # There is one project here.
        text = text.replace(" --project /srv/bank", "").replace("/srv/shop", "/srv/reports")
        text = text.replace("/srv/reports", str(self.project.path)).replace("--port=5555", f"--port={free_port()}")
        text = text.replace("127.0.0.1:8420", f"127.0.0.1:{self.web_port}")
        return re.sub(r"^runner web( --project \S+)?$", rf"runner web --port {self.web_port}\1", text)

    def type(self, line: str) -> None:
        """Run one command, as a shell does."""
        if found := re.match(r"runner init (\w+)", line):
            # The ways to make a project that a page shows are alternatives.
            shutil.rmtree(self.cwd / found[1], ignore_errors=True)
        (self.cwd / "jobs.d" / "crontab.yaml").unlink(missing_ok=True)
        begins = next((prefix for prefix in GO_ON if f"{line} ".startswith(f"{prefix} ")), None)
        if begins is not None and "--new-token" not in line:
            self._start(line, GO_ON[begins])
            return
        done = self.run(line)
        allowed = next((codes for prefix, codes in ANSWERS.items() if line.startswith(prefix)), {0})
        assert done.returncode in allowed, f"{line}\n{done.returncode}\n{done.stdout}"
        assert "Traceback (most recent call last)" not in done.stdout.replace("| Traceback", ""), done.stdout
        if "--new-token" in line:
            self.variables["TOKEN"] = done.stdout.split()[-1]

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run one command, and return its exit code and what it printed, stderr included."""
        done = subprocess.run(
            self._command(line),
            cwd=self.cwd,
            env=clean_environment(self.variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=90,
            check=False,
        )
        self._remember()
        return done

    def _command(self, line: str) -> list[str]:
        # What a command sets, such as id=$(…), and where it goes, holds for the next one.
        script = f'{line}\nstatus=$?\nenv > "{self.folder}/env"; pwd > "{self.folder}/pwd"; exit $status'
        return ["/bin/sh", "-a", "-c", script]

    def _remember(self) -> None:
        self.cwd = Path((self.folder / "pwd").read_text().strip())
        if found := re.search(r"^id=(.*)$", (self.folder / "env").read_text(), re.MULTILINE):
            self.variables["id"] = found[1]

    def run_on_terminal(self, line: str) -> str:
        """Run one command on a terminal, and return its output; long messages are not broken into lines."""
        with Terminal(self._command(line), cwd=self.cwd, width=COLUMNS, both=True, env=self.variables) as terminal:
            terminal.end(deadline=90.0)
        self._remember()
        shown = "\n".join(screen(terminal.raw, 1000)).rstrip("\n")
        return f"{shown}\n" if shown else ""

    def show(self, text: str) -> None:
        """Run the commands of a ``console`` block, and compare what they print with what the block shows."""
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            line, _, wanted = part.partition("\n")
            printed = self.run_on_terminal(line) if self.terminal else self.run(line).stdout
            output = printed.replace(str(self.cwd), "/srv/demo")
            assert alike(wanted).fullmatch(without_passing(same(output))), f"{line}\n{output}\nis not\n{wanted}"

    def _start(self, line: str, says: str) -> None:
        started = Running(["/bin/sh", "-c", f"exec {line}"], cwd=self.cwd, env=clean_environment(self.variables))
        self.running.append(started)
        if line.startswith("runner watch"):
            return
        wait_until(lambda: says in started.stdout + started.stderr or started.process.poll(), 60.0, f"{line}: {says}")
        assert says in started.stdout + started.stderr, started.stderr

    def end(self) -> None:
        """Interrupt what goes on; nothing of it may have failed."""
        for running in self.running:
            with running:
                if running.process.poll() is None:
                    running.signal(signal.SIGINT)
                assert running.wait(40.0) in (0, 130, -signal.SIGINT), running.stderr


def same(text: str) -> str:
    """Return ``text`` with everything replaced that differs from one time to the next."""
    for pattern, word in ALIKE:
        text = re.sub(pattern, word, text)
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def without_passing(text: str) -> str:
    """Return ``text`` without the lines of states that a run leaves too soon to be seen each time."""
    return "".join(line for line in text.splitlines(keepends=True) if not PASSING.match(line))


def alike(shown: str) -> re.Pattern[str]:
    """Return the pattern of what a page shows; an ellipsis in it stands for anything within a line.

    A retry that the page shows may be missing, since a busy machine can be late to look; another one must not be there.
    """
    found = (re.escape(line).replace("…", ".*") for line in without_passing(same(shown)).splitlines(keepends=True))
    return re.compile("".join(f"(?:{line})?" if line.startswith("RETRY") else line for line in found))


def lines(text: str) -> Iterator[str]:
    """Yield the commands of a block: lines, and what spans several."""
    command = ""
    for line in text.splitlines():
        command += line if not command else f"\n{line}"
        whole = subprocess.run(["/bin/sh", "-n", "-c", command], capture_output=True, check=False).returncode == 0
        if whole and not line.endswith("\\") and command.strip():
            yield command
            command = ""
    assert not command.strip(), f"no shell reads this: {command}"


def left_out(line: str) -> bool:
    return any(line.startswith(prefix) for prefix in LEFT_OUT)


@contextmanager
def reading(redis_server: Server, folder: Path) -> Iterator[Reader]:
    """A project with the jobs that the pages speak of, a run of each, and a worker."""
    project = write_project(folder / "p", redis_server.url, JOBS, MODULES)
    for name in ("jobs.d", "examples", "docs"):
        shutil.copytree(ROOT / name, project.path / name, dirs_exist_ok=True)
    (folder / "reader").mkdir()
    with project.worker("-Q", "default,reports", concurrency=2):
        for job in ("nightly-report", "backup", "close-orders"):
            run_id = project.cli("submit", job, "--wait").check().id
        nightly = project.cli("submit", "nightly", "--wait").check(1).id
        release = project.cli("submit", "release").check().id

        def waiting() -> bool:
            return bool(project.cli("status", release, "--json").check().json["steps"][0]["run"])

        wait_until(waiting, 30.0, "the flow waits for an approval")
        flows = [(f"{verb} 3f2a9c41", f"{verb} {nightly}") for verb in ("--flow", "rerun")]
        yield Reader(project, folder / "reader", run_id, [*flows, ("9c1e7a40", release)])


@pytest.fixture(scope="module")
def reader(redis_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with reading(redis_server, tmp_path_factory.mktemp("docs")) as found:
        yield found


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.name != "README.md" and page not in FROM_NOTHING],
    ids=lambda page: page.stem,
)
def test_what_a_page_says_works(reader: Reader, page: Path) -> None:
    folder = reader.folder / f"{page.parent.name}-{page.stem}"
    folder.mkdir()
    (folder / "old-crontab.txt").write_text(MODULES["old-crontab.txt"])
    first = page.stem == "from-crontab"
    reader.cwd = folder if first else reader.project.path
    project = reader.variables.pop("RUNNER_PROJECT")
    if not first:
        reader.variables["RUNNER_PROJECT"] = project
    if page.stem == "archive":
        reader.variables["RUNNER_ARCHIVE_URL"] = "sqlite:///runner.db"
    try:
        for kind, text in FENCE.findall(page.read_text("utf-8")):
            if kind == "python":
                # By its own name, so that what it defines can be pickled, imported, and told in a traceback.
                (folder / "block.py").write_text(reader.real(text))
                reader.type(f"PYTHONPATH={reader.project.path} python {folder}/block.py")
                continue
            for line in lines(text):
                if not left_out(line):
                    reader.type(reader.real(line))
    finally:
        reader.variables["RUNNER_PROJECT"] = project
        reader.variables.pop("RUNNER_ARCHIVE_URL", None)
        if "runner up -d" in page.read_text("utf-8"):
            reader.project.cli("down").check()
        reader.end()
        reader.running = []


def follow(reader: Reader, page: Path) -> int:
    """Do what a page says from top to bottom; return how many blocks show commands and what they print."""
    seen = 0
    for kind, text in SHOWN.findall(page.read_text("utf-8")):
        if kind in ("yaml", "python"):
            # A page names the file in the first line of what it tells people to write.
            if found := re.match(r"# ((?:jobs\.d/|\w+/)?[\w-]+\.(?:py|yaml))(, at the end)?\n", text):
                (reader.cwd / found[1]).parent.mkdir(exist_ok=True)
                with (reader.cwd / found[1]).open("a" if found[2] else "w", encoding="utf-8") as file:
                    file.write(reader.real(text))
        elif kind == "console":
            reader.show(text)
            seen += 1
        else:
            for line in lines(text):
                if not left_out(line):
                    reader.type(reader.real(line))
    return seen


def test_the_readme_shows_what_is_printed(make_embedded_project: Callable[..., Project], tmp_path: Path) -> None:
    project = make_embedded_project()
    reader = Reader(project, tmp_path, "")
    del reader.variables["RUNNER_PROJECT"]
    # An empty folder and the one file that the page shows; the rest would say too much.
    for path in (project.path / "jobs.d", project.path / "runner.yaml"):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    (project.path / "documents").mkdir()
    (project.path / "documents" / "letter.txt").write_text("Dear reader\n")
    reader.terminal = True
    try:
        assert follow(reader, ROOT / "README.md") == 1
    finally:
        reader.cwd = project.path
        reader.run("runner down")


def test_the_tour_shows_what_is_printed(make_embedded_project: Callable[..., Project], tmp_path: Path) -> None:
    project = make_embedded_project()
    for folder in ("jobs.d", "examples", "docs"):
        shutil.copytree(ROOT / folder, project.path / folder, dirs_exist_ok=True)
    reader = Reader(project, tmp_path, "")
    reader.terminal = True
    del reader.variables["RUNNER_PROJECT"]
    try:
        assert follow(reader, TOUR) > 8
    finally:
        reader.run("runner down")


def test_the_first_project_shows_what_is_printed(make_embedded_project: Callable[..., Project], tmp_path: Path) -> None:
    reader = Reader(make_embedded_project(), tmp_path, "")
    del reader.variables["RUNNER_PROJECT"]
    reader.cwd = tmp_path / "mine"
    reader.cwd.mkdir()
    block = re.compile(r"(?:Put this into\s`(\S+)`:\n\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    try:
        for name, kind, text in block.findall(FIRST_PROJECT.read_text("utf-8")):
            if kind == "python":
                (reader.cwd / text.split()[1]).write_text(text, "utf-8")  # its first line is: # reports.py
            elif name:
                (reader.cwd / name).write_text(text, "utf-8")
            elif kind == "text":
                # Two lines that take the place of the last one.
                jobs = reader.cwd / "jobs.d" / "reports.yaml"
                jobs.write_text("".join(jobs.read_text("utf-8").splitlines(keepends=True)[:-1]) + text, "utf-8")
            elif kind == "console":
                reader.show(text)
            else:
                for line in lines(text):
                    if not left_out(line):
                        reader.type(reader.real(line))
        assert (reader.cwd / "jobs.d" / "reports.yaml").exists()
    finally:
        reader.run("runner down")


def test_the_first_flow_shows_what_is_printed(make_embedded_project: Callable[..., Project], tmp_path: Path) -> None:
    reader = Reader(make_embedded_project(), tmp_path, "")
    reader.terminal = True
    del reader.variables["RUNNER_PROJECT"]
    reader.cwd = tmp_path / "mine"
    reader.cwd.mkdir()
    try:
        assert follow(reader, FIRST_FLOW) > 4
    finally:
        reader.run("runner down")


@pytest.mark.parametrize("page", FRAMEWORKS, ids=lambda page: page.stem)
def test_a_page_about_a_framework_leads_to_a_project(
    make_project: Callable[..., Project], tmp_path: Path, page: Path
) -> None:
    reader = Reader(make_project(), tmp_path, "")
    reader.variables |= {"RUNNER_PROJECT": str(tmp_path / "mine"), "RUNNER_NAMESPACE": reader.project.namespace}
    reader.cwd = tmp_path / "mine"
    reader.cwd.mkdir()
    try:
        follow(reader, page)
    finally:
        reader.end()


def test_a_wrong_output_is_noticed() -> None:
    output = "up: worker 12 takes runs\nSTARTED  x\nSUCCESS  x  after 3.1 s\n"
    right = "up: worker 345 takes runs\nPENDING  x\nSUCCESS   x  after 87 ms\n"
    assert alike(right).fullmatch(without_passing(same(output)))
    assert alike("up: …\nSUCCESS …\n").fullmatch(without_passing(same(output)))
    retried = "RETRY  x  attempt 1\nRETRY  x  attempt 2\nSUCCESS  x\n"
    assert alike(retried).fullmatch("RETRY x attempt 2\nSUCCESS x\n")
    assert not alike(retried).fullmatch("RETRY x attempt 3\nSUCCESS x\n")
    for wrong in (right.replace("SUCCESS", "FAILURE"), right.replace("takes", "has"), right + "more\n", "…\n"):
        assert not alike(wrong).fullmatch(without_passing(same(output))), wrong


@pytest.mark.timeout(600)  # each command of the page, one after the other, on a machine that may be busy
def test_the_examples_of_all_commands_work(redis_server: Server, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "reference" / "cli.md").read_text("utf-8")
    with reading(redis_server, tmp_path) as reader:
        project = reader.project
        (project.path / "schema").mkdir()
        project.cli("submit", "broken-example", "--wait").check(1)
        project.write({"jobs.d/reports.yaml": "jobs:\n  hello: {task: 'os:getcwd'}\n"})
        try:
            for _, text in FENCE.findall(page):
                # Not those of a crontab and of bash.
                kept = [line for line in text.splitlines() if "(in a crontab)" not in line and line[:5] != "eval "]
                for line in lines("\n".join(kept)):
                    if left_out(line):
                        continue
                    reader.cwd = project.path
                    # A worker with an archive would copy runs itself, and `archive --follow` wait for its turn.
                    reader.variables.pop("RUNNER_ARCHIVE_URL", None)
                    if line.startswith("runner archive"):
                        reader.variables["RUNNER_ARCHIVE_URL"] = "sqlite:///runner.db"
                    for original, other in ALTERED.items():
                        line = line.replace(original, other)
                    reader.type(reader.real(line))
                    if line.startswith("runner new") and "--print" not in line:
                        (project.path / "jobs.d" / "daily-report.yaml").unlink()
        finally:
            reader.end()
            project.cli("down")


def test_what_is_left_out_is_there() -> None:
    every = [line for page in PAGES for _, text in FENCE.findall(page.read_text("utf-8")) for line in text.splitlines()]
    for prefix in LEFT_OUT:
        assert any(line.startswith(prefix) for line in every), prefix
