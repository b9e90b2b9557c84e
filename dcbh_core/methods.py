"""From the name of a head, an objective or a recipe to its class: one of the kit's, or ``FILE.py:NAME``, one's own."""

from __future__ import annotations

import ast
import difflib
import functools
import re
import sys
import threading
import traceback
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .heads import HEADS, Head
from .losses import OBJECTIVES, Objective
from .peers import PEERS

if TYPE_CHECKING:
    from .training import Training

OWN = ("head", "objective", "recipe")  # the fields of a config that may name a file of one's own
ALL_OBJECTIVES: dict[str, type[Objective]] = {**OBJECTIVES, **PEERS}
M = TypeVar("M")
_PARSING = threading.Lock()


def find_head(name: str) -> type[Head]:
    """The class of a head; see ``find``."""
    return find("head", name, Head, HEADS)


def find_objective(name: str) -> type[Objective]:
    """The class of an objective; see ``find``."""
    return find("objective", name, Objective, ALL_OBJECTIVES)


def find_recipe(name: str) -> type[Training]:
    """The class of a recipe; see ``find``."""
    from .training import TRAININGS, Training  # which is made of configs

    return find("recipe", name, Training, TRAININGS)


def find(kind: str, name: str, base: type[M], known: Mapping[str, type[M]]) -> type[M]:
    """The class that ``name`` means: a name of the kit's, or FILE.py:NAME, whose file is executed to get at it.

    Args:
        kind: What it is, one of ``OWN``.
        name: What the config says.
        base: The class that it must be a subclass of.
        known: The kit's own, by name.

    Raises:
        ValueError: There is no such name, or the file is not there, cannot be executed, or has no such class; the
            sentence names file and line.
    """
    if not isinstance(name, str):
        raise ValueError(f"{kind} must be a text, not {name!r}")
    file = own_file(name)
    if file is None:
        if name not in known:
            raise unknown_name(kind, name, [*known, f"FILE.py:NAME for {a(kind)} of your own"])
        return known[name]
    path, wanted = file
    if not path.is_file():
        raise ValueError(f"{kind} {name!r}: there is no file {path}")
    module = _executed(path.absolute(), path.read_text("utf-8", errors="replace"))
    classes = [key for key, value in vars(module).items() if isinstance(value, type) and issubclass(value, base)]
    if wanted not in vars(module):
        raise unknown_name(f"{kind} in {path}:", wanted, [key for key in classes if key != base.__name__])
    found = vars(module)[wanted]
    fault = _fault(found, base)
    if fault:
        raise ValueError(f"{path}, line {line_of(path, wanted)}: {wanted} {fault}")
    return found


def _fault(found: object, base: type) -> str | None:
    """Why something that stands in a file is not of the kind that it should be; None where it is."""
    if not (isinstance(found, type) and issubclass(found, base)):
        return f"must be a subclass of dcbh_core.{base.__name__}"
    if issubclass(found, Objective):
        terms = getattr(found, "terms", None)
        if not isinstance(terms, tuple) or not terms or "total" in terms:
            return 'must name its terms, none of them total: terms = ("name", ...)'
        if found.head not in HEADS:
            return f"goes with an {unknown_name('head of the kit', found.head, HEADS)}"
    return None


def own_file(name: str | None) -> tuple[Path, str] | None:
    """The file and the class of ``FILE.py:NAME``, or None for a name of the kit's."""
    match = re.fullmatch(r"(.+\.py):(\w+)", name or "")
    return (Path(match[1]).expanduser(), match[2]) if match else None


def portable(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a config with files of one's own by their names, wherever they lie; all else as it is."""
    files = {name: own_file(value) for name, value in values.items() if name in OWN and isinstance(value, str)}
    return {**values, **{name: f"{file[0].name}:{file[1]}" for name, file in files.items() if file}}


def line_in(path: Path, error: BaseException) -> int | None:
    """The last line of ``path`` that an error came through, or None."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return lines[-1] if lines else None


def syntax_tree(source: str) -> ast.Module:
    """The syntax tree of Python source, made by one thread at a time.

    In Python 3.11 all threads share the counter of the parser's depth, and a second one makes the first fail with
    "AST constructor recursion depth mismatch" (github.com/python/cpython, issue 106905).

    Raises:
        SyntaxError: It is no Python.
    """
    with _PARSING:
        return ast.parse(source)


def line_of(path: Path, name: str, function: str = "") -> int:
    """The line on which a class, or a function of it, begins; the nearest before it where it does not stand there."""
    line, body = 1, syntax_tree(path.read_text("utf-8", errors="replace")).body
    for wanted in (name, function):
        found = [node for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == wanted]
        if not found:
            break
        line, body = found[-1].lineno, found[-1].body
    return line


@functools.lru_cache(maxsize=64)
def _executed(path: Path, source: str) -> types.ModuleType:
    """The module that a file makes; once for each content, so that a class keeps its identity.

    Raises:
        ValueError: It cannot be executed; the sentence names file and line.
    """
    module = types.ModuleType(str(path))
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # where dataclasses look for the meaning of annotations
    try:
        exec(compile(source, str(path), "exec", dont_inherit=True), vars(module))
    except SyntaxError as error:
        raise ValueError(f"{path}, line {error.lineno or 1}: {error.msg}") from None
    except (Exception, SystemExit) as error:
        raise ValueError(f"{path}, line {line_in(path, error) or 1}: {type(error).__name__}: {error}") from None
    return module


def unknown_name(kind: str, name: object, known: Iterable[str]) -> ValueError:
    """A ValueError that says which ``kind`` of name is unknown, which known one is nearest, and what there is."""
    known = list(known)
    nearest = difflib.get_close_matches(str(name), known, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    return ValueError(f"unknown {kind} {name!r}{hint} (known: {', '.join(known)})")


def a(word: str) -> str:
    """The word with its article."""
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"
