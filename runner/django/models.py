"""The model ``Run``: finished runs in Django's own database, as workers archive them. It is read-only."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, NoReturn

from django.db import models

from runner.archive.rows import read_log, row_of
from runner.django.home import home_project
from runner.django.json_text import JSONText
from runner.model.log_line import LogLine
from runner.model.run import Run as RunDocument
from runner.model.run import to_timestamp


class ReadOnly(TypeError):
    """Runs change in the ledger alone, from where workers copy them."""


def _refuse(*_args: object, **_options: object) -> NoReturn:
    raise ReadOnly("runs in Django's database are copies: submit, revoke, and forget runs with the runner")


class RunQuerySet(models.QuerySet):
    """A read-only query set of runs."""

    create = bulk_create = get_or_create = update_or_create = _refuse
    update = bulk_update = delete = _raw_delete = _refuse
    acreate = abulk_create = aget_or_create = aupdate_or_create = aupdate = abulk_update = adelete = _refuse


_Manager: Any = models.Manager.from_queryset(RunQuerySet)


class RunManager(_Manager):
    """The manager for this project's runs: other projects may share the archive, with other namespaces."""

    def get_queryset(self) -> Any:
        """Return the runs in the project's namespace."""
        return super().get_queryset().filter(namespace=home_project().settings.namespace)


class Run(models.Model):
    """A finished run. The columns are those of the archive; :attr:`document` is the whole run document."""

    namespace = models.TextField()
    # Unique in a namespace, to which the manager restricts queries.
    id = models.TextField("ID", primary_key=True)
    job = models.TextField()
    state = models.TextField()
    reason = models.TextField(null=True)
    detail = models.TextField(null=True)
    queue = models.TextField()
    priority = models.IntegerField()
    worker = models.TextField(null=True)
    trigger = models.TextField()
    submitted_by = models.TextField(null=True)
    key = models.TextField(null=True)
    slot = models.DateTimeField(null=True)
    tags = JSONText()
    params = JSONText()
    result = JSONText(null=True)
    result_expired = models.BooleanField()
    error = JSONText(null=True)
    log = models.TextField()
    flow = models.TextField(null=True)
    step = models.TextField(null=True)
    item = models.BigIntegerField(null=True)
    rerun_of = models.TextField(null=True)
    hook_of = models.TextField(null=True)
    backfill = models.TextField(null=True)
    attempts = models.BigIntegerField()
    retries = models.BigIntegerField()
    losses = models.BigIntegerField()
    submitted_at = models.DateTimeField()
    eta = models.DateTimeField("ETA", null=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    took_ms = models.BigIntegerField(null=True)
    document = JSONText()
    archived_at = models.DateTimeField(null=True)

    objects = RunManager()

    class Meta:
        """The archive's own migrations create and change the table."""

        managed = False
        db_table = "runner_runs"
        base_manager_name = "objects"
        ordering = ("-submitted_at", "-id")
        default_permissions = ("view",)
        permissions = (("revoke_run", "Can revoke run"), ("rerun_run", "Can run again"))

    def __str__(self) -> str:
        return f"{self.job} {self.id}"

    save = asave = delete = adelete = _refuse

    @classmethod
    def of_ledger(cls, run: RunDocument, log: list[LogLine]) -> Run:
        """Return a run of the ledger, which may be active."""
        values = row_of(run, log)
        for field in cls._meta.get_fields():
            if isinstance(field, JSONText) and values[field.name] is not None:
                values[field.name] = json.loads(values[field.name])
        if not run.final:
            values |= {"finished_at": None, "took_ms": None}
        return cls(namespace=home_project().settings.namespace, **values)

    @property
    def final(self) -> bool:
        """Whether the state can never change again."""
        return self.finished_at is not None

    @property
    def took(self) -> timedelta | None:
        """The time from the start of the last attempt to its end."""
        return None if self.took_ms is None else timedelta(milliseconds=self.took_ms)

    @property
    def log_text(self) -> str:
        """The end of the log, a line for each line, with its time."""
        return "\n".join(f"{to_timestamp(line.at)} {line.text}" for line in read_log(self.log))
