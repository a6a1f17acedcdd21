"""What the office keeps."""

from django.db import models


class Invoice(models.Model):
    """An invoice."""

    number = models.IntegerField()

    class Meta:
        """No migrations in a test."""

        app_label = "office"
