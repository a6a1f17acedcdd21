"""What ``make counts`` counts."""

from __future__ import annotations

from tests.support.counts import COLUMNS, count, table

TWICE = "    total = 0\n    for each in values:\n        total += each * factor\n    return total\n"

FILES = {
    "runner/__init__.py": "",
    "runner/a/one.py": "from typing import Any\nfrom runner.a import two\n\ndef first(values: Any, factor):\n" + TWICE,
    "runner/a/two.py": "def late():\n    def later():\n        from runner.b.three import x\n    import os\n",
    "runner/b/three.py": 'from runner.a.one import first\nx=1\n\ndef other(values, factor):\n    """Do."""\n' + TWICE,
    "runner/b/typed.py": "if TYPE_CHECKING:\n    from runner.b.five import z\ny = 1\n",
    "runner/b/five.py": "from runner.b.typed import y\nz = 1\n",
}


def test_each_column_counts_what_it_says() -> None:
    counts = count(FILES)
    numbers = {column: dict(counts.numbers[column]) for column in COLUMNS}
    assert numbers["modules"] == {".": 1, "a": 2, "b": 3}
    assert numbers["lines"] == {".": 0, "a": 12, "b": 14}
    assert numbers["Any"] == {"a": 2}
    assert numbers["function-level imports"] == {"a": 2}
    assert numbers["circles"] == {"a": 1}
    assert counts.places["circles"] == ["runner/a/one.py -> runner/a/two.py -> runner/b/three.py -> runner/a/one.py"]
    assert numbers["duplicates"] == {"b": 1}
    assert counts.places["duplicates"] == ["runner/b/three.py:4: other, as runner/a/one.py:4"]


def test_the_table_shows_what_has_changed() -> None:
    text = table(count(FILES), count({path: FILES[path] for path in ("runner/__init__.py", "runner/a/two.py")}))
    rows = {line.split()[0]: line for line in text.splitlines()[1:]}
    assert "1 > 2" in rows["a"]
    assert "0 > 3" in rows["b"]
    assert ">" not in rows["."]
    assert "2 > 6" in rows["all"]
