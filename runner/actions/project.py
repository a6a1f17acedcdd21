"""A project that is open: its settings, and what derives from them once it is asked for."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from runner.settings import Settings, load_settings

if TYPE_CHECKING:
    from runner.ledger.ledger import Ledger
    from runner.spec.catalog import Catalog


class Project:
    """The settings of a project; its catalog and its ledger are read and reached when first used."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @classmethod
    def open(cls, path: str | Path | None = None) -> Self:
        """Return the project in the folder ``path``, or the one found from the environment and the working folder.

        Raises:
            NoProject: there is none.
            InvalidSettings: its ``runner.yaml`` or a ``RUNNER_*`` variable is wrong.
        """
        return cls(load_settings(path))

    @cached_property
    def catalog(self) -> Catalog:
        """All jobs of the project: the sound ones and the problems of the others."""
        from runner.spec.catalog import load_catalog  # start-up time: `status` reads no jobs

        return load_catalog(self.settings)

    @property
    def opened(self) -> bool:
        """Whether the ledger was opened; if not, nothing that this process asked for can have reached it."""
        return "ledger" in self.__dict__

    @cached_property
    def ledger(self) -> Ledger:
        """The record of every run.

        Raises:
            Unavailable: the embedded server cannot be started.
        """
        from runner.ledger.ledger import Ledger  # start-up time: `jobs` and completion need no Redis client

        return Ledger.open(self.settings)
