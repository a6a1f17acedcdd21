"""Spans: one trace from the submission to each attempt; nothing at all where nobody asks."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.deadline import wait_until
from tests.support.project import Project, clean_environment

TOKEN = "a-token-that-nobody-sees"
WORK = """
import os
from opentelemetry import trace

def twice():
    with trace.get_tracer("theirs").start_as_current_span("inner"):
        pass
    raise ConnectionError("not yet, " + os.environ["TOKEN"])
"""


@contextmanager
def collecting() -> Iterator[tuple[str, list[Any]]]:
    """Take spans for the time of the ``with``; yield the endpoint, and the list that they go to."""
    spans: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = ExportTraceServiceRequest()
            request.ParseFromString(self.rfile.read(int(self.headers["Content-Length"])))
            spans.extend(
                span for resource in request.resource_spans for of in resource.scope_spans for span in of.spans
            )
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", spans
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_one_trace_from_the_submission_to_each_attempt(make_project: Callable[..., Project]) -> None:
    retry = {"max_retries": 1, "delay": "10ms", "jitter": False}
    jobs = {"twice": {"task": "work:twice", "retry": retry, "secrets": {"TOKEN": "env:WORK_TOKEN"}}}
    project = make_project(jobs, {"work.py": WORK})
    with collecting() as (endpoint, spans):
        asked = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
        with project.worker(env={**asked, "WORK_TOKEN": TOKEN}):
            run_id = project.submit("twice", env=asked)
            done = project.wait_for_state(run_id, "FAILURE", deadline=40.0)
            wait_until(lambda: len(spans) == 5, 40.0, "all spans have come")
    assert done["attempts"] == 2
    (submitted,) = [span for span in spans if span.name == "submit twice"]
    attempts = [span for span in spans if span.name == "run twice"]
    inner = [span for span in spans if span.name == "inner"]
    assert {span.trace_id for span in spans} == {submitted.trace_id}
    assert [span.parent_span_id for span in attempts] == [submitted.span_id] * 2
    assert {span.parent_span_id for span in inner} == {span.span_id for span in attempts}
    attributes = [{attribute.key: attribute.value for attribute in span.attributes} for span in attempts]
    assert sorted(attempt["runner.attempt"].int_value for attempt in attributes) == [1, 2]
    assert {attempt["runner.run_id"].string_value for attempt in attributes} == {run_id}
    assert [span.status.message for span in attempts] == ["ConnectionError: not yet, ***"] * 2
    assert TOKEN not in str(spans)
    assert "traceparent" not in done


def test_the_steps_of_a_flow_are_spans_of_its_trace(make_project: Callable[..., Project]) -> None:
    steps = {
        "one": {"task": "work:once"},
        "many": {"needs": ["one"], "each": [1, 2], "task": "work:once"},
        "job": {"needs": ["many"], "job": "plain"},
    }
    work = "def once():\n    return 1\n"
    project = make_project({"flow": {"steps": steps}, "plain": {"task": "work:once"}}, {"work.py": work})
    with collecting() as (endpoint, spans):
        asked = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
        with project.worker(env=asked):
            run_id = project.submit("flow", env=asked)
            project.wait_for_state(run_id, "SUCCESS", deadline=40.0)
            wait_until(lambda: len(spans) >= 5, 40.0, "all spans have come")
    (submitted,) = [span for span in spans if span.name == "submit flow"]
    assert {span.trace_id for span in spans} == {submitted.trace_id}
    attempts = [span for span in spans if span.name.startswith("run ")]
    assert sorted(span.name for span in attempts) == ["run flow/many", "run flow/many", "run flow/one", "run plain"]
    assert {span.parent_span_id for span in attempts} == {submitted.span_id}
    attributes = [{attribute.key: attribute.value for attribute in span.attributes} for span in attempts]
    assert {attempt["runner.flow"].string_value for attempt in attributes} == {run_id}
    assert sorted(attempt["runner.step"].string_value for attempt in attributes) == ["job", "many", "many", "one"]
    assert sorted(attempt["runner.item"].int_value for attempt in attributes if "runner.item" in attempt) == [0, 1]


def test_a_collector_that_is_away_fails_no_run(make_project: Callable[..., Project]) -> None:
    project = make_project({"hello": {"task": "os:getcwd"}})
    asked = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    with project.worker(env=asked):
        run_id = project.submit("hello", env=asked)
        assert project.wait_for_state(run_id, "SUCCESS", deadline=40.0)["losses"] == 0


def test_nothing_is_imported_where_nobody_asks(make_project: Callable[..., Project]) -> None:
    project = make_project({"hello": {"task": "os:getcwd"}})
    # redis-py looks for OpenTelemetry's metrics by itself.
    code = (
        "import sys, runner; SPANS = ('opentelemetry.sdk.trace', 'opentelemetry.exporter'); "
        "run = runner.submit('hello'); "
        "print([name for name in sys.modules if name.startswith(SPANS)])"
    )
    for more in ({}, {"OTEL_TRACES_EXPORTER": "none"}, {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"}):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=project.path,
            env=clean_environment(more),
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == "[]"
