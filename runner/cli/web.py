"""``runner web``."""

from __future__ import annotations

import socket

import click

from runner.cli.frame.group import verb
from runner.cli.frame.interrupts import release
from runner.cli.frame.opening import open_project
from runner.cli.frame.output import Output, warn_of_problems
from runner.errors import UsageError


@verb(example="runner web\nrunner web --new-token alice --role operate")
@click.option("--host", metavar="ADDRESS", help="Listen here instead of web.host (127.0.0.1).")
@click.option("--port", type=click.IntRange(0, 65535), help="Listen here instead of web.port (8420); 0: a free one.")
@click.option("--new-token", "name", metavar="NAME", help="Make a token for somebody, and the lines to paste.")
@click.option(
    "--role",
    type=click.Choice(["read", "operate", "admin"]),
    default="read",
    show_default=True,
    help="What the new token allows.",
)
def command(host: str | None, port: int | None, name: str | None, role: str) -> int:
    """Serve the dashboard and the REST API until Ctrl-C.

    Only this host can reach it unless --host says otherwise; then tokens, or a trusted proxy, say who may.
    """
    try:
        import uvicorn  # start-up time, and an extra: no other command needs it

        from runner.web.access import new_token
        from runner.web.protocol import Protocol
        from runner.web.server import create_web_app
    except ImportError as error:
        raise UsageError(
            f"the web needs more packages ({error.name} is missing)", hint='pip install "celery-runner[web]"'
        ) from None
    out = Output()
    if name is not None:
        token, digest = new_token()
        out.data(token)
        out.note(f"into runner.yaml, under web: and tokens:\n  {name}: {{sha256: {digest}, role: {role}}}")
        return 0
    project = open_project()
    warn_of_problems(out, project)
    settings = project.settings.web
    address = host or settings.host
    app = create_web_app(project, host=address)
    project.ledger.workers()  # an unreachable Redis is told before anybody looks
    config = uvicorn.Config(
        app,
        host=address,
        port=settings.port if port is None else port,
        http=Protocol,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=3,
    )
    release()  # the server's own handling of signals begins from here
    sockets = [config.bind_socket()]
    bound = sockets[0].getsockname()
    shown = f"[{bound[0]}]" if ":" in str(bound[0]) else bound[0]

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            out.note(f"runner web ready: http://{shown}:{bound[1]}/")

    Server(config).run(sockets=sockets)
    return 0
