"""Resolve the address of the project's Redis without redis-py, whose import takes longer than a submission."""

from __future__ import annotations

from runner import embedded
from runner.errors import InvalidSettings, Unavailable
from runner.settings import Settings
from runner.settings.redis_url import EMBEDDED, BadUrl, canonical

CONNECT_TIMEOUT = 5.0
"""Timeout of connecting (seconds)."""
ANSWER_TIMEOUT = 10.0
"""Timeout of an answer (seconds)."""


def resolve_url(settings: Settings, *, start: bool = True) -> str:
    """Return the URL of the project's Redis in redis-py's form.

    Args:
        start: whether to start an embedded server that is not running.

    Raises:
        Unavailable: the embedded server is not running and cannot, or shall not, be started.
        InvalidSettings: the URL is invalid.
    """
    if settings.redis_url == EMBEDDED:
        if start:
            return embedded.serve(settings)
        server = embedded.running(settings)
        if server is None:
            raise Unavailable(
                "the embedded server is not running", hint=f"runner --project {settings.project} up starts it"
            )
        return server.url
    try:
        return canonical(settings.redis_url)
    except BadUrl as bad:
        raise InvalidSettings(f"redis_url: {bad}") from bad
