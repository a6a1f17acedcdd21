"""The address of the project's Redis, without redis-py, whose import takes longer than a submission."""

from __future__ import annotations

from runner import embedded
from runner.errors import InvalidSettings, Unavailable
from runner.settings import Settings
from runner.settings.redis_url import EMBEDDED, BadUrl, canonical

CONNECT_TIMEOUT = 5.0
"""Seconds to wait for a connection."""
ANSWER_TIMEOUT = 10.0
"""Seconds to wait for an answer."""


def resolve_url(settings: Settings, *, start: bool = True) -> str:
    """Return the URL of the project's Redis, in the form that redis-py reads.

    Args:
        start: whether an embedded server that does not run is started.

    Raises:
        Unavailable: the embedded server does not run and cannot, or shall not, be started.
        InvalidSettings: the URL is none.
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
