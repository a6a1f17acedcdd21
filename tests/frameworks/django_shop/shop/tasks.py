"""The shop's tasks: some for its own worker, some that the runner's YAML names."""

from celery import shared_task

from .models import Order


@shared_task
def write_receipt(number: int) -> int:
    """Run by the shop's own worker."""
    return Order.objects.filter(number=number).update(report="receipt")


@shared_task(bind=True)
def close_orders(self, least: int = 0) -> dict[str, object]:
    """Run by the runner; hands a part of the work to the shop's own worker."""
    numbers = [order.number for order in Order.objects.filter(number__gte=least).order_by("number")]
    handed = [write_receipt.delay(number).id for number in numbers]
    return {"numbers": numbers, "handed": handed, "name": self.name}
