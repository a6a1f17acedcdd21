"""Metrics for Prometheus: the counters of the ledger, and current values."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner._version import __version__
from runner.actions.approvals import waiting_approvals
from runner.actions.broker import HintQueues, ask_broker
from runner.actions.tick import Engine
from runner.errors import UsageError
from runner.ledger.fleet import read_queues, read_workers
from runner.ledger.health.successes import overdue_successes
from runner.ledger.metrics import BUCKETS, Counts, Times, read_counts
from runner.ledger.pauses import read_pauses
from runner.ledger.unarchived import Backlog, read_backlog
from runner.model.queue import Queue
from runner.model.run import FailureReason, State
from runner.model.worker import Worker

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from runner.actions.project import Project
    from runner.catalog.catalog import Catalog


def exposition(project: Project) -> str:
    """Return all metrics in Prometheus' text format.

    Raises:
        UsageError: the package prometheus-client is missing.
        Unavailable: Redis cannot be reached.
    """
    try:
        from prometheus_client import CollectorRegistry, generate_latest  # an extra: most projects export no metrics
    except ImportError:
        raise UsageError(
            "metrics need one more package (prometheus_client is missing)", hint='pip install "celery-runner[metrics]"'
        ) from None
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(list(families(project))))
    return generate_latest(registry).decode()


def write(path: Path, text: str) -> None:
    """Write metrics to a file atomically, because a collector may read it at any moment.

    Raises:
        UsageError: the file cannot be written.
    """
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            file.write(text)
            # The collector runs as another user.
            os.fchmod(file.fileno(), 0o644)
        Path(file.name).replace(path)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}", hint="name a file in a folder of yours"
        ) from error


def deadlines(catalog: Catalog) -> dict[str, float]:
    """Return the deadlines of jobs in seconds (``alert_if_no_success``)."""
    jobs = (catalog.jobs[name] for name in sorted(catalog.jobs))
    return {job.name: job.alert_if_no_success for job in jobs if job.alert_if_no_success is not None and job.enabled}


class _Once:
    """A collector of already gathered metrics, so that an error of Redis is raised as a RunnerError."""

    def __init__(self, found: Iterable[Metric]) -> None:
        self._found = found

    def collect(self) -> Iterable[Metric]:
        return self._found


def families(project: Project) -> Iterator[Metric]:
    """Yield the metrics with their samples. Times are in seconds.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    from prometheus_client.core import InfoMetricFamily  # an extra: as above

    counts = read_counts(project.ledger)
    info = InfoMetricFamily("runner", "The runner that tells this.")
    info.add_metric([], {"version": __version__, "namespace": project.settings.namespace})
    yield info
    yield from _counted(_from_the_start(counts, project.catalog))
    yield from _standing(counts)
    queues = read_queues(project.ledger)
    yield from _queues(queues)
    yield from _broker(ask_broker(project, [queue.name for queue in queues]))
    yield from _workers(read_workers(project.ledger))
    yield from _jobs(project)
    if project.settings.archive_url is not None:
        yield from _archive(counts, read_backlog(project.ledger))


def _archive(counts: Counts, backlog: Backlog) -> Iterator[Metric]:
    yield _counter("runner_archived_runs", "Runs that were copied to the archive.", (), {(): counts.archived})
    yield _gauge("runner_archive_waiting", "Runs that have ended and wait to be copied.", (), {(): backlog.runs})
    yield _gauge(
        "runner_archive_lag_seconds",
        "How long the run has waited to be copied that retention removes first.",
        (),
        {(): backlog.lag},
    )


def _from_the_start(counts: Counts, catalog: Catalog) -> Counts:
    """Return the counts with zeros for all outcomes of declared jobs, so that increase() sees the first one."""
    for job in catalog.jobs.digests():
        counts.runs.setdefault((job, str(State.SUCCESS), ""), 0)
        for reason in FailureReason:
            counts.runs.setdefault((job, str(State.FAILURE), str(reason)), 0)
        for counter in (counts.retries, counts.losses, counts.redeliveries):
            counter.setdefault(job, 0)
    return counts


def _counted(counts: Counts) -> Iterator[Metric]:
    yield _counter("runner_runs", "Runs that ended.", ("job", "state", "reason"), counts.runs)
    yield _counter("runner_submissions", "Runs that were recorded.", ("job", "trigger"), counts.submissions)
    yield _counter("runner_retries", "Attempts that failed and are tried again.", ("job",), counts.retries)
    yield _counter(
        "runner_lost_attempts", "Attempts that vanished with their worker or process.", ("job",), counts.losses
    )
    yield _counter(
        "runner_redeliveries",
        "Messages that came back from a worker or process that is gone.",
        ("job",),
        counts.redeliveries,
    )
    yield _histogram("runner_wait_seconds", "From when a run was due to its first start.", counts.waited)
    yield _histogram(
        "runner_run_seconds",
        "From the last start of a run to the end of that attempt, which ended the run.",
        counts.ran,
    )


