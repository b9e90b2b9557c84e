"""Fills in the tables of recorded results that pages show: ``python -m docs.make_tables``.

Such a table stands between ``<!-- table: SUITE {OPTIONS} -->`` and ``<!-- end -->``. OPTIONS is YAML on one line or
left out: ``where`` (as that of a report), ``metric``, ``twins: true`` (each variant once more, with a memory),
``reference`` (another variant than the suite's), ``rows`` (these alone), ``questions`` (these alone), ``along`` (what
the further values of this axis change), and ``made: before_binarisation``, ``made: memory``, ``made: tuning`` or
``made: weights`` for these tables.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pandas as pd

from ablations.memory_weights import weights_table
from ablations.records import recorded
from ablations.run_directory import MEMORY
from ablations.suite import load_suite, parse_yaml
from ablations.tables import along, before_binarisation, remembering, tables, with_memory
from ablations.tuning import leading, scores
from ablations.writing import markdown
from dcbh_core.memory import NOBODY

ROOT = Path(__file__).resolve().parent.parent
WEIGHED = ROOT / "ablations/results/candidates/memory_lfw.csv"
PAGES = ("README.md", "ablations/results/README.md")
OTHERS = {"before_binarisation": before_binarisation, "memory": with_memory}


def filled(page: str) -> str:
    """The page, with each table as it is recorded now."""
    return re.sub(
        r"(<!-- table: (\S+)([^\n]*?) -->).*?(<!-- end -->)",
        lambda match: f"{match[1]}\n\n{table(match[2], match[3])}\n\n{match[4]}",
        page,
        flags=re.S,
    )


def table(name: str, given: str) -> str:
    """One table as Markdown.

    Raises:
        ValueError: There is no such record, or the options do not fit it.
    """
    chosen = parse_yaml(given) or {}
    where = chosen.pop("where", {})
    suite = load_suite(name).where(where)
    options = ("rows", "questions", "made", "twins", "along")
    rows, questions, made, twins, axis = (chosen.pop(option, None) for option in options)
    reference = chosen.pop("reference", suite.reference)
    if made == "tuning":
        return markdown(leading(scores(recorded(f"{name}_tuning"), suite)))
    if made == "weights":
        return markdown(weights_table(pd.read_csv(WEIGHED, comment="#"), [(0.0, NOBODY), (MEMORY, NOBODY)]))
    frame = recorded(name)
    for field, wanted in where.items():  # seeds and splits too, over which a table is
        frame = frame[frame[field].isin(wanted if isinstance(wanted, list) else [wanted])]
    if twins:
        frame, suite = remembering(frame, suite)
    suite = dataclasses.replace(suite, reference=reference)
    if axis is not None:
        text = along(frame, suite, axis)
    else:
        text = OTHERS[made](frame, suite) if made else tables(frame, suite, **chosen)
    if text is None:
        raise ValueError(f"the record of {name!r} does not hold what the table needs")
    if rows is not None:
        text = text.set_index("variant").loc[rows].reset_index()
    if questions is not None:
        asked = {name: name.split(" bits, ")[-1].split(": ")[0] for name in text}
        text = text[[name for name in text if name == "variant" or asked[name] in questions]]
    return markdown(text)


if __name__ == "__main__":
    for page in PAGES:
        path = ROOT / page
        path.write_text(filled(path.read_text("utf-8")), "utf-8")
