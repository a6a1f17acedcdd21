"""The model of runs, whose table the archive's own steps make."""

from django.db import migrations, models

from runner.django.archive_schema import ArchiveSchema
from runner.django.json_text import JSONText


class Migration(migrations.Migration):
    """The first one."""

    initial = True
    operations = (
        migrations.CreateModel(
            name="Run",
            fields=[
                ("namespace", models.TextField()),
                ("id", models.TextField(primary_key=True, serialize=False, verbose_name="ID")),
                ("job", models.TextField()),
                ("state", models.TextField()),
                ("reason", models.TextField(null=True)),
                ("detail", models.TextField(null=True)),
                ("queue", models.TextField()),
                ("priority", models.IntegerField()),
                ("worker", models.TextField(null=True)),
                ("trigger", models.TextField()),
                ("submitted_by", models.TextField(null=True)),
                ("key", models.TextField(null=True)),
                ("slot", models.DateTimeField(null=True)),
                ("tags", JSONText()),
                ("params", JSONText()),
                ("result", JSONText(null=True)),
                ("result_expired", models.BooleanField()),
                ("error", JSONText(null=True)),
                ("log", models.TextField()),
                ("flow", models.TextField(null=True)),
                ("step", models.TextField(null=True)),
                ("item", models.BigIntegerField(null=True)),
                ("rerun_of", models.TextField(null=True)),
                ("hook_of", models.TextField(null=True)),
                ("backfill", models.TextField(null=True)),
                ("attempts", models.BigIntegerField()),
                ("retries", models.BigIntegerField()),
                ("losses", models.BigIntegerField()),
                ("submitted_at", models.DateTimeField()),
                ("eta", models.DateTimeField(null=True, verbose_name="ETA")),
                ("started_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                ("took_ms", models.BigIntegerField(null=True)),
                ("document", JSONText()),
                ("archived_at", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "runner_runs",
                "ordering": ("-submitted_at", "-id"),
                "permissions": (("revoke_run", "Can revoke run"), ("rerun_run", "Can run again")),
                "managed": False,
                "default_permissions": ("view",),
                "base_manager_name": "objects",
            },
        ),
        ArchiveSchema(),
    )
