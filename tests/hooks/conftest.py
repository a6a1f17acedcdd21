"""What tests of hooks share: a ledger worked by hand, and notes of real workers."""

from __future__ import annotations

from tests.support.bench import bench, other, server_settings, settings
from tests.support.work import notes

__all__ = ["bench", "notes", "other", "server_settings", "settings"]
