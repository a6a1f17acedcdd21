"""The migration operation that migrates the archive's tables to the schema of this version."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import router
from django.db.migrations.operations.base import Operation
from django.db.utils import NotSupportedError

from runner.archive.migrations import DIALECTS, migrate


class ArchiveSchema(Operation):
    """Runs the archive's own migrations, as workers do, too. Reversing it leaves the tables."""

    reversible = True
    reduces_to_sql = False

    def state_forwards(self, app_label: str, state: object) -> None:
        """Change nothing: the model's state is an operation of its own."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: object, to_state: object) -> None:  # noqa: ARG002
        """Run the missing migrations.

        Raises:
            NotSupportedError: the archive does not support this type of database.
        """
        connection = schema_editor.connection
        if not router.allow_migrate(connection.alias, app_label, model_name="run"):
            return
        if connection.vendor not in DIALECTS:
            raise NotSupportedError(
                f"runs cannot be kept in {connection.display_name}: use PostgreSQL or SQLite, or remove runner.django "
                "from INSTALLED_APPS; the task backend works without"
            )
        with connection.cursor() as cursor:

            def execute(statement: str) -> Sequence[Sequence[Any]]:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else ()

            migrate(execute, connection.vendor)

    def database_backwards(self, app_label: str, schema_editor: object, from_state: object, to_state: object) -> None:
        """Do nothing: the runs in the tables are stored nowhere else."""

    def describe(self) -> str:
        """Return the line that ``migrate`` shows."""
        return "Bring the archive of runs to the schema of this version"
