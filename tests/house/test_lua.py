"""luacheck finds nothing in the Lua scripts, each linted as Redis runs it: with the shared parts it uses.

``luacheck`` is Debian's package lua-check; without it this is skipped, never in CI.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from runner.ledger.scripts import source

PACKAGES = ("runner.ledger", "runner.delivery", "runner.ledger.health")
SCRIPTS = [
    (package, file.stem) for package in PACKAGES for file in sorted((Path(str(files(package))) / "lua").glob("*.lua"))
]
GIVEN = ("redis", "cjson", "cmsgpack", "bit", "struct", "KEYS", "ARGV")
"""Global names that Redis gives to scripts."""
UNUSED = "W211"
"""A local that is not used: in a shared part, another script uses it, as ``test_scripts.py`` holds."""

SHADOWS = "4"
"""A name that stands for something else further on: a part that is seldom needed redefines what stood in for it."""

_WARNING = re.compile(r".*?/(?P<name>[^/]+)\.lua:(?P<line>\d+):\d+: \((?P<code>\w+)\) (?P<told>.*)")


def test_luacheck_finds_nothing(tmp_path: Path) -> None:
    if shutil.which("luacheck") is None:
        assert not os.environ.get("CI"), "CI must have luacheck: apt-get install lua-check"
        pytest.skip("luacheck is not installed: apt-get install lua-check")
    own_begins: dict[str, int] = {}
    # Parts for RabbitMQ in scripts that use each of them.
    with_hints = [("runner.ledger", name, True) for name in ("submit", "beat")]
    for package, name, hints in [*((*script, False) for script in SCRIPTS), *with_hints]:
        text = source(package, name, hints=hints)
        own = (Path(str(files(package))) / "lua" / f"{name}.lua").read_text("utf-8")
        # Its first line is for Redis, and no Lua.
        file = f"{package}.{name}{'.hints' if hints else ''}"
        (tmp_path / f"{file}.lua").write_text("--" + text, "utf-8")
        own_begins[file] = len(text.splitlines()) - len(own.splitlines())
    command = [
        "luacheck",
        "--std",
        "lua51",
        "--read-globals",
        *GIVEN,
        "--no-max-line-length",
        "--codes",
        "--ignore",
        SHADOWS,
    ]
    done = subprocess.run(
        [*command, "--no-color", "--formatter", "plain", "--", str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = [match for line in done.stdout.splitlines() if (match := _WARNING.fullmatch(line)) is not None]
    assert len(found) == len(done.stdout.splitlines()), done.stdout
    warnings = [
        f"{warning['name']}:{warning['line']}: {warning['told']}"
        for warning in found
        if warning["code"] != UNUSED or int(warning["line"]) > own_begins[warning["name"]]
    ]
    assert warnings == []
