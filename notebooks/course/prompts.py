"""What the notebooks ask their reader to look at and to try, and the model answers to it.

The answers are in ``course/solutions/answers.md``: a heading for each notebook, below it for each prompt its first
words as a quotation, and the answer. A test holds the two together.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ANSWERS = Path(__file__).parent / "solutions/answers.md"


def prompts(content: Any) -> list[str]:
    """The prompts of a notebook, in order, as plain text.

    A prompt is what a paragraph begins with in italics ("*Look at the rows:* ...", hints excepted), or an item of the
    list below a heading that ends in "try" or is "Try it".

    Args:
        content: The notebook, as nbformat reads it.
    """
    found = []
    for cell in content.cells:
        if cell.cell_type != "markdown":
            continue
        trying = False
        for block in re.split(r"\n\s*\n", cell.source):
            if block.startswith("#"):
                trying = re.match(r"#+ (Try it|.* to try)\s*(\n|$)", block) is not None
            if trying:
                found += [plain(item) for item in re.split(r"(?m)^- ", block)[1:]]
            elif lead := re.match(r"\*(?!\*|Hint)([^*]+)\*", block):
                found.append(plain(lead[1]))
    return found


def plain(text: str) -> str:
    """Markdown without stars and backticks, on one line."""
    return " ".join(re.sub(r"[*`]", "", text).split())


def answers(path: Path = ANSWERS) -> dict[str, list[tuple[str, str]]]:
    """By the stem of each notebook's file the first words of its prompts, as plain text, and their answers (Markdown);
    empty where the answers have been taken out."""
    found: dict[str, list[tuple[str, str]]] = {}
    for part in re.split(r"(?m)^## ", path.read_text("utf-8"))[1:] if path.exists() else []:
        notebook, _, text = part.partition("\n")
        entries = re.findall(r"(?ms)^> (.+?)\n\n(.+?)(?=\n> |\Z)", text)
        found[notebook.strip()] = [
            (plain(quotation.replace("\n> ", " ")), answer.strip()) for quotation, answer in entries
        ]
    return found
