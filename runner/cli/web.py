"""``runner web``."""

from __future__ import annotations

import click

from runner.cli.terminal.group import verb
from runner.cli.terminal.interrupts import release
from runner.cli.terminal.opening import open_projects
from runner.cli.terminal.options import WholeNumber, json_option
from runner.cli.terminal.output import Output, warn_of_problems
from runner.cli.terminal.several_projects import Shown
from runner.errors import UsageError


@verb(example="runner web\nrunner web --new-token alice --role operate")
@click.option(
    "--host", metavar="ADDRESS", help="Listen on this address; by default, web.host of runner.yaml (127.0.0.1)."
)
@click.option(
    "--port",
    type=WholeNumber(0, 65535),
    help="Listen on this port instead of web.port (8420); 0 is any free port.",
)
@click.option(
    "--no-token", is_flag=True, help="Let every user of this host in if neither tokens nor a trusted proxy are set."
)
@click.option(
    "--new-token", "name", metavar="NAME", help="Create a token for this user, and print the lines for runner.yaml."
)
@click.option(
    "--role",
    type=click.Choice(["read", "operate", "admin"]),
    default="read",
    show_default=True,
    help="The role of the new token.",
)
@json_option
def command(host: str | None, port: int | None, no_token: bool, name: str | None, role: str, as_json: bool) -> int:
    """Serve the dashboard and the REST API until Ctrl-C.

    By default, only this host can reach it. To listen on another address, first set tokens or a trusted proxy in
    runner.yaml. Without them, a link with a token is printed at the start, which works once. API clients send that
    token as a bearer token.

    With more than one --project, the dashboard shows all of them. Access is controlled by `web` in the first one's
    runner.yaml.
    """
    try:
        # an extra: no other command needs these
        from runner.web.access import is_wildcard, new_token
        from runner.web.server import create_web_app
        from runner.web.serving import serve
    except ImportError as error:
        raise UsageError(
            f"runner web needs more packages ({error.name} is missing)", hint='pip install "celery-runner[web]"'
        ) from None
    out = Output(as_json=as_json)
    token, digest = new_token()
    if name is not None:
        _check_token_name(name)
        if as_json:
            out.document({"name": name, "token": token, "sha256": digest, "role": role})
        else:
            out.data(token)
        out.note(f"add to runner.yaml, below web: and tokens:\n  {name}: {{sha256: {digest}, role: {role}}}")
        return 0
    projects = open_projects()
    for project in projects.by_name.values():
        warn_of_problems(out, project)
    settings = projects.first.settings.web
    address = host or settings.host
    start_token = None if no_token or settings.tokens or settings.trusted_header else token
    app = create_web_app(projects, host=address, start_token=start_token)
    # Reports an unreachable Redis now, and not only on the first page.
    Shown(out, projects).read(lambda project: project.ledger.workers())
    if is_wildcard(address) and not settings.hosts:
        out.warn(
            "web.hosts is empty, so only requests to localhost and to addresses of this host are answered; "
            "add the names that browsers use"
        )

    def ready(url: str) -> None:
        link = f"{url}?token={start_token}" if start_token is not None else url
        if as_json:
            out.lines([{"url": url, "token": start_token, "link": link}])
        out.note(f"runner web ready: {link}")

    release()  # from here on, the server handles signals
    serve(app, host=address, port=settings.port if port is None else port, ready=ready)
    return 0


def _check_token_name(name: str) -> None:
    from runner.settings.options import NAMESPACE  # start-up time: --help reads no settings

    def refuse(path: tuple[str | int, ...], message: str, *, on_key: bool = False) -> None:  # noqa: ARG001
        raise UsageError(f"--new-token: {message}")

    NAMESPACE.read(name, (), refuse)
