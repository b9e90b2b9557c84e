"""Tables and figures of a report as LaTeX, each ready for ``\\input``; they need the packages booktabs and graphicx."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from .suite import BASELINES, REPEATS, Suite, point_text
from .tables import all_questions, at_point, caption, table, values_in_words

SMALLER_IS_BETTER = ("seconds",)
NEITHER = ("gallery", "relevant")  # says nothing of a method

GREEK = "αβγδεζηθικλμνξπρςστυφχψωΓΔΘΛΞΠΣΥΦΨΩ"
NAMES = (  # of their commands
    "alpha beta gamma delta varepsilon zeta eta theta iota kappa lambda mu nu xi pi rho varsigma sigma tau upsilon "
    "varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
)
SIGNS = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "[": "{[}", "]": "{]}"},
    **{"±": r"$\pm$", "−": "$-$", "–": "--", "★": r"$\star$", "≥": r"$\geq$", "≤": r"$\leq$", "×": r"$\times$"},
    **{sign: rf"$\{name}$" for sign, name in zip(GREEK, NAMES.split(), strict=True)},
    **dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΧο", "ABEZHIKMNOPTXo", strict=True)),  # for which TeX has no command
    '"': "''",
    "*": "{*}",  # bare, it belongs to the line break before it
}
# In a command that is to be typed no two hyphens become a dash, and no quote becomes curly.
TYPED = {**SIGNS, "-": "{-}", "'": r"\textquotesingle{}", '"': r"{\char34}", "`": r"\textasciigrave{}"}


def escaped(text: str, signs: Mapping[str, str] = SIGNS) -> str:
    """A text for LaTeX in which nothing is a command, on one line; with ``TYPED`` for ``\\texttt``."""
    return "".join(signs.get(sign, sign) for sign in " ".join(str(text).split()))


def labelled(*names: str) -> str:
    """Names as a label of LaTeX, of letters, digits and dashes."""
    return ":".join(re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") for name in names)


def latex_table(frame: pd.DataFrame, suite: Suite, metric: str = "map", command: str = "") -> str:
    """The table of a metric as a ``table`` environment, with caption, label and a footnote.

    Where several questions were asked they are the columns, and the grid points follow each other as groups of rows;
    else the points are the columns. The best method of each column, by its mean, is bold.

    Args:
        frame: From ``collect`` or ``recorded``.
        suite: Whose runs they are.
        metric: What the table is of.
        command: What has made the runs, for the footnote.

    Raises:
        ValueError: There is no such metric.
    """
    statistics = all_questions(frame, suite, metric)
    questions = list(statistics["question"].unique())
    asked = statistics if len(questions) > 1 else statistics.drop(columns="question")
    text = table(asked, suite).set_index("variant").astype(str)
    points = suite.points(without=REPEATS)
    # The columns of ``table`` are in this order.
    places = [(point_text(point), question) for point in points for question in questions]
    best = {
        (point_text(point), question): _best(at_point(statistics, {**point, "question": question}), metric)
        for point in points
        for question in questions
    }
    cells = {
        (label, place): _bold(entry) if label in best[place] else escaped(entry)
        for label, row in zip(text.index, text.to_numpy().tolist(), strict=True)
        for place, entry in zip(places, row, strict=True)
    }
    if len(questions) > 1:
        heads = questions
        groups = [(_title(suite, point), [(point_text(point), one) for one in questions]) for point in points]
    else:
        heads = [_title(suite, point) or "value" for point in points]
        groups = [("", places)]
    lines = [rf"\begin{{tabular}}{{@{{}}l{'r' * len(heads)}@{{}}}}", r"\toprule", _row("variant", map(escaped, heads))]
    for title, own in groups:
        lines.append(r"\midrule")
        if title:
            lines.append(rf"\multicolumn{{{len(heads) + 1}}}{{@{{}}l}}{{\emph{{{escaped(title)}}}}} \\")
        for label in text.index:
            if label == next((one for one in text.index if one not in set(statistics["variant"])), None):
                lines.append(r"\addlinespace")  # before the differences
            lines.append(_row(escaped(label), [cells[label, place] for place in own]))
    lines += [r"\bottomrule", r"\end{tabular}"]
    said = f"{suite.title}. {caption(suite, frame, metric)}. Bold: the best code of a column."
    return "\n".join(
        [
            r"% Needs \usepackage{booktabs,graphicx}, and textcomp before the LaTeX of 2020.",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escaped(said)}}}",
            rf"\label{{{labelled('tab', suite.name, metric)}}}",
            r"\footnotesize",
            r"\setlength{\tabcolsep}{4pt}",
            r"\sbox0{%",
            *lines,
            r"}%",
            r"\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi",
            rf"\par\smallskip\parbox{{\linewidth}}{{\scriptsize {_footnote(frame, command)}}}",
            r"\end{table}",
            "",
        ]
    )


def latex_figure(suite: Suite, name: str, said: str) -> str:
    """A ``figure`` environment around ``figures/NAME.pdf``, with caption and label.

    Args:
        suite: Whose figure it is.
        name: Of the file, without its ending.
        said: The caption, in plain text.
    """
    lines = [
        r"% Needs \usepackage{graphicx}; figures/ lies beside the document.",
        r"\begin{figure}",
        r"\centering",
        rf"\includegraphics[width=\linewidth]{{figures/{name}.pdf}}",
        rf"\caption{{{escaped(said)}}}",
        rf"\label{{{labelled('fig', suite.name, name)}}}",
        r"\end{figure}",
        "",
    ]
    return "\n".join(lines)


def _title(suite: Suite, point: dict[str, Any]) -> str:
    """A grid point in words, and what the pairs of values are where there are two."""
    return ", ".join(filter(None, (point_text(point), values_in_words(suite, point))))


def _best(statistics: pd.DataFrame, metric: str) -> set[str]:
    """The methods whose mean, as it is printed, is the best of a column."""
    means = statistics[~statistics["variant"].isin(BASELINES)].set_index("variant")["mean"].round(3).dropna()
    if metric.endswith(NEITHER) or len(means) < 2:
        return set()
    best = means.min() if metric in SMALLER_IS_BETTER else means.max()
    return set(means.index[means == best])


def _bold(entry: str) -> str:
    """An entry with its value, or values, in bold, and not what is behind: "0.9 ± 0.1" has one, "0.9 / 0.8" two."""
    value, sign, rest = entry.partition(" ± ")
    return rf"\textbf{{{escaped(value)}}}" + (f" {escaped(sign.strip())} {escaped(rest)}" if sign else "")


def _row(label: str, entries: Sequence[str] | map[str]) -> str:
    return " & ".join([label, *entries]) + r" \\"


def _footnote(frame: pd.DataFrame, command: str) -> str:
    """Command, seeds and machines, as far as they are known."""
    parts = [rf"\texttt{{{escaped(command, TYPED)}}}"] if command else []
    seeds = sorted(frame["seed"].unique()) if "seed" in frame else []
    parts += [escaped(f"{len(frame)} runs"), escaped(f"seeds {', '.join(map(str, seeds))}")] if seeds else []
    if "machine" in frame:
        parts.append(escaped("; ".join(sorted(frame["machine"].unique()))))
    parts += [
        escaped(f"{name} {', '.join(sorted(frame[name].unique()))}")
        for name in ("torch", "dtype", "threads")
        if name in frame
    ]
    return ". ".join(parts) + "."
