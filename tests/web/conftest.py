"""A project with a worker, and the web beside it: real processes, a real browser."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.support.project import Project, write_project
from tests.support.running import Running
from tests.support.servers import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MILLISECONDS = 30_000
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"), reason="needs Chromium on PATH; never skipped in CI"
)

MODULE = '''
import logging, time
from pathlib import Path
from runner import current_run


def greet(name="world"):
    print(f"hello {name}")
    return f"hello {name}"


def fails():
    logging.getLogger("jobs").error("<script>alert('log')</script>")
    raise ValueError("<script>alert('error')</script>")


def anything(**values):
    return len(values)


def garbled():
    print("wrote \\udcff.csv")
    raise ValueError("no \\udcff.csv <b>\\x00\\x1b[31m")
def chatty():
    for number in range(3000):
        print(f"line {number} 路")


def flaky():
    if current_run().attempt < 3:
        raise ConnectionError(f"try {current_run().attempt}")


def gated_flaky(gate):
    print(f"attempt {current_run().attempt}")
    while not Path(gate).exists():
        time.sleep(0.05)
    if current_run().attempt < 2:
        raise ConnectionError("try again")


def long():
    raise ValueError("x" * 3000)


def gated(gate):
    """Say something, and wait until a file is there."""
    print("waiting for the gate")
    current_run().progress(0.5, "half way")
    while not Path(gate).exists():
        time.sleep(0.05)
    print("through the gate")
'''

JOBS: dict[str, Any] = {
    "greet": {
        "task": "web_jobs:greet",
        "description": "Greets <b>somebody</b>",
        "tags": ["demo"],
        "params": {
            "name": {"type": "string", "default": "world", "description": "Whom to greet"},
        },
    },
    "typed": {
        "task": "web_jobs:greet",
        "params": {
            "name": {"type": "string", "enum": ["ann", "bob"], "required": True},
            "day": {"type": "string", "format": "date"},
            "count": {"type": "integer", "minimum": 1},
            "flag": {"type": "boolean"},
            "more": {"type": "object"},
        },
    },
    "numbers": {
        "task": "web_jobs:anything",
        "params": {
            "half": {"type": "number", "multipleOf": 0.5},
            "tenth": {"type": "number", "multipleOf": 0.1},
            "seventh": {"type": "integer", "multipleOf": 7},
            "bounded": {"type": "number", "minimum": -(2**63 - 1), "exclusiveMaximum": 1e308},
            "whole": {"type": "integer", "minimum": 0.5, "maximum": 1e308},
            "counted": {"type": "integer", "not": {"const": 1}},
            "chosen": {"enum": [2**63 - 1, 0.5, 1e308]},
        },
    },
    "chatty": {"task": "web_jobs:chatty"},
    "flaky": {"task": "web_jobs:flaky", "retry": {"max_retries": 2, "delay": "1s", "jitter": False}},
    "gated-flaky": {
        "task": "web_jobs:gated_flaky",
        "params": {"gate": {"type": "string", "required": True}},
        "retry": {"max_retries": 1, "delay": "1s", "jitter": False},
    },
    "long": {"task": "web_jobs:long"},
    "fails": {"task": "web_jobs:fails"},
    "garbled": {"task": "web_jobs:garbled"},
    "gated": {"task": "web_jobs:gated", "params": {"gate": {"type": "string", "required": True}}},
    "scheduled": {"task": "web_jobs:greet", "schedule": {"every": "1h"}},
    "leap-day": {"task": "web_jobs:greet", "schedule": "0 0 29 2 *"},
    "hostile": {"task": "web_jobs:greet"},
    "paged": {"task": "web_jobs:greet"},
    "off": {"task": "web_jobs:greet", "enabled": False},
}


@dataclass
class Web:
    """A web process: where it is, and the project behind it."""

    project: Project
    url: str
    process: Running

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=30.0, **options)


@contextmanager
def serving(project: Project, *args: str) -> Iterator[Web]:
    """Start ``runner web`` on a free port; without ``args``, anybody may do everything if nothing else is set up."""
    with project.start("web", "--port", "0", *(args or ("--no-token",))) as process:
        process.wait_for("runner web ready", 40.0)
        found = re.search(r"ready: (http://\S+)/", process.stderr)
        assert found is not None
        yield Web(project, found[1], process)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("web")
    namespace = f"w{uuid.uuid4().hex[:10]}"
    project = write_project(folder / "p", redis_server.url, {**JOBS}, {"web_jobs.py": MODULE}, {}, namespace)
    with project.worker(concurrency=4):
        yield project


@pytest.fixture(scope="module")
def web(project: Project) -> Iterator[Web]:
    with serving(project) as found:
        yield found


@pytest.fixture
def client(web: Web) -> Iterator[httpx.Client]:
    with web.client() as client:
        yield client


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright  # most tests need none

    with sync_playwright() as playwright:
        # Without its sandbox, which needs rights that a container's root does not have.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def new_page(browser: Browser, web: Web) -> Iterator[Page]:
    """Open a page of a browser; an error of a script, or one against the content security policy, fails the test."""
    from playwright.sync_api import expect

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


@pytest.fixture
def page(browser: Browser, web: Web) -> Iterator[Page]:
    """A page of a browser."""
    with new_page(browser, web) as page:
        yield page
