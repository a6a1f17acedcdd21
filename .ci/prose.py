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

_TRAILING_ELSE = (
    # Something else, nobody else, somewhere else, everyone else, no one else, what else, or else, all else; and the
    # keyword of JSON Schema.
    r"(?<!thing )(?<!body )(?<!where )(?<!yone )(?<!eone )(?<! one )(?<!what )(?<!who )(?<!or )(?<!all )(?<!and )"
    r"\belse(?=[.;:)]|$)"
)
_FITS_NO = (
    "longer|later|earlier|sooner|newer|older|higher|lower|faster|slower|larger|smaller|better|worse|more|less"
    "|match|use|good|help"
)
# What is wrong everywhere, and what is wrong in docstrings, comments, and messages.
_WORST = {
    r"\b(is|are|was|were|be|been) told\b(?! apart| from)": "say what is shown, reported, or sent, and by whom",
    r"\bso many\b": "name the number",
    rf"(?<!\bthere )\b(is|are|was|were) no (?!(?:{_FITS_NO})\b)[a-z`_{{]": "write 'is not a'",
    _TRAILING_ELSE: "put the other case first, or write 'otherwise'",
    r"\be\.g\.": "write 'for example'",
    r"\bi\.e\.": "write 'that is'",
    r"\bcan not\b": "write 'cannot'",
    r"\bfor ever\b": "write 'forever'",
}
_WORST_IN_CODE = _WORST | {
    r"\breturns? what\b": "name the thing that is returned",
    r"\breturns? why\b": "write 'Return the reason'",
}
_FENCE = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"``.+?``|`[^`\n]+(?:\n[^`\n]+)?`", re.DOTALL)
# A message, not a name or a piece of code.
_WORDS = re.compile(r"[A-Za-z,;']+(\s+[A-Za-z`{}@,;:'-]+){3,}")


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", "_", match[0])


def markdown(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line and text of each paragraph of a page."""
    line = 1
    for paragraph in _CODE.sub(_blank, _FENCE.sub(_blank, text)).split("\n\n"):
        yield line, paragraph
        line += paragraph.count("\n") + 2


def python(text: str, messages: bool) -> Iterator[tuple[int, str]]:
    """Yield the line and text of each docstring and block of comments of a module, and of its messages."""
    seen: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            seen.add(id(node.value))
            yield from ((node.lineno + line - 1, part) for line, part in markdown(node.value.value))
        elif not messages:
            continue
        elif isinstance(node, ast.JoinedStr):
            seen.update(map(id, node.values))
            whole = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
            if _WORDS.search(whole):
                yield node.lineno, whole
        elif isinstance(node, ast.Constant) and id(node) not in seen and _WORDS.search(str(node.value)):
            yield node.lineno, str(node.value)
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
    """Yield a line for each fault in a file: where its paragraph begins, what to write, and the words around it."""
    code = path.suffix == ".py"
    patterns = _WORST_IN_CODE if code else _WORST
    source = path.read_text("utf-8")
    # Texts in tests are input more often than messages.
    for line, part in python(source, messages="tests" not in path.parts) if code else markdown(source):
        text = " ".join(part.split())
        for pattern, advice in patterns.items():
            for match in re.finditer(pattern, text, re.IGNORECASE):
                shown = text[max(0, match.start() - 25) : match.end() + 15].strip()
                yield f"{path}:{line}: {advice}: … {shown} …"


def main(names: list[str]) -> int:
    files = [file for path in map(Path, names) for file in (path.rglob("*") if path.is_dir() else [path])]
    found = sorted({fault for file in files if file.suffix in (".py", ".md") for fault in faults(file)})
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
