"""The office's tasks: of Django's task framework, but for the last."""

import datetime

import django

from runner import current_run

from .models import Invoice

if django.VERSION >= (6,):
    from django.tasks import task
else:
    from django_tasks import task


@task
def count_invoices(least: int = 0, note: str = "") -> dict[str, object]:
    """Count them."""
    print("counting")
    return {"count": Invoice.objects.filter(number__gte=least).count(), "note": note}


@task(takes_context=True)
def tell(context, name: str) -> list[object]:
    """Tell what the context says, and the runner."""
    result = context.task_result
    return [context.attempt, result.id == current_run().id, result.kwargs, str(result.status), name]


@task(priority=50)
async def ring(name: str) -> str:
    """Ring."""
    return f"ring {name}"


@task
def fail() -> None:
    """Fail, also the second time."""
    raise ValueError(f"no ink in attempt {current_run().attempt}")


@task
def print_invoice(color: bool = False) -> bool:
    """Print; two jobs do so."""
    return color


@task
def send() -> int:
    """Send, at most once an hour."""
    return 1


@task
def closed() -> None:
    """Never run: its job is disabled."""


@task
def pay(day: datetime.date, /, amount: int) -> None:
    """Pay, as no job could."""


@task
def file_away(day: datetime.date, copies: int = 1) -> None:
    """File invoices away; no job does so yet.

    Args:
        day: whose invoices.
    """


def plain() -> str:
    """A function that is not a task."""
    return "plain"
