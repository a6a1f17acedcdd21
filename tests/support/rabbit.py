"""A RabbitMQ node for tests: Debian's rabbitmq-server on free loopback ports, in its own folder."""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import amqp

from tests.support.deadline import wait_until
from tests.support.erlang import Erlang
from tests.support.need import need
from tests.support.processes import end_session
from tests.support.servers import free_port

USER = "tests"
_RUN = "RUNNER_TEST_RUN"
"""The variable with the name of this test run."""
_SCRIPTS = Path("/usr/lib/rabbitmq/bin")
"""Debian's commands on PATH require root, and then switch to the user `rabbitmq`; these do not."""
_WATERMARK = 0.4
_FRUGAL = "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none"
"""Idle Erlang schedulers spin, which takes CPU time from the tested code."""


class RabbitMQ:
    """A node that can be stopped, killed, and started again, with the same data and ports.

    Args:
        folder: the folder for its data, log, and cookie. A node that another process has started there is joined.
        config: more settings for ``rabbitmq.conf``.
    """

    def __init__(self, folder: Path, config: Mapping[str, str] | None = None) -> None:
        need("rabbitmq-server")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        begun = folder / "begun.json"
        if not begun.exists():
            ports = [free_port(), free_port(), free_port()]
            begun.write_text(json.dumps([*ports, secrets.token_hex(8), f"t{uuid.uuid4().hex[:8]}@localhost"]))
            self._configure(json.loads(begun.read_text()), config or {})
        self.port, self._epmd_port, self._distribution_port, self.password, self.node = json.loads(begun.read_text())
        self._process: subprocess.Popen[bytes] | None = None
        self._epmd: subprocess.Popen[bytes] | None = None
        self._erlang: Erlang | None = None

    def _configure(self, begun: Sequence[Any], config: Mapping[str, str]) -> None:
        folder, own = (
            self.folder,
            {
                "listeners.tcp.default": f"127.0.0.1:{begun[0]}",
                "default_user": USER,
                "default_pass": begun[3],
                "disk_free_limit.absolute": "1MB",
                "vm_memory_high_watermark.relative": str(_WATERMARK),
                **config,
            },
        )
        (folder / "rabbitmq.conf").write_text("".join(f"{name} = {value}\n" for name, value in own.items()))
        (folder / "enabled_plugins").write_text("[].\n")
        cookie = folder / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(10))
        cookie.chmod(0o400)

    # -- start and stop

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of its programs, such as ``rabbitmqctl``."""
        folder = str(self.folder)
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))},
            "HOME": folder,
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_CRASH_DUMP_SECONDS": "0",
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
            "RABBITMQ_LOG_BASE": folder,
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONF_ENV_FILE": f"{folder}/none",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{folder}/none.config",
            "RABBITMQ_GENERATED_CONFIG_DIR": f"{folder}/config",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins",
            "RABBITMQ_PID_FILE": f"{folder}/pid",
            # Make this process the node itself, and not a child of a shell that traps signals.
            "RUNNING_UNDER_SYSTEMD": "true",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{_FRUGAL} -kernel inet_dist_use_interface {{127,0,0,1}}",
        }

    def _begin(self, words: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                words,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start(self) -> tuple[int, int]:
        """Start the node with its existing data; return the sessions of its processes once it answers."""
        if self._epmd is None:
            # Otherwise the node starts an epmd that outlives it.
            self._epmd = self._begin([need("epmd"), "-port", str(self._epmd_port), "-address", "127.0.0.1"])
        self._process = self._begin([self.program("rabbitmq-server")])
        wait_until(self._answers, 150.0, "rabbitmq-server answers")
        return self._process.pid, self._epmd.pid

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log[-6000:]
        try:
            self.connect().close()
        except (OSError, amqp.AMQPError):
            return False
        return True

    @property
    def log(self) -> str:
        """Return its log so far."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def stop(self) -> None:
        """Stop RabbitMQ like `systemctl stop`, which notifies clients."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the node with SIGKILL."""
        self._end(signal.SIGKILL)

    def leave(self) -> None:
        """Close the connection for Erlang expressions; the node continues to run."""
        erlang, self._erlang = self._erlang, None
        if erlang is not None:
            erlang.close()

    def _end(self, number: int) -> None:
        self.leave()
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(30.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        end_session(process.pid)

    def close(self) -> None:
        """End the node and its helper processes."""
        self.kill()
        epmd, self._epmd = self._epmd, None
        if epmd is not None:
            epmd.kill()
            epmd.wait()

    # -- administration

    @staticmethod
    def program(name: str) -> str:
        """Return the path of one of its programs; the program needs :attr:`environment`."""
        script = _SCRIPTS / name
        return str(script) if script.exists() else need(name)

    def ctl(self, *words: str) -> str:
        """Return the output of ``rabbitmqctl WORDS``, which takes a second or two."""
        done = subprocess.run(
            [self.program("rabbitmqctl"), "--quiet", *words],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60.0,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode() or done.stdout.decode()
        return done.stdout.decode()

    def erlang(self, expressions: str) -> str:
        """Return the value of Erlang expressions in the node, within milliseconds."""
        if self._erlang is None:
            self._erlang = Erlang(self.node, self.folder, self.environment)
        return self._erlang.ask(expressions)

    def add_vhost(self, name: str) -> VirtualHost:
        """Create a virtual host with full permissions for the user of the tests."""
        self.erlang(f"rabbit_vhost:add({_text(name)}, {_text(USER)})")
        host = VirtualHost(self, name)
        host.permit(USER)
        return host

    def add_user(self, name: str, password: str) -> None:
        """Create a user without permissions."""
        self.erlang(f"rabbit_auth_backend_internal:add_user({_text(name)}, {_text(password)}, {_text(USER)})")

    def delete_user(self, name: str) -> None:
        """Delete a user."""
        self.erlang(f"rabbit_auth_backend_internal:delete_user({_text(name)}, {_text(USER)})")

    @contextmanager
    def out_of_memory(self) -> Iterator[None]:
        """Raise the memory alarm for the duration of the ``with``: all publishers are blocked."""
        self.erlang("vm_memory_monitor:set_vm_memory_high_watermark(0.0)")
        try:
            yield
        finally:
            self.erlang(f"vm_memory_monitor:set_vm_memory_high_watermark({_WATERMARK})")

    def consumer_timeout(self, milliseconds: int) -> None:
        """Close later channels if their consumers hold a message for longer than this."""
        self.erlang(
            f"application:set_env(rabbit, consumer_timeout, {milliseconds}), "
            f"application:set_env(rabbit, channel_tick_interval, {max(100, milliseconds // 4)})"
        )

    def connect(self, vhost: str = "/", user: str = USER, password: str | None = None) -> amqp.Connection:
        """Return a new connection, to inspect the broker directly."""
        connection = amqp.Connection(
            f"127.0.0.1:{self.port}",
            userid=user,
            password=self.password if password is None else password,
            virtual_host=vhost,
            connect_timeout=5.0,
            read_timeout=30.0,
            write_timeout=30.0,
        )
        connection.connect()
        return connection


@dataclass(frozen=True)
class VirtualHost:
    """A virtual host of a node, isolated from all others."""

    node: RabbitMQ
    name: str

    @property
    def url(self) -> str:
        """Return its URL for the user of the tests."""
        return self.url_of(USER, self.node.password)

    def url_of(self, user: str, password: str, port: int | None = None) -> str:
        """Return its URL for another user, or (``port``) through a proxy."""
        where = f"{quote(user, '')}:{quote(password, '')}@127.0.0.1:{port or self.node.port}"
        return f"amqp://{where}/{quote(self.name, '')}"

    def connect(self) -> amqp.Connection:
        """Return a new connection."""
        return self.node.connect(self.name)

    def permit(self, user: str, configure: str = ".*", write: str = ".*", read: str = ".*") -> None:
        """Set a user's permissions to configure, write, and read matching names; an empty text matches nothing."""
        arguments = ", ".join(_text(argument) for argument in (user, self.name, configure, write, read, USER))
        self.node.erlang(f"rabbit_auth_backend_internal:set_permissions({arguments})")

    def forbid(self, user: str) -> None:
        """Remove a user's permission to use this host."""
        words = ", ".join(_text(each) for each in (user, self.name, USER))
        self.node.erlang(f"rabbit_auth_backend_internal:clear_permissions({words})")

    def queues(self) -> dict[str, int]:
        """Return the number of messages in each queue, including those that a consumer holds."""
        answer = self.node.erlang(
            "[begin [{name, {resource, _, queue, Name}}, {messages, Count}] = "
            "rabbit_amqqueue:info(Q, [name, messages]), {Name, Count} end "
            f"|| Q <- rabbit_amqqueue:list({_text(self.name)})]"
        )
        return {name: int(count) for name, count in re.findall(r'\{<<"([^"]*)">>,(\d+)\}', answer)}

    def declare(self, queue: str, *, durable: bool = True, exclusive: bool = False, **arguments: Any) -> None:
        """Declare a queue like another program; ``x_max_priority=10`` is the argument ``x-max-priority``."""
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        with self.connect() as connection:
            connection.channel().queue_declare(
                queue, durable=durable, exclusive=exclusive, auto_delete=False, arguments=named
            )

    def publish(self, queue: str, *bodies: bytes | str, **properties: Any) -> None:
        """Publish messages to a queue through the default exchange; they have arrived when this returns."""
        with self.connect() as connection:
            channel = connection.channel()
            for body in bodies:
                channel.basic_publish_confirm(amqp.Message(body, **properties), routing_key=queue)

    def consumers(self, queue: str) -> int:
        """Return the number of consumers of a queue; 0 if there is no such queue."""
        try:
            with self.connect() as connection:
                return int(connection.channel().queue_declare(queue, passive=True).consumer_count)
        except (OSError, amqp.AMQPError):
            return 0

    def purge(self, queue: str) -> int:
        """Remove the messages of a queue that no consumer holds; return their number."""
        with self.connect() as connection:
            return int(connection.channel().queue_purge(queue))

    def delete_queue(self, queue: str) -> None:
        """Delete a queue with its messages."""
        with self.connect() as connection:
            connection.channel().queue_delete(queue)

    def close_connections(self) -> int:
        """Close every connection to this host from the server's side; return their number."""
        answer = self.node.erlang(
            # One may end by itself meanwhile.
            'length([catch rabbit_networking:close_connection(Pid, "closed by the test") || '
            "Pid <- rabbit_networking:connections(), "
            f"(catch rabbit_networking:connection_info(Pid, [vhost])) =:= [{{vhost, {_text(self.name)}}}]])"
        )
        return int(answer)

    def delete(self) -> None:
        """Delete the virtual host with everything in it."""
        self.node.erlang(f"rabbit_vhost:delete({_text(self.name)}, {_text(USER)})")


@contextmanager
def rabbit(folder: Path, config: Mapping[str, str] | None = None) -> Iterator[RabbitMQ]:
    """Run a node for the duration of the ``with``, for a test that stops or configures it; starting takes seconds."""
    node = RabbitMQ(folder, config)
    try:
        node.start()
        yield node
    finally:
        node.close()


_shared: list[RabbitMQ] = []


def shared_node() -> RabbitMQ:
    """Return the node of this test run, started at the first call in any process. Tests must not stop or block it."""
    if not _shared:
        folder = _shared_folder()
        folder.mkdir(exist_ok=True)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            node = RabbitMQ(folder)
            if not (folder / "sessions").exists():
                try:
                    (folder / "sessions").write_text(" ".join(map(str, node.start())))
                except BaseException:
                    # No other process would end it.
                    node.close()
                    raise
        _shared.append(node)
        atexit.register(node.leave)
        if _RUN not in os.environ:
            atexit.register(end_shared_node)
    return _shared[0]


def end_shared_node() -> None:
    """End the node of this test run, if there is one; called by the first process of the run."""
    while _shared:
        _shared.pop().leave()
    folder = _shared_folder()
    if folder.exists():
        for session in (folder / "sessions").read_text().split() if (folder / "sessions").exists() else ():
            end_session(int(session))
        shutil.rmtree(folder, ignore_errors=True)


def _shared_folder() -> Path:
    # Not below the folder of the tests: fault suites use it without such a folder.
    return Path("/tmp") / f"rabbit-{os.environ.get(_RUN) or os.getpid()}"


def chosen_broker() -> str:
    """Return the broker of the test run: ``RUNNER_TEST_BROKER``, redis (default) or rabbitmq."""
    broker = os.environ.get("RUNNER_TEST_BROKER") or "redis"
    if broker not in ("redis", "rabbitmq"):
        raise ValueError(f"RUNNER_TEST_BROKER={broker}: write redis or rabbitmq")
    return broker


@contextmanager
def virtual_host(node: RabbitMQ) -> Iterator[VirtualHost]:
    """Yield a virtual host for the duration of the ``with``."""
    host = node.add_vhost(f"t{uuid.uuid4().hex[:10]}")
    try:
        yield host
    finally:
        host.delete()


def _text(text: str) -> str:
    """Return a text as an Erlang binary."""
    return '<<"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"/utf8>>'
