"""Arguments and answers of redis-py with exact types: its own are wider or narrower than for a client that decodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def text(answer: object) -> str:
    """Return an answer that must be a text."""
    assert isinstance(answer, str), answer
    return answer


def texts(answers: object) -> list[str]:
    """Return an answer that must be a list of texts."""
    assert isinstance(answers, list), answers
    return [text(answer) for answer in answers]


def encodable(fields: Mapping[str, str | bytes] | Mapping[str, str]) -> dict[Any, Any]:
    """Return the fields of a hash or a stream as redis-py wants them: a mapping whose keys may also be numbers."""
    return dict(fields)
