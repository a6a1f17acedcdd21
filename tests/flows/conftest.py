"""What tests of flows share."""

from __future__ import annotations

from tests.support.bench import bench, server_settings, settings

__all__ = ["bench", "server_settings", "settings"]
