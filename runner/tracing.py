"""OpenTelemetry: a span for each submission and each attempt, linked through the run's record.

OpenTelemetry is imported only if one of its environment variables is set, or the submitting program is traced already. https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

from runner.model.storable import names_of, short_text

log = logging.getLogger(__name__)

_ASKING = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_EXPORTER")
_ASKING_BYTES = [os.fsencode(name) for name in _ASKING]
_LONGEST_WORDS = 2000
"""The maximum length of an exception in a span (characters)."""

_EXPORT_SECONDS = 2.0
"""Timeout of a collector that does not answer (seconds), unless OTEL_EXPORTER_OTLP_TIMEOUT is set."""
_HEADER = "traceparent"


def is_asked(environ: Mapping[str, str] | None = None) -> bool:
    """Return whether spans are enabled: by ``OTEL_*`` variables, or in a program that creates its own."""
    if "opentelemetry.sdk.trace" not in sys.modules and not _has_any(os.environ if environ is None else environ):
        return False
    environ = os.environ if environ is None else environ
    return environ.get("OTEL_SDK_DISABLED", "").lower() != "true" and environ.get("OTEL_TRACES_EXPORTER") != "none"


def _has_any(environ: Mapping[str, str]) -> bool:
    """Return whether a variable that enables spans is set; called before each attempt."""
    # Not `os.environ`, which raises an exception for each missing variable and takes ten times as long.
    data: Mapping[Any, Any] = getattr(environ, "_data", {})
    if environ is os.environ and data and data.keys().isdisjoint(_ASKING_BYTES):
        return False
    return any(environ.get(name) for name in _ASKING)


def submitted(job: str, run_id: str, trigger: str) -> str | None:
    """Create the span of a submission; return the trace context for its record, or None if spans are off."""
    tracer = _tracer() if is_asked() else None
    if tracer is None:
        return None
    from opentelemetry.propagate import inject  # an extra: imported only where spans are asked for
    from opentelemetry.trace import SpanKind

    carrier: dict[str, str] = {}
    attributes = {"runner.job": job, "runner.run_id": run_id, "runner.trigger": trigger}
    with tracer.start_as_current_span(f"submit {job}", kind=SpanKind.PRODUCER, attributes=attributes):
        inject(carrier)
    return carrier.get(_HEADER)


def attempt(
    carried: str | None, job: str, attributes: Mapping[str, Any], mask: Callable[[str], str]
) -> AbstractContextManager[None]:
    """Run the block in a span below the submission's, and send it before the block ends.

    Args:
        carried: the trace context from :func:`submitted`.
        job: the name of the job.
        attributes: additional attributes, without the prefix ``runner.``.
        mask: masks secrets in the text of an exception.
    """
    tracer = _tracer() if is_asked() else None
    return nullcontext() if tracer is None else _span(tracer, carried, job, attributes, mask)


@contextmanager
def _span(
    tracer: Any, carried: str | None, job: str, attributes: Mapping[str, Any], mask: Callable[[str], str]
) -> Iterator[None]:
    from opentelemetry.propagate import extract  # an extra: imported only where spans are asked for
    from opentelemetry.trace import SpanKind, Status, StatusCode, get_tracer_provider

    try:
        with tracer.start_as_current_span(
            f"run {job}",
            context=extract({_HEADER: carried}) if carried else None,
            kind=SpanKind.CONSUMER,
            attributes={"runner.job": job, **{f"runner.{name}": value for name, value in attributes.items()}},
            # OpenTelemetry would record the text unchanged, including secrets.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except BaseException as error:
                name = names_of(type(error))[1]
                message = f"{name}: {short_text(error, _LONGEST_WORDS, say=str, mask=mask)}"
                span.set_status(Status(StatusCode.ERROR, message))
                span.add_event("exception", {"exception.type": name, "exception.message": message})
                raise
    finally:
        # The process may be killed or exit right after this.
        getattr(get_tracer_provider(), "force_flush", lambda _: None)(int(_EXPORT_SECONDS * 1000))


def _tracer() -> Any:
    """Return the tracer of the program's provider, or of a new one; None if the packages are missing."""
    try:
        from opentelemetry import trace  # an extra: as above
        from opentelemetry.sdk.trace import TracerProvider
    except ImportError:
        _warn()
        return None
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        _provide()
    return trace.get_tracer("runner")


def _provide() -> None:
    from opentelemetry import trace  # an extra: as above
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    timeout = None if "OTEL_EXPORTER_OTLP_TIMEOUT" in os.environ else _EXPORT_SECONDS
    named = {} if "OTEL_SERVICE_NAME" in os.environ else {SERVICE_NAME: "runner"}
    provider = TracerProvider(resource=Resource.create(named))
    # It restarts its thread in a forked process.
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=timeout)))
    trace.set_tracer_provider(provider)


@cache
def _warn() -> None:
    log.warning('OTEL_* variables ask for traces, and the packages are missing: pip install "celery-runner[otel]"')
