"""The web server: its limits, its log, and the report that it is ready."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

import anyio.to_thread
import uvicorn
from fastapi import FastAPI

from runner.errors import UsageError
from runner.web.access import Access
from runner.web.connections import Connections, raise_file_limit, room_of
from runner.web.events import EventStream
from runner.web.log import set_up_log
from runner.web.protocol import protocol_within

WAITING = 511
"""How many connections may wait to be accepted. A client that finds the queue full tries again after a second."""
TICKS_BETWEEN_CHECKS = 10
"""Uvicorn has ten ticks a second."""


class Server(uvicorn.Server):
    """Uvicorn's server with limits on connections and a callback when it is ready."""

    def __init__(
        self, config: uvicorn.Config, bounds: Connections, ready: Callable[[], None], threads: int = 40
    ) -> None:
        super().__init__(config)
        self._threads = threads
        self._bounds = bounds
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and call ``ready``."""
        anyio.to_thread.current_default_thread_limiter().total_tokens = self._threads
        await super().startup(sockets)
        for listening in sockets or ():
            # Connections that wait in the system need no descriptors; only `backlog` are accepted at once.
            listening.listen(WAITING)
        self._ready()

    async def on_tick(self, counter: int) -> bool:
        """Once a second, close the connections whose clients do not read."""
        if counter % TICKS_BETWEEN_CHECKS == 0:
            self._bounds.check_progress()
        return await super().on_tick(counter)


def serve(app: FastAPI, *, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve an application of :func:`runner.web.server.create_web_app` until SIGTERM or Ctrl-C.

    Args:
        app: the application.
        host: the address to listen on.
        port: the port; 0 for a free one.
        ready: called with the URL as soon as requests are answered.
    """
    access: Access = app.state.runner.access
    room = room_of(raise_file_limit())
    bounds = Connections(room.connections, access.is_proxy)
    EventStream.bound(bounds.most)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=protocol_within(bounds),
        ws="none",
        backlog=room.backlog,
        log_config=None,
        access_log=False,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=3,
    )
    set_up_log()
    listening = _listen(host, port)
    bound = listening.getsockname()
    shown = f"[{bound[0]}]" if ":" in str(bound[0]) else bound[0]
    Server(config, bounds, lambda: ready(f"http://{shown}:{bound[1]}/"), room.threads).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Uvicorn's own would log the reason, and end the process with a code of its own.

    Raises:
        UsageError: the address or the port cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # As the system does by default, :: takes IPv4 as well.
    dual = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((host, port), family=family, backlog=WAITING, dualstack_ipv6=dual)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            what, hint = f"port {port} on {host} is in use", f"--port {port % 65535 + 1}, or --port 0 for any free port"
        elif error.errno == errno.EACCES:
            what, hint = f"this user may not listen on port {port}", "--port 8420"
        else:
            what, hint = f"cannot listen on {host}: {error.strerror}", "--host 127.0.0.1"
        raise UsageError(what, hint=f"choose another one: {hint}") from None
