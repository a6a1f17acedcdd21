"""What the shop keeps."""

from django.db import models


class Order(models.Model):
    """An order; ``report`` says what became of it."""

    number = models.IntegerField()
    report = models.CharField(max_length=100, default="")

    class Meta:
        """No migrations in a test."""

        app_label = "shop"