def _standing(counts: Counts) -> Iterator[Metric]:
    yield _gauge(
        "runner_active_runs",
        "Runs that have not ended, without step runs.",
        ("state",),
        {str(state): number for state, number in counts.active.items()},
    )
    yield _gauge(
        "runner_active_step_runs",
        "Step runs of flows that have not ended.",
        ("state",),
        {str(state): number for state, number in counts.active_steps.items()},
    )
    yield _gauge("runner_leases", "Messages that workers hold.", (), {(): counts.leases})
    yield _gauge("runner_dead_letters", "Messages that no worker could act on.", (), {(): counts.dead_letters})
    seconds = {job: at / 1000 for job, at in counts.succeeded.items()}
    yield _gauge("runner_last_success_timestamp_seconds", "When a job succeeded last.", ("job",), seconds)


def _queues(queues: list[Queue]) -> Iterator[Metric]:
    for name, field, help_text in (
        ("runner_queue_waiting", "waiting", "Messages that wait in a queue."),
        ("runner_queue_delayed", "delayed", "Runs that come to a queue later."),
        ("runner_queue_held", "held", "Runs that wait for a job, their rate, a slot, or the end of a pause."),
        ("runner_queue_workers", "workers", "Live workers that take from a queue."),
        ("runner_queue_oldest_seconds", "oldest", "How long the run that is next in a queue waits."),
    ):
        yield _gauge(name, help_text, ("queue",), {queue.name: getattr(queue, field) or 0 for queue in queues})


def _broker(broker: HintQueues | None) -> Iterator[Metric]:
    """Yield the metrics of RabbitMQ; nothing if Redis is the broker."""
    if broker is None:
        return
    yield _gauge("runner_broker_up", "1 if RabbitMQ answers.", (), {(): int(broker.trouble is None)})
    yield _gauge("runner_hints_unpublished", "Hints to publish to RabbitMQ.", (), {(): broker.unpublished})
    hints = {queue: seen.hints for queue, seen in (broker.queues or {}).items() if seen.hints is not None}
    yield _gauge("runner_queue_hints", "Hints in RabbitMQ, which wake idle workers.", ("queue",), hints)


def _workers(workers: list[Worker]) -> Iterator[Metric]:
    states = dict.fromkeys(("running", "stopping", "lost"), 0)
    for worker in workers:
        states[worker.state] += 1
    yield _gauge("runner_workers", "Workers; lost are those that fell silent within a day.", ("state",), states)
    live = [worker for worker in workers if not worker.lost]
    for name, field, help_text in (
        ("runner_worker_concurrency", "concurrency", "Runs that a worker performs at once."),
        ("runner_worker_running", "running", "Runs that a worker performs now."),
    ):
        yield _gauge(name, help_text, ("worker",), {worker.name: getattr(worker, field) for worker in live})


def _jobs(project: Project) -> Iterator[Metric]:
    limits = deadlines(project.catalog)
    yield _gauge("runner_success_deadline_seconds", "alert_if_no_success of a job.", ("job",), {**limits})
    late = overdue_successes(project.ledger, limits)
    yield _gauge(
        "runner_success_overdue",
        "1 if a job has not succeeded for longer than alert_if_no_success.",
        ("job",),
        {job: int(is_late) for job, is_late in late.items()},
    )
    waiting = {approvals.job: approvals.count for approvals in waiting_approvals(project)}
    steps = dict.fromkeys(project.catalog.jobs.with_option("approval"), 0)
    yield _gauge("runner_waiting_approvals", "Runs of an approval step that wait.", ("job",), {**steps, **waiting})
    pauses = dict.fromkeys(read_pauses(project.ledger), 1)
    yield _gauge("runner_paused", "1 for each job that is paused; * stands for all.", ("job",), pauses)
    scheduled = [job.name for job in project.catalog.jobs.values() if job.schedule and job.enabled]
    if scheduled and project.settings.schedules:
        behind = Engine(project).behind()
        lag = {job: max(0, behind.now - behind.due.get(job, behind.now)) / 1000 for job in scheduled}
        yield _gauge("runner_schedule_lag_seconds", "How long a slot is due that nobody has submitted.", ("job",), lag)
        unseen = {job: int(job in behind.unseen) for job in scheduled}
        yield _gauge("runner_schedule_unseen", "1 if no tick and no scheduler has seen a schedule.", ("job",), unseen)


def _counter(name: str, help_text: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Metric:
    from prometheus_client.core import CounterMetricFamily  # an extra: as above

    family = CounterMetricFamily(name, help_text, labels=labels)
    for key, value in values.items():
        family.add_metric(_labels(key), value)
    return family


def _gauge(name: str, help_text: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Metric:
    from prometheus_client.core import GaugeMetricFamily  # an extra: as above

    family = GaugeMetricFamily(name, help_text, labels=labels)
    for key, value in values.items():
        family.add_metric(_labels(key), value)
    return family


def _histogram(name: str, help_text: str, values: Mapping[str, Times]) -> Metric:
    from prometheus_client.core import HistogramMetricFamily  # an extra: as above

    family = HistogramMetricFamily(name, help_text, labels=("job",))
    for job, times in values.items():
        buckets, total = [], 0
        for edge, number in zip((*BUCKETS, None), times.counts, strict=True):
            total += number
            buckets.append(("+Inf" if edge is None else str(edge / 1000), total))
        family.add_metric([job], buckets, times.total / 1000)
    return family


def _labels(key: Any) -> tuple[str, ...]:
    return key if isinstance(key, tuple) else (key,)
