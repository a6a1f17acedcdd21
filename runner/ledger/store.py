"""The ledger's connection to Redis: a client, scripts, confirmed writes, and Redis' clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from runner.errors import RunnerError
from runner.ledger.address import resolve_url
from runner.ledger.hint import Courier, Hint
from runner.ledger.keys import Keys
from runner.ledger.line import Asked, Broken, Lines, Refused, read_address
from runner.ledger.reach import reaching
from runner.ledger.scripts import digest, run_confirmed, run_script, source
from runner.model.private_queue import is_private
from runner.settings import Settings

if TYPE_CHECKING:
    import redis

CONFIRM_MILLISECONDS = 5000
"""How long ``durability: replicated`` waits for a replica."""


class Store:
    """The connection, scripts, and clock that readers and writers of the ledger share.

    Every method raises :class:`~runner.errors.Unavailable` if Redis does not answer within a timeout.
    """

    def __init__(self, client: redis.Redis | None, settings: Settings, lines: Lines | None = None) -> None:
        """Use a client, or ``lines`` for scripts with a client that is created when another command needs it."""
        self._client = client
        self._lines = lines
        self.settings = settings
        self.namespace = settings.namespace
        self.keys = Keys(self.namespace)
        self.hints = settings.on_amqp
        """Whether RabbitMQ carries hints; this decides how scripts are linked."""
        self.courier: Courier | None = None
        """Hands hints over to RabbitMQ; None leaves them to workers, which publish them after 10 s."""

    @classmethod
    def open(cls, settings: Settings, *, start: bool = True) -> Self:
        """Connect; ``start``: whether to start an embedded server that is not running."""
        from runner.ledger.connection import connect  # start-up time: it imports redis-py

        return cls(connect(settings, start=start), settings)

    @classmethod
    def open_lightly(cls, settings: Settings) -> Self:
        """Connect for submitting and reading; redis-py is imported only when it is needed."""
        address = read_address(resolve_url(settings))
        return cls.open(settings) if address is None else cls(None, settings, Lines(address))

    @property
    def client(self) -> redis.Redis:
        """Return a client for commands other than scripts."""
        if self._client is None:
            from runner.ledger.connection import connect  # start-up time: it imports redis-py

            self._client = connect(self.settings)
        return self._client

    def close(self) -> None:
        """Close all connections."""
        if self.courier is not None:
            self.courier.close()
        if self._lines is not None:
            self._lines.close()
        if self._client is not None:
            self._client.close()

    def hand_over(self, hints: Sequence[Hint]) -> Sequence[Hint]:
        """Send RabbitMQ hints for runs that this process has queued; return those that it did not confirm in time.

        Do nothing if Redis is the broker.
        """
        hints = [hint for hint in hints if not is_private(hint.queue)]
        return self.courier.hand_over(hints) if self.courier is not None and hints else ()

    def now(self) -> float:
        """Return the Unix time (seconds) by Redis' clock, which is used for all times of runs.

        Raises:
            Unavailable: Redis cannot be reached.
        """
        with reaching(self.settings):
            seconds, micros = self.client.time()
        return float(seconds) + micros / 1e6

    def connect(self) -> None:
        """Open the connection for the next script now if the server can be reached; later may be too late."""
        with suppress(RunnerError, Broken):
            if self._lines is not None:
                self._lines.connect()
                return
            with reaching(self.settings):
                self.client.ping()

    def touch(self) -> None:
        """Write without changing anything.

        Raises:
            Unavailable: Redis cannot be reached, or refuses writes.
        """
        with reaching(self.settings):
            self.client.delete(self.keys.touch)

    def script(self, name: str, *args: Any) -> Any:
        """Run one of the ledger's scripts.

        Raises:
            Unavailable: Redis cannot be reached, or refuses writes now.
            WriteRefused: Redis will never accept the write.
        """
        return self.begin(name, *args)()

    def begin(self, name: str, *args: Any) -> Callable[[], Any]:
        """Send one of the ledger's scripts, and return a function that waits for its answer. Call it once.

        The function raises the same errors as :meth:`script`. With redis-py, it also sends the script.
        """
        if self._lines is None:
            return partial(self._run, self.client, name, args)
        try:
            asked = self._lines.begin(
                "EVALSHA", digest("runner.ledger", name, hints=self.hints), 1, self.namespace, *args
            )
        except Broken:
            return partial(self._run_again, name, args)
        return partial(self._answer, self._lines, asked, name, args)

    def _answer(self, lines: Lines, asked: Asked, name: str, args: Sequence[Any]) -> Any:
        try:
            try:
                return asked.answer()
            except Refused as refused:
                if not str(refused).startswith("NOSCRIPT"):
                    raise
            return lines.ask("EVAL", source("runner.ledger", name, hints=self.hints), 1, self.namespace, *args)
        except Refused as refused:
            from runner.ledger.translation import error_of, translate  # start-up time: it imports redis-py

            error = error_of(str(refused))
            raise translate(error, self.settings.redis_url) from error
        except Broken:
            return self._run_again(name, args)

    def _run(self, client: redis.Redis, name: str, args: Sequence[Any]) -> Any:
        with reaching(self.settings):
            return run_script(client, self.namespace, name, *args, hints=self.hints)

    def _run_again(self, name: str, args: Sequence[Any]) -> Any:
        """Run a script with redis-py after a connection failed; redis-py has the messages for the possible causes."""
        from runner.ledger.connection import connect  # start-up time: it imports redis-py

        client = connect(self.settings, retries=0)
        try:
            return self._run(client, name, args)
        finally:
            client.close()

    def confirmed(self, name: str, *args: Any) -> tuple[Any, bool]:
        """Run one of the ledger's scripts; with ``durability: replicated``, wait until a replica has what it wrote.

        Returns:
            The answer of the script, and whether its writes are as durable as required.

        Raises:
            Unavailable: Redis cannot be reached, or refuses the write.
        """
        if self.settings.durability == "local":
            return self.script(name, *args), True
        with reaching(self.settings):
            return run_confirmed(
                self.client, self.namespace, name, *args, milliseconds=CONFIRM_MILLISECONDS, hints=self.hints
            )
