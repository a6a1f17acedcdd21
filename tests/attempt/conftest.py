"""What tests of real workers share."""

from __future__ import annotations

from tests.support.work import notes, work

__all__ = ["notes", "work"]
