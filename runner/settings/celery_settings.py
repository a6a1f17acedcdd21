"""The ``celery:`` section of ``runner.yaml``: settings that are passed on, and those that the runner sets itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from runner.model.option import INVALID, Path, Report, describe, did_you_mean

_JSON_ONLY = "messages and results are JSON only"
_LEDGER = "results are kept in the ledger"
_REDIS = "set redis_url, or broker_url for RabbitMQ"
_QUEUES = "set queue of a job, and worker.queues"
_CONNECTION = "the runner keeps its own connection, options of it go into redis_url (?socket_timeout=5)"
_TRUTH = "the runner's promises about runs depend on it"
_MESSAGES = "the runner names its own queues and exchanges, set namespace to keep projects apart"
_BEAT = "Celery's beat is not used"
_DELIVERY = "set delivery of a job (at_least_once, which is the default, or at_most_once), or defaults.delivery"
_TAKERS = "a worker prefetches nothing, each of its takers fetches its own next run"
_TEMPLATE = "a worker forks its takers from a template, and replaces a dead one at once"

OWNED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "accept_content": _JSON_ONLY,
        "result_accept_content": _JSON_ONLY,
        "task_serializer": _JSON_ONLY,
        "result_serializer": _JSON_ONLY,
        "event_serializer": _JSON_ONLY,
        "task_compression": _JSON_ONLY,
        "task_protocol": _TRUTH,
        "task_acks_late": _DELIVERY,
        "task_acks_on_failure": _DELIVERY,
        "task_acks_on_failure_or_timeout": _DELIVERY,
        "task_acks_on_timeout": _DELIVERY,
        "task_reject_on_worker_lost": _DELIVERY,
        "task_retry_on_worker_lost": _DELIVERY,
        "task_track_started": _TRUTH,
        "task_ignore_result": _TRUTH,
        "task_store_errors_even_if_ignored": _TRUTH,
        "task_always_eager": "use runner run JOB to run a job here and now",
        "task_eager_propagates": "use runner run JOB to run a job here and now",
        "task_store_eager_result": "use runner run JOB to run a job here and now",
        "task_annotations": "set the options of jobs in jobs.d, or under defaults",
        "task_default_rate_limit": "set rate of a job, or defaults.rate",
        "task_time_limit": "set timeout of a job, or defaults.timeout",
        "task_soft_time_limit": "set soft_timeout of a job, or defaults.soft_timeout",
        "task_default_priority": "set priority of a job, or defaults.priority",
        "task_inherit_parent_priority": "set priority of a job, or defaults.priority",
        "task_queue_max_priority": "set priority of a job, or defaults.priority",
        "task_default_queue": _QUEUES,
        "task_default_queue_type": _QUEUES,
        "task_queues": _QUEUES,
        "task_routes": _QUEUES,
        "task_create_missing_queues": _QUEUES,
        "task_create_missing_queue_type": _QUEUES,
        "task_create_missing_queue_exchange_type": _QUEUES,
        "task_default_exchange": _MESSAGES,
        "task_default_exchange_type": _MESSAGES,
        "task_default_routing_key": _MESSAGES,
        "task_default_delivery_mode": _TRUTH,
        "task_publish_retry": "a run and its message are written in one step, with the runner's own retries",
        "task_publish_retry_policy": "a run and its message are written in one step, with the runner's own retries",
        "task_send_sent_event": "the ledger reports submissions",
        "include": "write a job's task as module:attribute, the worker imports it; other modules go into setup",
        "imports": "write a job's task as module:attribute, the worker imports it; other modules go into setup",
        "control_exchange": _MESSAGES,
        "event_exchange": _MESSAGES,
        "event_queue_prefix": _MESSAGES,
        "enable_utc": "times are stored in UTC; set timezone at the top of runner.yaml",
        "timezone": "write it at the top of runner.yaml, not under celery",
        "worker_concurrency": "set worker.concurrency",
        "worker_max_tasks_per_child": "set worker.recycle.runs",
        "worker_max_memory_per_child": "set worker.recycle.memory",
        "worker_enable_remote_control": "set worker.remote_control",
        "worker_consumer": _TRUTH,
        "worker_redirect_stdouts": "the output of a run is kept in its log (runner logs ID)",
        "worker_redirect_stdouts_level": "the output of a run is kept in its log (runner logs ID)",
        "worker_deduplicate_successful_tasks": _TRUTH,
        "worker_pool_restarts": _TRUTH,
        "worker_cancel_long_running_tasks_on_connection_loss": _TRUTH,
        "worker_prefetch_multiplier": _TAKERS,
        "worker_disable_prefetch": _TAKERS,
        "worker_enable_prefetch_count_reduction": _TAKERS,
        "worker_pool_putlocks": _TAKERS,
        "worker_pool_start_method": _TEMPLATE,
        "worker_proc_alive_timeout": _TEMPLATE,
        "worker_lost_wait": _TEMPLATE,
        "worker_disable_rate_limits": "set rate of a job to limit how many runs start",
        "worker_direct": _QUEUES,
        "worker_detect_quorum_queues": "RabbitMQ queues of any type are used unchanged",
        "worker_state_db": "revocations are kept in the ledger",
        "worker_eta_task_limit": "runs with an eta wait in Redis, not in the worker",
        "worker_soft_shutdown_timeout": "set worker.shutdown_grace",
        "worker_enable_soft_shutdown_on_idle": "set worker.shutdown_grace",
    }
)
"""Settings that are refused, with the alternatives."""

_OWNED_FAMILIES = (
    # Patterns for settings that are not in OWNED; the first match counts.
    (r"broker_(read_|write_)?url|broker_(host|port|user|password|vhost|transport)", _REDIS),
    (r"broker_.*", _CONNECTION),
    (r"redis_.*", _CONNECTION),
    (r"result_expires|result_failure_expires", "set retention.result"),
    (r"result_(backend|cache|chord|compression|exchange|extended|persistent).*", _LEDGER),
    (
        r"(arangodb|azureblockblob|cache|cassandra|cosmosdbsql|couchbase|database|dynamodb|elasticsearch|gcs"
        r"|mongodb|s3)_.*",
        _LEDGER,
    ),
    (r"security_.*", _JSON_ONLY),
    (r"beat_.*", _BEAT),
)


def owned(name: str) -> str | None:
    """Return the reason for refusing ``name`` and the alternative, or None if it is passed on."""
    if name in OWNED:
        return OWNED[name]
    return next((remedy for family, remedy in _OWNED_FAMILIES if re.fullmatch(family, name)), None)


class CelerySettings:
    """The type of the ``celery`` option: a mapping of lower-case Celery settings."""

    from_variable = False

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, Mapping):
            report(path, f"expected a mapping of Celery settings, got {describe(value)}")
            return INVALID
        passed = {name: item for name, item in value.items() if self._passes(name, (*path, name), report)}
        return MappingProxyType(passed) if len(passed) == len(value) else INVALID

    def _passes(self, name: str, path: Path, report: Report) -> bool:
        remedy = owned(name)
        if remedy is not None:
            report(path, f"is owned by the runner: {remedy}", on_key=True)
            return False
        known = _known()
        if name in known:
            return True
        lower = name.lower()
        plain = lower.removeprefix("celery_").replace("celeryd_", "worker_")
        guess = next((setting for setting in (lower, plain) if setting in known), None)
        close = f", did you mean {guess}?" if guess else did_you_mean(plain, known)
        report(path, f"is not one of Celery's lower-case settings{close}", on_key=True)
        return False

    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "propertyNames": {
                "pattern": "^[a-z][a-z0-9_]*$",
                "not": {
                    "anyOf": [
                        {"enum": sorted(OWNED)},
                        {"pattern": f"^({'|'.join(family for family, _ in _OWNED_FAMILIES)})$"},
                    ]
                },
            },
        }

    def write(self, value: Any) -> Any:
        return dict(value)


def _known() -> frozenset[str]:
    # start-up time: few projects have a `celery:` section, and every command reads settings
    from celery.app.defaults import NAMESPACES, flatten

    return frozenset(name for name, _ in flatten(NAMESPACES))
