"""What redis-py is given and answers: its types are wider, or narrower, than what a client that decodes does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def text(answer: object) -> str:
    """Return an answer that is a text."""
    assert isinstance(answer, str), answer
    return answer


def texts(answers: object) -> list[str]:
    """Return an answer that is a list of texts."""
    assert isinstance(answers, list), answers
    return [text(each) for each in answers]


def encodable(fields: Mapping[str, str | bytes] | Mapping[str, str]) -> dict[Any, Any]:
    """Return fields of a hash or a stream: redis-py wants a mapping whose keys might be numbers too."""
    return dict(fields)
