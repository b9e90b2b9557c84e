"""How tables are written: as Markdown, with a caption and notes, and into the files of a report."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pandas as pd

from .latex import latex_table
from .suite import Suite
from .tables import all_questions, caption, missing_runs, tables


def markdown(text: pd.DataFrame) -> str:
    """A table of texts as Markdown, with columns of numbers to the right."""
    head = [plain(name) for name in text.columns]
    entries = [[plain(entry) for entry in row] for row in text.to_numpy().tolist()]
    numbers = [all(re.match(r"[+−]?\d|–|$", str(entry)) for entry in text.iloc[:, i]) for i in range(1, len(head))]
    rows = [head, ["---", *("---:" if number else "---" for number in numbers)], *entries]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def plain(text: str) -> str:
    """A text for Markdown in which nothing is markup, HTML, a link or a formula, on one line."""
    special = r"[\\`*\[\]<>&|$~#]|(?<!\w)_|_(?!\w)|:(?=//)|^[-+=]+(?=\s|$)|^\d+(?=[.)](\s|$))"
    # Not backslashes: what reads Markdown with formulas takes a backslash and a bracket for the beginning of one.
    return re.sub(special, lambda found: "".join(f"&#{ord(sign)};" for sign in found[0]), " ".join(str(text).split()))


def notes(suite: Suite, frame: pd.DataFrame) -> list[str]:
    """What a reader of the table must know, each as one sentence for Markdown.

    They are about missing runs, another source, and several machines.
    """
    sentences = []
    missing = missing_runs(suite, frame)
    if missing:
        sentences.append(f"Missing runs ({len(missing)} of {len(suite)}): {', '.join(missing)}.")
    for changed, rows in frame[frame["changed"] != ""].groupby("changed") if "changed" in frame else ():
        sentences.append(
            f"Made by another source than the present one ({changed} changed since): {len(rows)} of {len(frame)} runs, "
            f"of {', '.join(dict.fromkeys(rows['variant']))}."
        )
    if "machine" in frame and frame["machine"].nunique() > 1:
        machines = "; ".join(sorted(frame["machine"].unique()))
        sentences.append(f"These runs are from machines of different kinds: {machines}.")
    return [plain(sentence) for sentence in sentences]


def write_tables(
    directory: str | os.PathLike[str], frame: pd.DataFrame, suite: Suite, metric: str = "map", command: str = ""
) -> None:
    """Write summary.csv, table.md and table.tex of a metric into a directory.

    Args:
        directory: Where they are to be.
        frame: From ``collect``.
        suite: Whose runs they are.
        metric: What the tables are of.
        command: What has made the runs, for the footnote in LaTeX.
    """
    directory = Path(directory)
    all_questions(frame, suite, metric).drop(columns="values").to_csv(directory / "summary.csv", index=False)
    text = tables(frame, suite, metric)
    parts = [
        f"# {plain(suite.title)}",
        plain(suite.about),
        f"{plain(caption(suite, frame, metric))}:",
        markdown(text),
        *notes(suite, frame),
    ]
    (directory / "table.md").write_text("\n\n".join(parts) + "\n", "utf-8")
    (directory / "table.tex").write_text(latex_table(frame, suite, metric, command), "utf-8")
