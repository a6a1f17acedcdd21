"""The jobs that a worker publishes, so that others can compare theirs."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from runner._dataclass import dataclass
from runner.catalog.catalog import Catalog

CONCEALED = frozenset({"env", "secrets"})
"""Options whose values are told as digests: they may be passwords."""


@dataclass(frozen=True, slots=True)
class Published:
    """A job as a worker runs it: the digest of its spec, and its options that are not default."""

    digest: str
    options: Mapping[str, Any]


def publish(catalog: Catalog, namespace: str) -> dict[str, Published]:
    """Return the jobs of a catalog by name.

    Args:
        catalog: whose.
        namespace: of the project; values that are concealed read differently in another one.
    """
    entries = ((name, catalog.jobs.entry(name)[0]) for name in catalog.jobs)
    return {
        name: Published(entry.digest, conceal(json.loads(entry.options), f"{namespace}\n{name}"))
        for name, entry in entries
    }


def conceal(options: Mapping[str, Any], salt: str) -> dict[str, Any]:
    """Return options with digests in place of what may be a password."""
    return {
        name: {step: conceal(own, f"{salt}\n{step}") for step, own in given.items()}
        if name == "steps"
        else {key: _digest(value, f"{salt}\n{key}") for key, value in given.items()}
        if name in CONCEALED and isinstance(given, Mapping)
        else given
        for name, given in options.items()
    }


def _digest(value: Any, salt: str) -> str:
    # Short: enough to see that it changed, and little help to who would guess it.
    return "digest:" + hmac.new(salt.encode(), json.dumps(value).encode(), hashlib.sha256).hexdigest()[:8]


def write_published(jobs: Mapping[str, Published]) -> str:
    """Return published jobs as JSON text."""
    return json.dumps({name: [each.digest, each.options] for name, each in jobs.items()}, separators=(",", ":"))


def read_published(text: str) -> dict[str, Published]:
    """Read the text that :func:`write_published` wrote."""
    return {name: Published(digest, options) for name, (digest, options) in json.loads(text).items()}
