"""Prints the lines of code of dcbh_core, without blanks, comments and docstrings, and fails where the method grows too
large to be read in one sitting: `python -m tests.core_size`. What one does not need to understand DCBH is beside the
method and not counted: drawing, how warnings are shown, how data sets are read, how other projects write codes, the
methods that DCBH is compared with, methods of one's own, how a model is kept, and what CUDA graphs need."""

import ast
import io
import sys
import tokenize
from pathlib import Path

CORE = Path(__file__).resolve().parent.parent / "dcbh_core"
LIMIT = 1200
BESIDE = {
    "conventions.py",
    "captured.py",
    "saving.py",
    "figures.py",
    "notes.py",
    "datasets.py",
    "ddh.py",
    "peers.py",
    "shallow.py",
    "methods.py",
    "rehearsal.py",
}
NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def lines_of_code(source: str) -> int:
    """The number of lines that hold code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def main() -> int:
    paths = [path for path in sorted(CORE.glob("*.py")) if path.name not in BESIDE]
    counts = {path.name: lines_of_code(path.read_text("utf-8")) for path in paths}
    for name, count in counts.items():
        print(f"{count:5d}  {name}")
    total = sum(counts.values())
    print(f"{total:5d}  lines of code of the method; at most {LIMIT}")
    return int(total > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
