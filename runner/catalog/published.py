"""The jobs that a worker publishes for comparison with those of other processes."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from runner._dataclass import dataclass
from runner.catalog.catalog import Catalog

CONCEALED = frozenset({"env", "secrets"})
"""Options whose values are published as digests, because they may be passwords."""


@dataclass(frozen=True, slots=True)
class Published:
    """A job as a worker runs it: the digest of its options, and the options that differ from the defaults."""

    digest: str
    options: Mapping[str, Any]


def publish(catalog: Catalog, namespace: str) -> dict[str, Published]:
    """Return the jobs of a catalog by name.

    Args:
        catalog: the catalog.
        namespace: the namespace of the project; the digests of equal values differ between namespaces.
    """
    entries = ((name, catalog.jobs.entry(name)[0]) for name in catalog.jobs)
    return {
        name: Published(entry.digest, conceal(json.loads(entry.options), f"{namespace}\n{name}"))
        for name, entry in entries
    }


def conceal(options: Mapping[str, Any], salt: str) -> dict[str, Any]:
    """Return options with digests in place of values that may be passwords."""
    return {
        name: {step: conceal(own, f"{salt}\n{step}") for step, own in given.items()}
        if name == "steps"
        else {key: _digest(value, f"{salt}\n{key}") for key, value in given.items()}
        if name in CONCEALED and isinstance(given, Mapping)
        else given
        for name, given in options.items()
    }


def _digest(value: Any, salt: str) -> str:
    # Short: enough to see a change, but of little help for guessing the value.
    return "digest:" + hmac.new(salt.encode(), json.dumps(value).encode(), hashlib.sha256).hexdigest()[:8]


def write_published(jobs: Mapping[str, Published]) -> str:
    """Return published jobs as JSON text."""
    return json.dumps({name: [job.digest, job.options] for name, job in jobs.items()}, separators=(",", ":"))


def read_published(text: str) -> dict[str, Published]:
    """Return the published jobs of a text from :func:`write_published`."""
    return {name: Published(digest, options) for name, (digest, options) in json.loads(text).items()}
