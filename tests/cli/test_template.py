"""The template of ``-o``: fields of a document, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from runner.cli.terminal.template import read_template
from runner.errors import UsageError

DOCUMENT: dict[str, Any] = {
    "id": "3f2a",
    "state": "FAILURE",
    "error": {"type": "ValueError", "message": "two\nlines\tand {id}"},
    "progress": None,
    "params": {"day": "2026-11-23", "days": [1, {"a": True}]},
    "tags": ["finance", "night"],
    "attempts": 2,
}
FIELDS = {**dict.fromkeys(DOCUMENT), "error": ("type", "message"), "progress": ("fraction",)}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{id} {state} {error.type}", "3f2a FAILURE ValueError"),
        # A value is one line, and is not a template itself.
        ("{id}: {error.message}", "3f2a: two lines and {id}"),
        ("[{progress.fraction}{id.__class__}]", "[]"),
        ("{params.day}/{params.none}/{params.day.year}", "2026-11-23//"),
        ("{tags.1} {params.days.1.a} {tags.7}", "night true "),
        ("{tags} {attempts} {params.days}", '["finance", "night"] 2 [1, {"a": true}]'),
        (r"{id}\t{state}\n\\n", "3f2a\tFAILURE\n\\n"),
        ("{{id}} {id}}}", "{id} 3f2a}"),
    ],
)
def test_fields_are_filled_in(template: str, text: str) -> None:
    read = read_template(template)
    read.check(FIELDS)
    assert read.fill(DOCUMENT) == text


@pytest.mark.parametrize(
    ("template", "message", "hint"),
    [
        ("{idd}", "unknown field idd, did you mean id?", "the fields are: id, state, error, "),
        ("{error.tpye}", "unknown field error.tpye, did you mean error.type?", "the fields are: error.type, "),
        ("{id} {", "the template '{id} {' has a single {", "write {{"),
        ("{id}}", "the template '{id}}' has a single }", "write }}"),
        ("{}", "{} is not a field", "{error.type}"),
        ("{id!r}", "{id!r} is not a field", "{error.type}"),
        ("{id:>99999999}", "{id:>99999999} is not a field", "{error.type}"),
        ("{0}", "unknown field 0", "the fields are: id"),
    ],
)
def test_what_is_not_a_field_is_refused(template: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_template(template).check(FIELDS)
    assert refused.value.message.startswith(message)
    assert hint in (refused.value.hint or "")
