"""Compute the digest of a job from its options as written in YAML, with all defaults merged in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def digest_of(options: Mapping[str, Any]) -> str:
    """Return the digest of a job's options."""
    return "sha256:" + hashlib.sha256(_CANONICAL.encode(options).encode()).hexdigest()
