"""The parser of PyYAML that is used: libyaml's where PyYAML was compiled with it, else the one in Python."""

from __future__ import annotations

from typing import Any

import yaml

OPEN_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Only events are taken from it."""
