"""Read the state of RabbitMQ and of the hints in its queues, for the doctor, lists, and metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from runner._dataclass import dataclass
from runner.errors import Unavailable
from runner.ledger.fleet import read_queues
from runner.ledger.health.finding import Finding, named, ok, problem, warning
from runner.ledger.hints import count_hints
from runner.model.plural import things
from runner.model.private_queue import is_private
from runner.model.queue import Queue
from runner.settings.broker_url import read_brokers

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.delivery.amqp.examine import Broker, HintQueue
    from runner.settings import Settings

LATE_SECONDS = 15.0
"""Seconds after which an unpublished hint shows that no worker publishes hints; they need 10 s at most."""
_TESTED = "3."
"""The prefixes of the tested versions."""


@dataclass(frozen=True, slots=True)
class HintQueues:
    """The state of the hint queues. ``trouble``: why RabbitMQ did not answer. ``unpublished`` is from the ledger."""

    unpublished: int = 0
    queues: dict[str, HintQueue] | None = None
    trouble: Unavailable | None = None

    def shown(self, queues: Iterable[Queue]) -> list[Queue]:
        """Return queues of runs with the numbers of their hints in RabbitMQ, where they are known."""
        hints = {name: seen.hints for name, seen in (self.queues or {}).items()}
        return [replace(queue, hints=hints.get(queue.name)) for queue in queues]


def ask_broker(project: Project, queues: Iterable[str]) -> HintQueues | None:
    """Return the state of the hint queues in RabbitMQ, or None if Redis is the broker.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    if not project.settings.on_amqp:
        return None
    unpublished, _ = count_hints(project.ledger)
    try:
        broker = _examine(project.settings, [queue for queue in queues if not is_private(queue)])
    except Unavailable as error:
        return HintQueues(unpublished, trouble=error)
    return HintQueues(unpublished, dict(broker.queues))


def queues_and_hints(project: Project) -> tuple[list[Queue], HintQueues | None]:
    """Return the queues of runs with their hints, and the state of RabbitMQ; None if Redis is the broker.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    queues = read_queues(project.ledger)
    state = ask_broker(project, [queue.name for queue in queues])
    return (queues if state is None else state.shown(queues)), state


def check_broker(project: Project, *, quick: bool) -> Iterator[Finding]:
    """Yield findings about RabbitMQ if it is the broker: whether it answers, its queues, and permissions.

    Args:
        project: what to examine.
        quick: skip the permissions and the arguments of queues.
    """
    settings = project.settings
    if not settings.on_amqp:
        return
    declared = {job.queue for job in project.catalog.jobs.all()}
    try:
        broker = _examine(settings, sorted({*declared, *settings.worker.queues}), thoroughly=not quick)
    except Unavailable as error:
        yield problem("broker", error.message, error.hint or "start it")
        return
    yield ok("broker", f"{_where(settings)} answers: {broker.version}{_untested(broker)}")
    yield from _permissions(settings, broker)
    yield from _queues(broker)


def check_hints(project: Project) -> Iterator[Finding]:
    """Yield a finding if hints are not published.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    if not project.settings.on_amqp:
        return
    number, late = count_hints(project.ledger)
    if number and late / 1000 > LATE_SECONDS:
        yield warning(
            "hints",
            f"{things(number, 'hint')} to publish to RabbitMQ, the oldest for {late / 1000:.0f} s",
            "workers publish them when RabbitMQ answers; start one if none runs: runner worker",
        )
    else:
        yield ok("hints", f"{things(number, 'hint')} to publish to RabbitMQ")


def _examine(settings: Settings, queues: Iterable[str], *, thoroughly: bool = False) -> Broker:
    from runner.delivery.amqp.examine import examine  # start-up time: it imports py-amqp

    return examine(settings, queues, thoroughly=thoroughly)


def _where(settings: Settings) -> str:
    assert settings.broker_url is not None
    return "RabbitMQ" if settings.hidden_broker_url else read_brokers(settings.broker_url)[0].shown


def _untested(broker: Broker) -> str:
    version = broker.version.rpartition(" ")[2]
    return "" if version.startswith(_TESTED) else f" (the runner is tested with RabbitMQ {_TESTED}x)"


def _permissions(settings: Settings, broker: Broker) -> Iterator[Finding]:
    from runner.delivery.amqp.permissions import permission_command  # start-up time: as above

    if broker.missing:
        lacking = ", ".join(broker.missing)
        remedy = permission_command(settings)
        yield problem("broker-permissions", f"the user of broker_url lacks permissions: {lacking}", remedy)


def _queues(broker: Broker) -> Iterator[Finding]:
    for queue in broker.queues.values():
        if queue.refused:
            yield problem("hint-queues", f"queue {queue.name} cannot be used: {queue.refused}", _delete(queue))
        elif "'durable'" in queue.differs:
            yield warning(
                "hint-queues", f"queue {queue.name} is lost when RabbitMQ stops: {queue.differs}", _delete(queue)
            )
    others = [f"{queue.name}: {queue.differs}" for queue in broker.queues.values() if queue.differs]
    others = [other for other in others if "'durable'" not in other]
    seen = [queue.name for queue in broker.queues.values() if queue.hints is not None]
    hints = sum(queue.hints or 0 for queue in broker.queues.values())
    text = f"{things(hints, 'hint')} in {things(len(seen), 'queue')} of RabbitMQ"
    if others:
        text += f"; declared by somebody else, used as declared: {named(others)}"
    yield ok("hint-queues", text)


def _delete(queue: HintQueue) -> str:
    return f"rabbitmqctl delete_queue {queue.name} (workers declare it again; no run is lost with it)"
