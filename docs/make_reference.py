"""Fills in what ``docs/reference.md`` takes from the source: ``python -m docs.make_reference``.

Such a part stands between ``<!-- made: NAME -->`` and ``<!-- end -->``. NAME is one of ``TABLES``, or a class, which is
shown by its attributes, or a function, shown by signature and docstring. All else on the page is written by hand.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dcbh_core import Config, Evaluation, Head, Training
from dcbh_core.config import RECIPES
from dcbh_core.heads import HEADS
from dcbh_core.losses import OBJECTIVES
from dcbh_core.peers import PEERS

PAGE = Path(__file__).with_name("reference.md")
LARGEST = 8  # block size that is tried


def filled(page: str) -> str:
    """The page, with each part as the source has it now."""

    def part(match: re.Match[str]) -> str:
        name = match[2]
        made = TABLES[name]() if name in TABLES else shown(pkgutil.resolve_name(name))
        return f"{match[1]}\n\n{made}\n\n{match[3]}"

    return re.sub(r"(<!-- made: (\S+) -->).*?(<!-- end -->)", part, page, flags=re.S)


def attributes(described: type) -> dict[str, str]:
    """Name -> sentences, from the section "Attributes" of a class's docstring."""
    section = re.search(r"^Attributes:\n((?: .*\n|\n)+)", f"{inspect.getdoc(described)}\n", re.M)
    entries = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", section[1] if section else "", re.M)
    return {name: " ".join(text.split()) for name, text in entries}


def fields() -> str:
    """The fields of a config."""
    defaults = {field.name: field.default for field in dataclasses.fields(Config) if field.name != "constants"}
    meanings = attributes(Config)
    rows = [(code(name), value(default), meanings[name]) for name, default in defaults.items()]
    return table(("field", "default", "meaning"), rows)


def recipes() -> str:
    """What each recipe decides."""
    names = dict.fromkeys(name for decided in RECIPES.values() for name in decided)
    rows = [(code(name), *(value(decided.get(name, "auto")) for decided in RECIPES.values())) for name in names]
    return table(("field", *map(code, RECIPES)), rows)


def training() -> str:
    """What a recipe of one's own may replace."""
    rows = []
    for name in ("step", "run_epoch", "batches", "set_learning_rate", "trained", "state", "restore"):
        function = getattr(Training, name)
        given = ", ".join(list(inspect.signature(function).parameters)[1:])
        rows.append((code(f"{name}({given})"), first_paragraph(function)))
    return table(("method", "what it does"), rows)


def heads() -> str:
    """The kit's heads and their facts."""
    rows = []
    for name, head in HEADS.items():
        takes = "`(n, bits * block_size)`" if head.blocks else "`(n, d)`, the pooled features"
        sizes = ", ".join(str(size) for size in range(1, LARGEST + 1) if admitted(head, size)) + ", ..."
        relu = "yes" if head.blocks and head.relu else "no"
        rows.append((code(name), takes, sizes if head.blocks else "", relu, first_paragraph(head)))
    return table(("head", "takes", "block sizes", "ReLU before it", "what it is"), rows)


def admitted(head: type[Head], block_size: int) -> bool:
    """Whether a head works with this block size."""
    try:
        head.check(block_size)
    except ValueError:
        return False
    return True


def objectives() -> str:
    """The kit's objectives and their facts, then the formula of each."""
    known = {**OBJECTIVES, **PEERS}
    rows = []
    for name, one in known.items():
        constants = ", ".join(f"`{constant}` {value(default)}" for constant, default in one.constants.items())
        rows.append((code(name), code(one.head), codes(one.terms), codes(one.classifiers), constants))
    facts = table(("objective", "its head", "terms", "classifiers", "constants and their defaults"), rows)
    formulas = [f"`{name}`:\n\n```text\n{inspect.getdoc(one)}\n```" for name, one in known.items()]
    return "\n\n".join([facts, *formulas])


def metrics() -> str:
    """What an evaluation can be asked."""
    rows = []
    for name, member in vars(Evaluation).items():
        function = getattr(member, "fget", None) or getattr(member, "func", None) or member  # of a property
        if inspect.isfunction(function) and not name.startswith("_"):
            called = f"({', '.join([*inspect.signature(member).parameters][1:])})" if function is member else ""
            rows.append((code(f"{name}{called}"), first_paragraph(function)))
    return table(("of an evaluation", "what it is"), rows)


TABLES = {
    "fields": fields,
    "recipes": recipes,
    "training": training,
    "heads": heads,
    "objectives": objectives,
    "metrics": metrics,
}


def shown(of: Any) -> str:
    """The attributes of a class as a table; signature and docstring of a function."""
    if isinstance(of, type):
        rows = [(code(name), text) for name, text in attributes(of).items()]
        return table((f"of `{of.__name__}`", "what it is"), rows)
    [node] = ast.parse(textwrap.dedent(inspect.getsource(of))).body
    assert isinstance(node, ast.FunctionDef)
    node.name, node.decorator_list, node.body = of.__qualname__, [], [ast.Expr(ast.Constant(...))]
    if "." in node.name:
        del node.args.args[0]  # self or cls
    signature = ast.unparse(node).removeprefix("def ").partition(":\n")[0]
    return f"```text\n{signature}\n\n{inspect.getdoc(of)}\n```"


def first_paragraph(described: Any) -> str:
    """Of the docstring."""
    return " ".join((inspect.getdoc(described) or "").partition("\n\n")[0].split())


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    lines = [tuple(header), *(tuple(text.replace("``", "`").replace("|", r"\|") for text in row) for row in rows)]
    lines.insert(1, ("---",) * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def code(text: str) -> str:
    """As Markdown shows code."""
    return f"`{text}`"


def codes(texts: Iterable[str]) -> str:
    """Several of them; a dash for none."""
    return ", ".join(map(code, texts)) or "–"


def value(of: Any) -> str:
    """A default in words."""
    if of is None:
        return "none"
    return {True: "on", False: "off"}[of] if isinstance(of, bool) else str(of)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text("utf-8")), "utf-8")
