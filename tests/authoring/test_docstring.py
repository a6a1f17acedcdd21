"""Docstrings in the styles of Google, Sphinx, and NumPy, as ``runner new`` reads them."""

from __future__ import annotations

import inspect

import pytest

from runner.authoring.docstring import read_docstring

CASES = {
    "google": (
        "Build it: of one day.\n\nArgs:\n    day: Day to report, as\n        2026-01-01.\n    region (str): ``eu``.",
        ("Build it: of one day.", {"day": "Day to report, as 2026-01-01.", "region": "eu."}),
    ),
    "sphinx": (
        "Read a file.\n\n:param path: Where it is.\n:param int count: How often.",
        ("Read a file.", {"path": "Where it is.", "count": "How often."}),
    ),
    "numpy": (
        "Read a file.\n\nParameters\n----------\npath : str\n    Where it is,\n    in words.\n\nReturns\n-------\nlist",
        ("Read a file.", {"path": "Where it is, in words."}),
    ),
    "two lines": ("One\ntwo lines.\n\nMore.", ("One two lines.", {})),
    "no summary": ("\n    Args:\n        x: y\n", ("", {"x": "y"})),
    "keywords": ("See :class:`~a.B`.\n\nKeyword Args:\n    z: w", ("See a.B.", {"z": "w"})),
    "stars": ("Do.\n\nParameters:\n    *args: all\n    **kw: named", ("Do.", {"args": "all", "kw": "named"})),
    "no blank line": ("Sum.\nArgs:\n  x: y\n  z: w", ("Sum.", {"x": "y", "z": "w"})),
    "nothing": ("", ("", {})),
    "broken": ("broken :param\n\n:param", ("broken :param", {})),
}


@pytest.mark.parametrize("name", CASES)
def test_a_docstring_gives_its_summary_and_its_params(name: str) -> None:
    text, expected = CASES[name]
    found = read_docstring(inspect.cleandoc(text))
    assert (found.summary, found.params) == expected
