"""Prints the lines of code of dcbh_core, without blanks, comments and docstrings: `python -m tests.core_size`."""

import ast
import io
import tokenize
from pathlib import Path

CORE = Path(__file__).resolve().parent.parent / "dcbh_core"
GOAL = 1000
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


def main() -> None:
    counts = {path.name: lines_of_code(path.read_text("utf-8")) for path in sorted(CORE.glob("*.py"))}
    for name, count in counts.items():
        print(f"{count:5d}  {name}")
    print(f"{sum(counts.values()):5d}  lines of code in dcbh_core; the goal is to stay under {GOAL}")


if __name__ == "__main__":
    main()
