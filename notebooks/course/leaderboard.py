"""The page of a competition: who is first, how surely, by how much luck, and how far off the predictions were.

It loads nothing from elsewhere and shows no face and no name but those of the students.
"""

from __future__ import annotations

import base64
import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from ablations.intervals import FEWEST, holm
from ablations.run_directory import QUESTIONS
from ablations.suite import BASELINES, Suite
from ablations.tables import summary
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
        counts: Whether it is one of those that its author may hand in.
    """

    student: str
    number: int
    predicted: float | None
    because: str
    reason: str
    run: Path | None = None
    counts: bool = True

    @property
    def name(self) -> str:
        """What its runs are called."""
        return f"{self.student} {self.number}"


class Score(NamedTuple):
    """What one row of a summary says; NaN where there is nothing to say."""

    values: tuple[float, ...]  # by seed
    mean: float
    half_width: float
    difference: float  # to the first
    difference_half_width: float
    p: float


def leaderboard(standings: Sequence[Standing], frame: pd.DataFrame, suite: Suite, question: str) -> str:
    """The whole page.

    Args:
        standings: All submissions.
        frame: The runs of those that have a score, and of the reference, from ``collect``.
        suite: Whose runs they are.
        question: The title of the question that decides.
    """
    figures.set_style()
    scored = {standing.name: standing for standing in standings if not standing.reason}
    [metric] = [f"{one.prefix}map" for one in QUESTIONS if one.title == question]
    answered = frame[frame["variant"].isin(scored)] if metric in frame else pd.DataFrame({"variant": [], metric: []})
    means = answered.groupby("variant")[metric].mean().sort_values(ascending=False, kind="stable")
    order = [str(name) for name in means.index]
    against = dataclasses.replace(suite, reference=order[0] if order else suite.reference)
    asked = [] if frame.empty else [one for one in QUESTIONS if f"{one.prefix}map" in frame]
    tables = {one.title: _scores(frame, against, f"{one.prefix}map") for one in asked}
    decides = tables.get(question, {})
    starred = dict(zip(order[1:], holm([decides[name].p for name in order[1:]]), strict=True))
    rows = []
    for name, score in sorted(decides.items(), key=lambda item: -item[1].mean):
        standing = scored.get(name)
        predicted = standing.predicted if standing else None
        rows.append(
            {
                "rank": 1 + int((means > means[name]).sum()) if standing else "",
                "name": standing.student if standing else name,
                "number": standing.number if standing else "",
                "scores": {title: _text(one[name].mean, one[name].half_width) for title, one in tables.items()},
                "behind": _text(-score.difference, score.difference_half_width) if name in starred else "",
                "star": starred.get(name, False),
                "luck": f"{_luck(score):.3f}" if standing and len(score.values) > 1 else "",
                "predicted": "" if predicted is None else f"{predicted:.3f}",
                "off": "" if predicted is None else _signed(predicted - score.mean),
            }
        )
    cards = [{"standing": scored[name], "map": _code_map(run) if (run := scored[name].run) else None} for name in order]
    handed_in = Counter(standing.student for standing in standings if standing.counts)
    predictions = {name: scored[name].predicted for name in order}
    return str(
        PAGE.render(
            title=suite.title,
            question=question,
            meaning=MEANING[question],
            others=[title for title in tables if title != question],
            rows=rows,
            refused=[standing for standing in standings if standing.reason],
            cards=cards,
            chart=_picture(_chart(decides, predictions, question)) if decides else None,
            verdicts=_verdicts(decides, predictions, starred, suite.reference) if order else [],
            seeds=len(suite.points()),
            intervals=len(suite.points()) >= FEWEST,
            reference=suite.reference,
            counts=sorted(handed_in.items()),
        )
    )


def _scores(frame: pd.DataFrame, suite: Suite, metric: str) -> dict[str, Score]:
    """The score of each variant and baseline that has one."""
    rows = summary(frame, suite, metric)
    rows = rows[rows["variant"].isin([*suite.variants, *BASELINES]) & (rows["n"] > 0)]
    return {row["variant"]: Score(*(row[field] for field in Score._fields)) for row in rows.to_dict("records")}


def _luck(score: Score) -> float:
    return max(score.values) - score.mean


def _text(mean: float, half: float) -> str:
    return f"{mean:.3f}" if math.isnan(half) else f"{mean:.3f} ± {half:.3f}"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _verdicts(
    decides: dict[str, Score], predictions: dict[str, float | None], starred: dict[str, bool], reference: str
) -> list[str]:
    """What the table says, in sentences; ``predictions`` has the entries, the first one first."""
    first, *_ = order = list(predictions)
    sentences = [f"First by its mean: {first}, {decides[first].mean:.3f}."]
    level = [name for name, star in starred.items() if not star]
    if math.isnan(decides[first].half_width):
        sentences.append("There are too few seeds for an interval, so nothing is said about how sure the order is.")
    elif level:
        sentences.append(
            f"Not shown to be behind it: {', '.join(level)}. As far as these faces can tell, the first place is shared."
        )
    elif starred:
        sentences.append("All others are shown to be behind it.")
    for floor, what in ((reference, reference), ("raw pixels", "comparing raw pixels, which needs no training")):
        if floor in decides:
            above = sum(decides[name].mean > decides[floor].mean for name in order)
            sentences.append(f"{above} of {len(order)} have a higher mean than {what}.")
    if len(decides[first].values) > 1:
        luckiest = max(order, key=lambda name: _luck(decides[name]))
        sentences.append(
            f"Luckiest: {luckiest}, whose best seed lies {_luck(decides[luckiest]):.3f} above its own mean. Whoever "
            "reports the best seed reports this too."
        )
        by_best = max(order, key=lambda name: max(decides[name].values))
        if by_best != first:
            sentences.append(f"By best seeds alone, {by_best} would be first.")
    guesses = {name: guess - decides[name].mean for name, guess in predictions.items() if guess is not None}
    if guesses:
        nearest = min(guesses, key=lambda name: abs(guesses[name]))
        high = sum(error > 0 for error in guesses.values())
        off = np.mean([abs(error) for error in guesses.values()])
        sentences.append(
            f"Predictions were off by {off:.3f} in the mean; {high} of {len(guesses)} were too high. "
            f"Nearest: {nearest}, {_signed(guesses[nearest])}."
        )
    return sentences


def _chart(decides: dict[str, Score], predictions: dict[str, float | None], question: str) -> Figure:
    """Means with their intervals, seeds as dots, and what was predicted, one line an entry, the best on top."""
    lines = sorted(decides.items(), key=lambda item: -item[1].mean)
    fig, ax = plt.subplots(figsize=(7.5, 0.36 * len(lines) + 1.1), layout="constrained")
    for place, (name, score) in enumerate(lines):
        color = "C0" if name in predictions else "0.5"
        half = None if math.isnan(score.half_width) else score.half_width
        ax.errorbar(score.mean, place, xerr=half, fmt="|", ms=13, color=color, capsize=3)
        if name not in BASELINES:
            ax.plot(score.values, [place] * len(score.values), "o", color=color, alpha=0.5)
        predicted = predictions.get(name)
        if predicted is not None:
            ax.plot(predicted, place, "D", mfc="none", color=figures.WRONG)
    ax.plot([], [], "o", color="C0", alpha=0.5, label="a seed")
    ax.plot([], [], "D", mfc="none", color=figures.WRONG, label="predicted")
    ax.set_yticks(range(len(lines)), [name[:40] for name, _ in lines], parse_math=False)
    ax.set(xlabel=f"MAP, {question}", xlim=(0, 1), ylim=(len(lines) - 0.5, -0.5))
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize="small", frameon=False)
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
body { max-width: 80rem; margin: 0 auto; padding: 1rem 1rem 3rem; font: 16px/1.55 system-ui, sans-serif; color: #222; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .35rem .55rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th { vertical-align: bottom; }
td.text, th.text { text-align: left; }
td.name { max-width: 14rem; overflow: hidden; text-overflow: ellipsis; text-align: left; }
td.reason { white-space: normal; overflow-wrap: anywhere; min-width: 9rem; text-align: left; }
tr.floor { color: #666; font-style: italic; }
.decides { background: #eef5fb; }
img { max-width: 100%; height: auto; }
.wide img { min-width: 30rem; }
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
<tr><th></th><th class="text">student</th><th>no.</th><th class="decides">{{ question }}</th>
<th>behind<br>the first</th><th>best seed<br>− mean</th><th>predicted</th><th>predicted<br>− mean</th>
{% for one in others %}<th>{{ one }}</th>{% endfor %}</tr>
{% for row in rows %}
<tr{% if not row.rank %} class="floor"{% endif %}><td>{{ row.rank }}</td><td class="name">{{ row.name }}</td>
<td>{{ row.number }}</td><td class="decides">{{ row.scores[question] }}</td>
<td>{{ row.behind }}{% if row.star %} ★{% endif %}</td><td>{{ row.luck }}</td><td>{{ row.predicted }}</td>
<td>{{ row.off }}</td>{% for one in others %}<td>{{ row.scores[one] }}</td>{% endfor %}</tr>
{% endfor %}
</table></div>
<p>★: shown to be behind the first, together with all others that bear a star (Holm's procedure). Without a star it is
not shown, which is not the same as level. The first was found by looking for the highest of these very numbers, so its
own is, as any winner's, a little too high: the best of many is lucky as well as good. <i>In italics</i>:
{{ reference }} with the same budget, comparing raw pixels, and a random order.</p>
{% endif %}
{% if chart %}<p class="wide"><img src="{{ chart }}" alt="Means, seeds and predictions of all entries"></p>{% endif %}
{% if refused %}
<h2>Without a score</h2>
<div class="wide"><table>
<tr><th class="text">student</th><th>no.</th><th>predicted</th><th class="text">reason</th></tr>
{% for one in refused %}
<tr><td class="name">{{ one.student }}</td><td>{{ one.number }}</td>
<td>{{ "" if one.predicted is none else "%.3f" | format(one.predicted) }}</td>
<td class="reason">{{ one.reason }}</td></tr>
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
<figcaption><b>{{ card.standing.student }}, no. {{ card.standing.number }}</b>
{{ card.standing.because }}</figcaption></figure>
{% endfor %}
</div>
{% endif %}
<p>Handed in and counted:
{% for student, count in counts %}{{ student }} {{ count }}{{ ", " if not loop.last else "." }}
{% endfor %}</p>
</body></html>
""")
