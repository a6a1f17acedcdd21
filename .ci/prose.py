"""Find the worst habits of our prose: python .ci/prose.py PATH...

It reads Markdown pages without their code, and the docstrings, comments, and messages of Python files. Each pattern is
listed with the wording that replaces it. A pattern belongs here only if it is always wrong.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

_WORST = {
    r"\breturns? what\b": "name the thing that is returned",
    r"\breturn why\b": "Return the reason",
    r"\b(is|are|was|were|be|been) told\b": "say what is shown, reported, or sent, and by whom",
    r"\bso many\b": "name the number",
    r"(?<!\bthere )(?<!\bThere )\b(is|are|was|were) no (?!longer\b|more\b|less\b|later\b|earlier\b|newer\b|older\b|better\b|worse\b|match\b|use\b|good\b|help\b)[a-z`]": "write 'is not a'",
    r"(?<!thing )(?<!body )(?<!where )(?<!one )(?<!what )(?<!who )(?<!or )\belse(?=[.;:)]|$)": "put the other case first, or write 'otherwise'",
    r"\be\.g\.": "for example",
    r"\bi\.e\.": "that is",
    r"\bcan not\b": "cannot",
    r"\bfor ever\b": "forever",
}
_PATTERNS = [(re.compile(pattern, re.IGNORECASE), advice) for pattern, advice in _WORST.items()]
_FENCE = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"``.+?``|`[^`\n]+(?:\n[^`\n]+)?`", re.DOTALL)
# A message, not a name or a piece of code.
_WORDS = re.compile(r"[A-Za-z,;']+( [A-Za-z`{}@,;:'-]+){3,}")


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", "_", match[0])


def markdown(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line and text of each paragraph of a page."""
    line = 1
    for paragraph in _CODE.sub(_blank, _FENCE.sub(_blank, text)).split("\n\n"):
        yield line, paragraph
        line += paragraph.count("\n") + 2


def python(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line and text of each docstring, block of comments, and message of a module."""
    tree = ast.parse(text)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and node.body and isinstance(first := node.body[0], ast.Expr):
            if isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
                yield from ((first.lineno + line - 1, part) for line, part in markdown(first.value.value))
        elif isinstance(node, ast.JoinedStr):
            whole = "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            if _WORDS.search(whole):
                yield node.lineno, whole
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _WORDS.search(node.value):
            yield node.lineno, node.value
    block: list[str] = []
    begin = last = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        if block and token.start[0] != last + 1:
            yield begin, _CODE.sub(_blank, "\n".join(block))
            block = []
        if not block:
            begin = token.start[0]
        block.append(token.string.lstrip("#! "))
        last = token.start[0]
    if block:
        yield begin, _CODE.sub(_blank, "\n".join(block))


def faults(path: Path) -> Iterator[str]:
    """Yield a line for each fault in a file."""
    text = path.read_text("utf-8")
    for line, part in (python if path.suffix == ".py" else markdown)(text):
        for pattern, advice in _PATTERNS:
            for match in pattern.finditer(re.sub(r"\s", " ", part)):
                shown = part[max(0, match.start() - 25) : match.end() + 15].replace("\n", " ").strip()
                yield f"{path}:{line + part.count(chr(10), 0, match.start())}: {advice}: … {shown} …"


def main(names: list[str]) -> int:
    files = [file for name in names for file in (sorted(Path(name).rglob("*")) if Path(name).is_dir() else [Path(name)])]
    found = sorted({fault for file in files if file.suffix in (".py", ".md") for fault in faults(file)})
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
