"""The page of a competition: who is first, how surely, by how much luck, and how far off the predictions were.

It loads nothing from elsewhere and shows no face and no name but those of the students.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from ablations.intervals import FEWEST, holm
from ablations.run_directory import QUESTIONS
from ablations.suite import Suite
from ablations.tables import BASELINES, summary
from dcbh_core import figures


@dataclasses.dataclass(frozen=True)
class Standing:
    """A submission as it came in.

    Attributes:
        student: Whose it is.
        number: Which of theirs, from 1.
        predicted: The MAP that its author expected, or None.
        because: And why.
        reason: Why it has no score, or "".
        run: The run directory of its first seed, if that is complete.
    """

    student: str
    number: int
    predicted: float | None
    because: str
    reason: str
    run: Path | None = None

    @property
    def name(self) -> str:
        """What its runs are called."""
        return f"{self.student} {self.number}"


def leaderboard(standings: Sequence[Standing], frame: pd.DataFrame, suite: Suite, question: str, metric: str) -> str:
    """The whole page.

    Args:
        standings: All submissions.
        frame: The runs of those that have a score, and of the reference, from ``collect``.
        suite: Whose runs they are.
        question: The title of the question that decides.
        metric: Its MAP.
    """
    figures.set_style()
    scored = {standing.name: standing for standing in standings if not standing.reason}
    means = frame[frame["variant"].isin(scored)].groupby("variant")[metric].mean().sort_values(ascending=False)
    first = str(means.index[0]) if len(means) else suite.reference
    seeds = suite.points()
    asked = [one for one in QUESTIONS if f"{one.prefix}map" in frame]
    by_question = {
        one.title: summary(frame, dataclasses.replace(suite, reference=first), f"{one.prefix}map").set_index("variant")
        for one in asked
    }
    decides = by_question.get(question, pd.DataFrame())
    behind = decides.loc[[name for name in means.index if name != first]] if len(means) else decides
    shown_behind = dict(zip(behind.index, holm(behind["p"].tolist()), strict=True)) if len(behind) else {}
    order = sorted([*means.index, *{suite.reference, *BASELINES}], key=lambda name: -_of(decides, name, "mean"))
    rows = []
    for name in order:
        values = decides.loc[name, "values"] if name in decides.index else ()
        if not len(values):
            continue
        standing = scored.get(name)
        rows.append(
            {
                "rank": 1 + list(means.index).index(name) if standing else "",
                "name": name if standing is None else standing.student,
                "number": standing.number if standing else "",
                "scores": {
                    title: _text(_of(one, name, "mean"), _of(one, name, "half_width"))
                    for title, one in by_question.items()
                },
                "behind": _text(-_of(decides, name, "difference"), _of(decides, name, "difference_half_width"))
                if standing and name != first
                else "",
                "surely": shown_behind.get(name, False),
                "luck": f"{max(values) - _of(decides, name, 'mean'):.3f}" if standing and len(values) > 1 else "",
                "predicted": "" if standing is None or standing.predicted is None else f"{standing.predicted:.3f}",
                "off": ""
                if standing is None or standing.predicted is None
                else _signed(standing.predicted - _of(decides, name, "mean")),
            }
        )
    refused = [standing for standing in standings if standing.reason]
    cards = [
        {
            "name": scored[name].student,
            "number": scored[name].number,
            "because": scored[name].because,
            "map": _code_map(path) if (path := scored[name].run) is not None else None,
        }
        for name in means.index
    ]
    entries = [(name, scored[name].predicted) for name in means.index]
    return PAGE.render(
        title=suite.title,
        question=question,
        meaning=MEANING[question],
        questions=list(by_question),
        rows=rows,
        refused=refused,
        cards=cards,
        chart=_picture(_chart(decides, entries, suite.reference, question)) if len(means) else None,
        verdicts=_verdicts(decides, scored, list(means.index), shown_behind, suite.reference) if len(means) else [],
        seeds=len(seeds),
        intervals=len(seeds) >= FEWEST,
        queries=suite.base.get("queries_per_identity"),
        reference=suite.reference,
        counts={
            student: sum(one.student == student for one in standings)
            for student in sorted({one.student for one in standings})
        },
    )


def _of(statistics: pd.DataFrame, name: str, column: str) -> float:
    return float(statistics.loc[name, column]) if name in statistics.index else math.nan  # type: ignore[arg-type]


def _text(mean: float, half: float) -> str:
    if math.isnan(mean):
        return "–"
    return f"{mean:.3f}" if math.isnan(half) else f"{mean:.3f} ± {half:.3f}"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _verdicts(
    decides: pd.DataFrame,
    scored: dict[str, Standing],
    order: list[str],
    shown_behind: dict[str, bool],
    reference: str,
) -> list[str]:
    """What the table says, in sentences."""
    first = order[0]
    sentences = [f"First by its mean: {first}, {_of(decides, first, 'mean'):.3f}."]
    level = [name for name, behind in shown_behind.items() if not behind]
    if math.isnan(_of(decides, first, "half_width")):
        sentences.append("There are too few seeds for an interval, so nothing is said about how sure the order is.")
    elif level:
        sentences.append(
            f"Not shown to be behind it: {', '.join(level)}. So the first place is shared, as far as these faces can tell."
        )
    elif shown_behind:
        sentences.append("All others are shown to be behind it.")
    if reference in decides.index and len(decides.loc[reference, "values"]):
        above = [name for name in order if _of(decides, name, "mean") > _of(decides, reference, "mean")]
        sentences.append(f"{len(above)} of {len(order)} have a higher mean than {reference}.")
    luck = {name: max(decides.loc[name, "values"]) - _of(decides, name, "mean") for name in order}
    if any(len(decides.loc[name, "values"]) > 1 for name in order):
        luckiest = max(luck, key=lambda name: luck[name])
        sentences.append(
            f"Luckiest: {luckiest}, whose best seed lies {luck[luckiest]:.3f} above its own mean. A paper that reports "
            "the best seed reports this too."
        )
        by_best = max(order, key=lambda name: max(decides.loc[name, "values"]))
        if by_best != first:
            sentences.append(f"By best seeds alone, {by_best} would be first.")
    guesses = {
        name: predicted - _of(decides, name, "mean")
        for name in order
        if (predicted := scored[name].predicted) is not None
    }
    if guesses:
        nearest = min(guesses, key=lambda name: abs(guesses[name]))
        high = sum(error > 0 for error in guesses.values())
        off = np.mean([abs(error) for error in guesses.values()])
        sentences.append(
            f"Predictions were off by {off:.3f} in the mean; {high} of {len(guesses)} were too high. Nearest: {nearest}, "
            f"{_signed(guesses[nearest])}."
        )
    return sentences


def _chart(decides: pd.DataFrame, entries: list[tuple[str, float | None]], reference: str, question: str) -> Figure:
    """Means with their intervals, seeds as dots, and what was predicted, one line an entry, the best on top."""
    lines = [*entries, *[(name, None) for name in (reference, *BASELINES) if name in decides.index]]
    lines = sorted(lines, key=lambda line: -_of(decides, line[0], "mean"))
    fig, ax = plt.subplots(figsize=(7.5, 0.36 * len(lines) + 1.1), layout="constrained")
    for place, (name, predicted) in enumerate(lines):
        values, mean, half = (decides.loc[name, column] for column in ("values", "mean", "half_width"))
        color = "C0" if name in dict(entries) else "0.5"
        ax.errorbar(mean, place, xerr=None if math.isnan(half) else half, fmt="|", ms=13, color=color, capsize=3)
        if name not in BASELINES:
            ax.plot(values, [place] * len(values), "o", color=color, alpha=0.5, label="a seed" if not place else None)
        if predicted is not None:
            ax.plot(predicted, place, "D", mfc="none", color=figures.WRONG, label="predicted")
    ax.set_yticks(range(len(lines)), [name[:40] for name, _ in lines], parse_math=False)
    ax.set(xlabel=f"MAP, {question}", xlim=(0, 1), ylim=(len(lines) - 0.5, -0.5))
    handles = dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
    ax.legend(handles.values(), handles.keys(), loc="lower right", fontsize="small")
    return fig


def _code_map(run: Path) -> str | None:
    """The codes of the unseen people under t-SNE, a colour for each person; None where the run has none."""
    try:
        with np.load(run / "evaluation.npz") as arrays:
            codes = np.concatenate([arrays[f"{part}_codes"] for part in PARTS])
            labels = np.concatenate([arrays[f"{part}_labels"] for part in PARTS])
            is_query = np.arange(len(codes)) >= len(arrays[f"{PARTS[0]}_codes"])
    except (OSError, KeyError, ValueError):
        return None
    x, y = figures.tsne(codes).T
    palette = np.array(sns.color_palette("husl", int(labels.max()) + 1))
    fig, ax = plt.subplots(figsize=(3.4, 3.0), layout="constrained")
    for part, marker, size in ((~is_query, "o", 22), (is_query, "^", 40)):
        edge = "black" if marker == "^" else "none"
        ax.scatter(x[part], y[part], c=palette[labels[part]], marker=marker, s=size, edgecolors=edge, linewidths=0.6)
    ax.set(xticks=[], yticks=[])
    ax.set_title(f"{len(np.unique(codes, axis=0))} codes of {len(codes)} faces", fontsize="small")
    return _picture(fig)


PARTS = ("new_gallery", "new_queries")


def _picture(fig: Figure) -> str:
    """A figure as a data URI; it is closed."""
    return "data:image/png;base64," + base64.b64encode(figures.compact(fig).data).decode()


MEANING = {
    "seen": "people of the training set, sought among the photographs that training has seen",
    "held out": "people of the training set, sought among photographs that training has not seen",
    "unseen": "people whom training has never seen, sought among photographs of theirs",
    "open, known": "people of the training set, sought among everybody's photographs",
    "open, unseen": "people whom training has never seen, sought among everybody's photographs",
}
_ENVIRONMENT: Any = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
PAGE = _ENVIRONMENT.from_string("""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title><style>
body { max-width: 72rem; margin: 0 auto; padding: 1rem 1rem 3rem; font: 16px/1.55 system-ui, sans-serif; color: #222; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .7rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th { vertical-align: bottom; }
td.text, th.text { text-align: left; }
td.name { max-width: 14rem; overflow: hidden; text-overflow: ellipsis; text-align: left; }
td.reason { white-space: normal; overflow-wrap: anywhere; min-width: 16rem; text-align: left; }
tr.floor { color: #666; font-style: italic; }
.decides { background: #eef5fb; }
img { max-width: 100%; height: auto; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); gap: 1rem; }
.cards figure { margin: 0; border: 1px solid #ddd; padding: .7rem; overflow-wrap: anywhere; }
.cards figcaption b { display: block; }
</style></head><body>
<h1>{{ title }}</h1>
<p>What decides is the MAP of the question <b>{{ question }}</b>: {{ meaning }}. 1 is a perfect ranking of every query.
Means over {{ seeds }} seed{{ "s" if seeds != 1 }}{% if intervals %}, ± the half-width of the 95 % interval over people
and seeds{% else %}; with fewer than three there is no interval{% endif %}.</p>
{% if verdicts %}<ul>{% for sentence in verdicts %}<li>{{ sentence }}</li>{% endfor %}</ul>{% endif %}
{% if rows %}
<div class="wide"><table>
<tr><th></th><th class="text">student</th><th>no.</th>
{% for one in questions %}<th{% if one == question %} class="decides"{% endif %}>{{ one }}</th>{% endfor %}
<th>behind the first</th><th>best seed<br>− mean</th><th>predicted</th><th>predicted<br>− mean</th></tr>
{% for row in rows %}
<tr{% if not row.rank %} class="floor"{% endif %}><td>{{ row.rank }}</td><td class="name">{{ row.name }}</td>
<td>{{ row.number }}</td>
{% for one in questions %}<td{% if one == question %} class="decides"{% endif %}>{{ row.scores[one] }}</td>{% endfor %}
<td>{{ row.behind }}{% if row.surely %} ★{% endif %}</td><td>{{ row.luck }}</td><td>{{ row.predicted }}</td>
<td>{{ row.off }}</td></tr>
{% endfor %}
</table></div>
<p>★: shown to be behind the first, together with all others that bear a star (Holm's procedure). Without a star it is
not shown, which is not the same as level. The first was found by looking for the highest of these very numbers, so its
own is, as any winner's, a little too high: the best of many is lucky as well as good. <i>In italics</i>: {{ reference }}
with the same budget, comparing raw pixels, and a random order.</p>
{% endif %}
{% if chart %}<p class="wide"><img src="{{ chart }}" alt="Means, seeds and predictions of all entries"></p>{% endif %}
{% if refused %}
<h2>Without a score</h2>
<div class="wide"><table><tr><th class="text">student</th><th>no.</th><th>predicted</th><th class="text">reason</th></tr>
{% for one in refused %}
<tr><td class="name">{{ one.student }}</td><td>{{ one.number }}</td>
<td>{{ "" if one.predicted is none else "%.3f" | format(one.predicted) }}</td><td class="reason">{{ one.reason }}</td></tr>
{% endfor %}
</table></div>
{% endif %}
{% if cards %}
<h2>The codes of the unseen people</h2>
<p>Under t-SNE, the first seed: one colour a person, triangles are queries. Neighbours on paper have similar codes; gaps
and sizes mean nothing.</p>
<div class="cards">
{% for card in cards %}
<figure>{% if card.map %}<img src="{{ card.map }}" alt="A map of codes">{% endif %}
<figcaption><b>{{ card.name }}, no. {{ card.number }}</b>{{ card.because }}</figcaption></figure>
{% endfor %}
</div>
{% endif %}
<p>Handed in and counted: {% for student, count in counts.items() %}{{ student }} {{ count }}{{ ", " if not loop.last }}{% endfor %}.</p>
</body></html>
""")
