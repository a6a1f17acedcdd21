"""What tests of the archive share."""

from __future__ import annotations

from tests.support.archives import archive, archive_url, postgres_url
from tests.support.bench import bench, server_settings, settings

__all__ = ["archive", "archive_url", "bench", "postgres_url", "server_settings", "settings"]
