"""Everything that the page on RabbitMQ tells people to type is typed, on a real node, from top to bottom."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.house.test_docs_run import RABBITMQ, Reader, lines
from tests.support.project import write_project
from tests.support.rabbit import RabbitMQ, VirtualHost
from tests.support.servers import serving

pytestmark = pytest.mark.long

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class RabbitReader(Reader):
    """A reader whose RabbitMQ is the node of the tests."""

    node: RabbitMQ

    def real(self, text: str) -> str:
        """Replace the node's address, too."""
        return super().real(text.replace("localhost:5672", f"127.0.0.1:{self.node.port}"))


def test_what_the_page_says_works(rabbit_node: RabbitMQ, tmp_path: Path) -> None:
    jobs = {"hello": {"task": "work:hello"}}
    with serving("redis-tcp", tmp_path / "srv") as server:
        project = write_project(tmp_path / "p", server.url, jobs, {"work.py": "def hello(): return 1\n"})
        reader = RabbitReader(project, tmp_path, "")
        reader.node = rabbit_node
        kept = rabbit_node.environment
        variables = " ".join(
            shlex.quote(f"{name}={kept[name]}") for name in kept if name.startswith(("RABBITMQ", "ERL_"))
        )
        command = f'exec env {variables} HOME={shlex.quote(kept["HOME"])} {rabbit_node.program("rabbitmqctl")} "$@"'
        (tmp_path / "bin" / "rabbitmqctl").write_text(f"#!/bin/sh\n{command}\n")
        (tmp_path / "bin" / "rabbitmqctl").chmod(0o755)
        typed = 0
        try:
            for kind, text in BLOCK.findall(RABBITMQ.read_text("utf-8")):
                if kind == "yaml":
                    (project.path / "runner.yaml").write_text(reader.real(text))
                elif kind == "python":
                    (tmp_path / "block.py").write_text(reader.real(text))
                    reader.type(f"python {tmp_path}/block.py")
                else:
                    for line in lines(text):
                        reader.type(reader.real(line))
                        typed += 1
            queues = reader.run("rabbitmqctl list_queues -p jobs name").stdout
            assert "runner.default" in queues
            assert typed > 8
        finally:
            reader.end()
            VirtualHost(rabbit_node, "jobs").delete()
            rabbit_node.delete_user("worker")
