"""What tests of the ledger share."""

from __future__ import annotations

from tests.support.bench import bench, other, server_settings, settings

__all__ = ["bench", "other", "server_settings", "settings"]
