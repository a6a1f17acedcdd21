"""``runner metrics``."""

from __future__ import annotations

from pathlib import Path

import click

from runner.cli.terminal.group import verb
from runner.cli.terminal.opening import open_project
from runner.cli.terminal.output import Output


@verb(example="runner metrics\nrunner metrics --output /var/lib/prometheus/node-exporter/runner.prom")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the metrics to this file, atomically.",
)
def command(output: Path | None) -> int:
    """Print metrics in the Prometheus text format, as runner web serves them under /metrics.

    To collect metrics without an open port, let cron write them to a file for node_exporter's textfile collector.
    """
    from runner.actions.metrics import exposition, write  # start-up time: --help needs no ledger

    text = exposition(open_project())
    if output is not None:
        write(output, text)
    else:
        Output().data(text.removesuffix("\n"))
    return 0
