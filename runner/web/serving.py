"""The server: its bounds, its log, and how it tells that it is ready."""

from __future__ import annotations

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
"""Connections that may wait until they are accepted; one that finds no place tries again after a second."""
TICKS_BETWEEN_CHECKS = 10
"""Uvicorn has ten ticks a second."""


class Server(uvicorn.Server):
    """Uvicorn's server, which looks after its connections and tells when it is ready."""

    def __init__(
        self, config: uvicorn.Config, bounds: Connections, ready: Callable[[], None], threads: int = 40
    ) -> None:
        super().__init__(config)
        self._threads = threads
        self._bounds = bounds
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and tell so."""
        anyio.to_thread.current_default_thread_limiter().total_tokens = self._threads
        await super().startup(sockets)
        for each in sockets or ():
            # Those that wait in the system take no descriptors: only as many as `backlog` are accepted at once.
            each.listen(WAITING)
        self._ready()

    async def on_tick(self, counter: int) -> bool:
        """Give up, once a second, who takes nothing."""
        if counter % TICKS_BETWEEN_CHECKS == 0:
            self._bounds.check_progress()
        return await super().on_tick(counter)


def serve(app: FastAPI, *, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve an application of :func:`runner.web.server.create_web_app` until SIGTERM or Ctrl-C.

    Args:
        app: what answers.
        host: the address to listen on.
        port: the port; 0 for a free one.
        ready: called with the URL once requests are answered.
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
    try:
        sockets = [config.bind_socket()]
    except SystemExit:
        raise UsageError(
            f"cannot listen on {host}, port {port}", hint="choose another port with --port, or 0 for a free one"
        ) from None
    bound = sockets[0].getsockname()
    shown = f"[{bound[0]}]" if ":" in str(bound[0]) else bound[0]
    Server(config, bounds, lambda: ready(f"http://{shown}:{bound[1]}/"), room.threads).run(sockets=sockets)
