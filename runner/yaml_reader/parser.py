"""The parser of PyYAML: that of libyaml if PyYAML was compiled with it, otherwise the one in Python."""

from __future__ import annotations

from typing import Any

import yaml

OPEN_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Only its events are used, never the values that it would construct."""
