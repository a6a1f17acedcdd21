"""The filters of the list of runs, the same as those of ``runner runs``."""

from __future__ import annotations

from urllib.parse import urlencode

from fastapi import Request

from runner._dataclass import dataclass
from runner.model.interface import given_texts
from runner.model.option import options_of
from runner.model.run_query import RunQuery
from runner.web.asked import LABELS, ask_query, fields_of, texts_of
from runner.web.jobs import Field

COMMON = ("job", "grep", "state")
"""The filters that are always visible; the others are folded away."""
TOGGLES = ("state",)
"""Filters that are chips in the form itself, so that they need no chip to remove them."""
PERIODS = (("1h", "Last hour"), ("24h", "24 hours"), ("7d", "7 days"), ("", "Any time"))
"""Values of ``since`` that are offered, and their labels."""


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters in a query string. Empty fields, which forms send too, set no filter."""

    texts: dict[str, list[str]]
    cursor: str | None
    """The cursor that the previous page ended with."""

    @classmethod
    def of(cls, request: Request) -> Filters:
        """Return the filters in the query string of a request."""
        texts = texts_of(request)
        return cls(texts, (texts.get("cursor") or [""])[-1] or None)

    def query(self, zone: str) -> RunQuery:
        """Return the query for the ledger.

        Raises:
            UsageError: a value is wrong.
        """
        return ask_query(RunQuery, self.texts, zone)

    def fields(self, *, common: bool) -> list[Field]:
        """Return the fields of the common filters, or those of the others."""
        return [field for field in fields_of(RunQuery, self.texts) if (field.name in COMMON) == common]

    @property
    def rare(self) -> bool:
        """Whether a filter is in use that is neither common nor one of the offered periods."""
        return any(name not in (*COMMON, "since") for name in self._given()) or not any(
            chosen for _, _, chosen in self.periods()
        )

    def value(self, name: str) -> str:
        """Return the value of a filter as text; its default if it is not set."""
        return next((field.value for field in fields_of(RunQuery, self.texts) if field.name == name), "")

    def chips(self) -> list[tuple[str, str]]:
        """Return the filters in use as text, each with the query string of the others."""
        given = self._given()
        found = []
        for name, value in given.items():
            if name in TOGGLES:
                continue
            values = value if isinstance(value, list) else [value]
            for one in values:
                kept = [other for other in values if other != one]
                rest = {**given, name: kept} if kept else {key: of for key, of in given.items() if key != name}
                label = LABELS.get(name, name.capitalize())
                text = label if one in ("on", "true", True) else f"{label}: {one}"
                found.append((text, urlencode(rest, doseq=True)))
        return found

    def periods(self) -> list[tuple[str, str, bool]]:
        """Return the label, the query string, and whether it is in use, for each offered period."""
        given = self._given()
        rest = {name: value for name, value in given.items() if name not in ("since", "until")}
        return [
            (
                label,
                urlencode({**rest, **({"since": since} if since else {})}, doseq=True),
                given.get("since", "") == since,
            )
            for since, label in PERIODS
        ]

    def query_string(self, **more: str) -> str:
        """Return the filters as a query string, without defaults, and with the parameters in ``more``."""
        return urlencode({**self._given(), **more}, doseq=True)

    def _given(self) -> dict[str, object]:
        given = given_texts(RunQuery, self.texts)
        current = {former: declared.key for declared in options_of(RunQuery) for former in declared.former}
        defaults = {declared.key: declared.default for declared in options_of(RunQuery)}
        named = {current.get(name, name): value for name, value in given.items()}
        return {name: value for name, value in named.items() if value != defaults[name]}
