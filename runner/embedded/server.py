"""Start, find, and stop the embedded server.

Most commands find the server running, so the code that starts and stops it is imported only when it is needed.
"""

from __future__ import annotations

from runner.embedded import state
from runner.embedded.state import ServerInfo
from runner.errors import InvalidSettings
from runner.settings import Settings


def serve(settings: Settings) -> str:
    """Return the URL of the project's server, starting it if it is not running.

    Raises:
        Unavailable: it cannot be started; the message has the reason, and the hint the remedy.
        InvalidSettings: ``RUNNER_EMBEDDED=0`` forbids it.
    """
    if not settings.embedded_allowed:
        raise InvalidSettings(
            "redis_url is embedded, and RUNNER_EMBEDDED=0 forbids the embedded server",
            hint="write the URL of your Redis into redis_url or RUNNER_REDIS_URL, or unset RUNNER_EMBEDDED",
        )
    found = state.read_running(settings.state_dir)
    if found is None:
        from runner.embedded.starting import start  # start-up time: nearly every command finds the server running

        found = start(settings.state_dir)
    return found.url


def running(settings: Settings) -> ServerInfo | None:
    """Return the running server or None, without starting it."""
    return state.read_running(settings.state_dir)


def stop(settings: Settings) -> bool:
    """Stop the server once its data is on disk; return whether one was running.

    Raises:
        Unavailable: it does not end, or it belongs to another user.
    """
    from runner.embedded.stopping import stop  # start-up time: only `runner down` stops it

    return stop(settings.state_dir)
