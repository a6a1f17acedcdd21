"""OpenTelemetry's own instrumentation of Celery: a span for each attempt, started in each process of a worker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.deadline import wait_until
from tests.support.project import Project, write_project
from tests.support.servers import Server

TELEMETRY = '''
"""Spans that go to a file, from each process of the worker."""

import os
from pathlib import Path

from celery import signals
from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

SPANS = Path(__file__).with_name("spans.jsonl")


class ToFile(SpanExporter):
    def export(self, spans):
        file = os.open(SPANS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        for span in spans:
            os.write(file, span.to_json(indent=None).encode() + b"\\n")
        os.close(file)
        return SpanExportResult.SUCCESS


def setup():
    signals.worker_process_init.connect(start, weak=False)


def start(**_):
    if CeleryInstrumentor().is_instrumented_by_opentelemetry:
        return
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(ToFile()))
    trace.set_tracer_provider(provider)
    CeleryInstrumentor().instrument()
'''
WORK = """
from opentelemetry import trace
from runner import current_run


def own():
    with trace.get_tracer("shop").start_as_current_span("own"):
        return "done"

def fail():
    raise ValueError("the invoice is missing")

def flaky():
    if current_run().attempt < 2:
        raise ConnectionError("not yet")
"""
JOBS: dict[str, Any] = {
    "own": {"task": "work:own"},
    "fail": {"task": "work:fail"},
    "flaky": {"task": "work:flaky", "retry": {"max_retries": 1, "delay": "50ms", "jitter": False}},
    "apart": {"task": "work:own", "isolation": "process"},
}

Span = dict[str, Any]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> Iterator[Project]:
    files = {"work.py": WORK, "telemetry.py": TELEMETRY}
    folder = tmp_path_factory.mktemp("telemetry") / "p"
    project = write_project(folder, redis_server.url, JOBS, files, {"setup": "telemetry:setup"})
    with project.worker(concurrency=2):
        yield project


def spans(project: Project) -> list[Span]:
    path = project.path / "spans.jsonl"
    return [json.loads(line) for line in path.read_text().rpartition("\n")[0].splitlines()] if path.exists() else []


def attempts(project: Project, run_id: str, count: int = 1) -> list[Span]:
    """Return the instrumentation's spans of a run, once each of its attempts has one."""

    def found() -> list[Span]:
        return [span for span in spans(project) if run_id in (span["attributes"] or {}).values()]

    def made_by_it() -> list[Span]:
        return [span for span in found() if span["name"].startswith("run/")]

    wait_until(lambda: len(made_by_it()) == count, 30.0, f"{count} spans of the run")
    return made_by_it()


@pytest.mark.parametrize("job", ["own", "apart"])
def test_a_run_is_a_span_and_those_of_the_job_are_below(shop: Project, job: str) -> None:
    run_id = shop.submit(job, "--wait")
    (span,) = attempts(shop, run_id)
    attributes = span["attributes"]
    assert (span["name"], span["kind"]) == (f"run/{job}", "SpanKind.CONSUMER")
    assert (attributes["celery.action"], attributes["celery.task_name"], attributes["celery.state"]) == (
        "run",
        job,
        "SUCCESS",
    )
    assert attributes["celery.hostname"]
    assert span["status"]["status_code"] == "UNSET"
    by_id = {other["context"]["span_id"]: other for other in spans(shop)}
    of_trace = [other for other in by_id.values() if other["context"]["trace_id"] == span["context"]["trace_id"]]
    (own,) = [other for other in of_trace if other["name"] == "own"]
    above = own
    while above["parent_id"] in by_id:
        above = by_id[above["parent_id"]]
    assert above == span


def test_a_failure_is_told_with_its_exception(shop: Project) -> None:
    run_id = shop.cli("submit", "fail", "--wait").check(1).id
    (span,) = attempts(shop, run_id)
    assert (span["name"], span["attributes"]["celery.state"]) == ("run/fail", "FAILURE")
    assert (span["status"]["status_code"], span["status"]["description"]) == ("ERROR", "the invoice is missing")
    (event,) = span["events"]
    assert event["name"] == "exception"
    assert event["attributes"]["exception.type"].endswith("ValueError")
    assert event["attributes"]["exception.message"] == "the invoice is missing"


def test_each_attempt_is_a_span(shop: Project) -> None:
    run_id = shop.submit("flaky", "--wait")
    first, second = attempts(shop, run_id, 2)
    assert [span["attributes"]["celery.state"] for span in (first, second)] == ["RETRY", "SUCCESS"]
    assert first["attributes"]["celery.retry.reason"]
    assert "celery.retry.reason" not in second["attributes"]
    assert first["context"]["span_id"] != second["context"]["span_id"]


def test_a_span_ends_with_its_run(shop: Project) -> None:
    ids = [shop.submit("own", "--wait") for _ in range(2)]
    first, second = (attempts(shop, run_id)[0] for run_id in ids)
    assert first["context"]["trace_id"] != second["context"]["trace_id"]
    assert (first["parent_id"], second["parent_id"]) == (None, None)
