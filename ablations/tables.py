"""Tables: what the runs of a suite say together, as numbers and as text to be read; ``writing`` makes files of them.

Over seeds and splits: the mean and the half-width of its 95 % interval, and the difference to the reference variant at
the same grid point (see ``intervals``). With fewer than three runs there is no interval, and the values themselves are
shown.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dcbh_core.methods import portable, unknown_name

from .intervals import FEWEST, Bootstrap, Estimate, Sample, estimate, holm
from .per_query import PerQuery, question_of
from .run_directory import MEMORY, QUESTIONS
from .suite import BASELINES, REPEATS, SHALLOW, Suite, as_yaml, point_text

# What binarisation cost: metrics of each variant's own runs.
BEFORE = {
    "code": "map",
    "query not binarised": "asymmetric",
    "descriptor": "descriptor",
    "descriptor, cosine": "descriptor_cosine",
}
TITLES = {"map": "MAP", "map_worst": "MAP, worst order of ties", "map_best": "MAP, best order of ties"}
STAR = "★"  # at a difference that holds together with the others of its table
WITH_MEMORY = " with memory"  # behind a variant's name
PER_QUERY = "per_query"  # the column of a frame that holds each run's ``PerQuery``


class Change(NamedTuple):
    """One entry of a table of changes: MAP, and how far that is above another one."""

    label: str
    question: str
    mean: float
    difference: Estimate


def summary(frame: pd.DataFrame, suite: Suite, metric: str = "map") -> pd.DataFrame:
    """Statistics over seeds and splits, per variant and grid point.

    Args:
        frame: From ``collect`` or ``recorded``.
        suite: Whose runs they are.
        metric: One of its columns. For the MAP of a question there are also rows for the baselines (chance, raw
            pixels), from the reference's own runs, and for the shallow methods where a variant's runs have them.

    Returns:
        One row each, with ``variant``, the grid fields but ``REPEATS``, ``n`` runs, ``values`` (a tuple, by split and
        seed), ``mean``, ``half_width`` (of its 95 % interval, NaN below three runs), and of the difference to the
        reference ``difference``, ``difference_half_width`` and ``p``. Where the frame has AP of queries, intervals are
        over people and seeds, else over seeds.

    Raises:
        ValueError: There is no such metric.
    """
    require_metric(frame, suite, metric)
    sources = rows_of(frame, suite, metric)
    needed = {column for _, column in sources.values()}
    bootstrap = _bootstrap(frame, needed)
    rows = []
    for point in suite.points(without=REPEATS):
        here = at_point(frame, point)
        samples = {label: _samples(here, *source) for label, source in sources.items()}
        draws = {label: _draws(bootstrap, own) for label, own in samples.items()}
        reference = suite.reference
        for label, own in samples.items():
            mean = estimate(own, draws=draws[label])
            difference = Estimate(math.nan, math.nan, math.nan)
            if label != reference and label not in BASELINES and own and samples[reference]:
                difference = _difference(own, samples[reference], draws[label], draws[reference], bootstrap)
            # Baselines hang on people and hardly on the seed: an interval over seeds would say nothing. Chance hangs on
            # how many photographs there are.
            certain = label == "chance" or (label in BASELINES and draws[label] is None)
            rows.append(
                {
                    "variant": label,
                    **portable(point),
                    "n": len(own),
                    "values": tuple(sample.value for sample in own),
                    "mean": mean.value,
                    "half_width": math.nan if certain else mean.half_width,
                    "difference": difference.value,
                    "difference_half_width": difference.half_width,
                    "p": difference.p,
                }
            )
    return pd.DataFrame(rows)


def rows_of(frame: pd.DataFrame, suite: Suite, metric: str) -> dict[str, tuple[str, str]]:
    """The rows of a summary: label -> the variant whose runs it is from, and the metric of theirs."""
    rows = {variant: (variant, metric) for variant in suite.variants}
    prefix = question_of(metric).prefix
    if metric != f"{prefix}map":
        return rows
    baselines = {label: (suite.reference, prefix + column) for label, column in BASELINES.items()}
    shallow = {
        label: (frame.dropna(subset=[prefix + column])["variant"].iloc[0], prefix + column)
        for label, column in SHALLOW.items()
        if prefix + column in frame and frame[prefix + column].notna().any()
    }
    return {**baselines, **shallow, **rows}


def _samples(frame: pd.DataFrame, variant: str, metric: str) -> list[Sample]:
    """The runs of a variant that have the metric, by split and seed."""
    if metric not in frame:
        return []
    own = frame[(frame["variant"] == variant) & frame[metric].notna()]
    own = own.sort_values([field for field in ("split_seed", "seed") if field in own])
    samples = []
    for row in own.to_dict("records"):
        per_query = row.get(PER_QUERY)
        part = per_query.of(metric) if isinstance(per_query, PerQuery) else None
        samples.append(Sample(row.get("split_seed", 0), row[metric], *(part or (None, None))))
    return samples


def _bootstrap(frame: pd.DataFrame, metrics: Iterable[str]) -> Bootstrap | None:
    """Draws of the people who are asked for by any of the metrics; None where no run has AP of queries."""
    known = [one for one in frame.get(PER_QUERY, ()) if isinstance(one, PerQuery)]
    people = [part[1] for metric in metrics for one in known if (part := one.of(metric))]
    return Bootstrap(np.concatenate(people)) if people else None


def _draws(bootstrap: Bootstrap | None, samples: list[Sample]) -> np.ndarray | None:
    """The mean of the samples in each draw, or None where not all of them have AP of queries."""
    if bootstrap is None or not samples or any(sample.ap is None for sample in samples):
        return None
    return bootstrap.means(samples)


def _difference(
    own: list[Sample],
    reference: list[Sample],
    draws: np.ndarray | None,
    reference_draws: np.ndarray | None,
    bootstrap: Bootstrap | None,
) -> Estimate:
    """How far a variant is above the reference, over the splits that both have."""
    both = {sample.split for sample in own} & {sample.split for sample in reference}
    if both != {sample.split for sample in (*own, *reference)}:
        own, reference = ([sample for sample in part if sample.split in both] for part in (own, reference))
        draws, reference_draws = _draws(bootstrap, own), _draws(bootstrap, reference)
    apart = None if draws is None or reference_draws is None else draws - reference_draws
    return estimate(own, reference, apart)


def require_metric(frame: pd.DataFrame, suite: Suite, metric: str) -> None:
    """Refuse a metric that the runs do not have.

    Raises:
        ValueError: There is no such metric; the nearest is named.
    """
    if metric not in metrics_of(frame, suite):
        raise unknown_name("metric", metric, metrics_of(frame, suite))


def metrics_of(frame: pd.DataFrame, suite: Suite) -> list[str]:
    """The names of the metrics that a frame of runs has; ``seconds`` of training are one of them."""
    return [str(column) for column in frame.select_dtypes("number") if column not in ("seed", *suite.grid)]


def table(statistics: pd.DataFrame, suite: Suite) -> pd.DataFrame:
    """Statistics as text to be read: a row per variant, then one per difference to the reference.

    "0.912 ± 0.013" is a mean and the half-width of its interval, "0.912 / 0.920" are the values of two runs. Of the
    differences those bear a star that hold together, by Holm's procedure over all differences of the table.

    Args:
        statistics: From ``summary`` or ``all_questions``.
        suite: Whose runs they are.

    Returns:
        ``variant``, and a column for each grid point, and each question, without ``REPEATS``.
    """
    statistics = statistics.assign(holds=holm(statistics["p"].tolist()))
    questions = statistics["question"].unique() if "question" in statistics else [""]
    columns: dict[str, dict[str, str]] = {}
    for point in suite.points(without=REPEATS):
        for question in questions:
            here = at_point(statistics, {**point, "question": question} if question else point)
            name = ", ".join(text for text in (point_text(point), question, values_in_words(suite, point)) if text)
            columns[name or "value"] = _column(here, suite, suite.repeats_at(point))
    return pd.DataFrame(columns).rename_axis("variant").reset_index()


def values_in_words(suite: Suite, point: Mapping[str, Any]) -> str:
    """What the two values of an entry are where a point has two runs, as "seeds 0 / 1"; else nothing.

    Args:
        suite: Whose runs they are.
        point: Without ``REPEATS``.
    """
    repeats = suite.repeats(point)
    if not 1 < len(repeats) < FEWEST:
        return ""
    varied = [field for field in repeats[0] if len({one[field] for one in repeats}) > 1]
    words = {"seed": "seeds", "split_seed": "split seeds"}
    return ", ".join(f"{words[field]} {' / '.join(str(one[field]) for one in repeats)}" for field in varied)


def _column(statistics: pd.DataFrame, suite: Suite, expected: int) -> dict[str, str]:
    """One column of a table, of so many runs per variant: label of the row -> text."""
    column = {}
    for row in statistics.to_dict("records"):
        alone = row["variant"] in BASELINES
        text = entry(row["values"], row["mean"], row["half_width"], alone)
        column[row["variant"]] = (
            f"{text} ({row['n']} of {expected} runs)" if 0 < row["n"] < expected and not alone else text
        )
    for row in statistics.to_dict("records"):
        if row["variant"] != suite.reference and row["variant"] not in BASELINES:
            text = _with_interval(row["difference"], row["difference_half_width"], "+")
            column[f"{row['variant']} − {suite.reference}"] = f"{text} {STAR}" if row["holds"] else text
    return column


def all_questions(frame: pd.DataFrame, suite: Suite, metric: str = "map") -> pd.DataFrame:
    """The summaries of a metric for all questions that the runs have asked, with a column ``question``, its title.

    Args:
        frame: As in ``summary``.
        suite: As in ``summary``.
        metric: Of the first question, or of any: then it is the only one.

    Raises:
        ValueError: There is no such metric.
    """
    require_metric(frame, suite, metric)
    asked = [question_of(metric)]
    if not asked[0].prefix:
        asked = [question for question in QUESTIONS if f"{question.prefix}{metric}" in frame]
    name = metric.removeprefix(asked[0].prefix)
    return pd.concat(
        [summary(frame, suite, f"{one.prefix}{name}").assign(question=one.title) for one in asked], ignore_index=True
    )


def tables(frame: pd.DataFrame, suite: Suite, metric: str = "map") -> pd.DataFrame:
    """The table of a metric, with a column for each question and grid point, or for each point where one was asked.

    Raises:
        ValueError: There is no such metric.
    """
    statistics = all_questions(frame, suite, metric)
    if statistics["question"].nunique() == 1:
        statistics = statistics.drop(columns="question")
    return table(statistics, suite)


def before_binarisation(frame: pd.DataFrame, suite: Suite) -> pd.DataFrame | None:
    """What binarisation cost each variant: MAP of its codes, and of its own descriptors before they became codes.

    Returns:
        A row per grid point and variant, with the point and the variant in words and a column of means for each
        question and each of ``BEFORE``; None where the runs do not have them.
    """
    questions = [question for question in QUESTIONS if f"{question.prefix}asymmetric" in frame]
    rows = []
    for point in suite.points(without=REPEATS):
        here = at_point(frame, point)
        for variant in suite.variants:
            row = {"variant": " ".join(text for text in (variant, point_text(point)) if text)}
            for question in questions:
                for title, column in BEFORE.items():
                    own = here.loc[here["variant"] == variant, question.prefix + column]
                    row[f"{question.title}: {title}"] = _with_interval(own.mean(), math.nan, "")
            rows.append(row)
    return pd.DataFrame(rows) if questions else None


def with_memory(frame: pd.DataFrame, suite: Suite) -> pd.DataFrame | None:
    """What a memory of the training people changes in each variant, within its own runs.

    Returns:
        A row per grid point and variant, with both in words, and a column for each question: MAP of codes with the
        memory, and how far that is above MAP without it, with its interval and a star as in ``table``; None where the
        runs do not have it.
    """
    questions = [question for question in QUESTIONS if f"{question.prefix}memory" in frame]
    draws = {question: _bootstrap(frame, [f"{question.prefix}map"]) for question in questions}
    found: list[Change] = []
    for point in suite.points(without=REPEATS):
        here = at_point(frame, point)
        for variant in suite.variants:
            for question in questions:
                measured = here[here[f"{question.prefix}memory"].notna()]  # not of models that have a memory
                without, recalled = (_samples(measured, variant, question.prefix + name) for name in ("map", "memory"))
                gains = [after.above(before) for after, before in zip(recalled, without, strict=True)]
                mean = float(np.mean([sample.value for sample in recalled])) if recalled else math.nan
                label = " ".join(text for text in (variant, point_text(point)) if text)
                found.append(Change(label, question.title, mean, estimate(gains, draws=_draws(draws[question], gains))))
    return _changes(found) if questions else None


def along(frame: pd.DataFrame, suite: Suite, field: str) -> pd.DataFrame:
    """What each further value of a grid axis changes in each variant.

    Args:
        frame: As in ``summary``.
        suite: As in ``summary``.
        field: The axis; its first value is what the others are compared with.

    Returns:
        A row per variant and further value, with both and the rest of the point in words, and a column for each
        question: MAP, and how far that is above the variant's own at the first value, with its interval and a star as
        in ``table``.
    """
    found: list[Change] = []
    for question in (question for question in QUESTIONS if f"{question.prefix}map" in frame):
        metric = f"{question.prefix}map"
        bootstrap = _bootstrap(frame, [metric])
        for variant in suite.variants:
            for point in suite.points(without=REPEATS):
                first = {**point, field: suite.grid[field][0]}
                own, before = (_samples(at_point(frame, one), variant, metric) for one in (point, first))
                if point == first or not own or not before:
                    continue
                change = _difference(own, before, _draws(bootstrap, own), _draws(bootstrap, before), bootstrap)
                mean = float(np.mean([sample.value for sample in own]))
                found.append(Change(f"{variant} {point_text(point)}", question.title, mean, change))
    return _changes(found)


def _changes(found: Sequence[Change]) -> pd.DataFrame:
    """The table of changes, whose differences are held against each other by Holm's procedure."""
    rows: dict[str, dict[str, str]] = {}
    holds = holm([one.difference.p for one in found])
    for one, held in zip(found, holds, strict=True):
        change = _with_interval(one.difference.value, one.difference.half_width, "+")
        text = f"{_with_interval(one.mean, math.nan, '')} ({change})" if change != "–" else "–"
        rows.setdefault(one.label, {})[one.question] = f"{text} {STAR}" if held else text
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("variant").reset_index()


def remembering(frame: pd.DataFrame, suite: Suite) -> tuple[pd.DataFrame, Suite]:
    """A frame and its suite in which each variant stands once more, as "softmax with memory".

    Such a variant has the same runs; its MAP is that of their codes with a memory of weight ``MEMORY``. So it can be
    compared with all others, or be the reference. Against the variant that it is of, ``with_memory`` says more.

    Raises:
        ValueError: The runs do not have it, or a variant has the name of such a twin.
    """
    require_metric(frame, suite, "memory")
    metrics = [question.prefix for question in QUESTIONS if f"{question.prefix}memory" in frame]
    runs = frame[frame["memory"].notna()]
    again = runs[list(dict.fromkeys(["seed", *suite.grid]))].assign(variant=runs["variant"] + WITH_MEMORY)
    again = again.assign(**{f"{prefix}map": runs[f"{prefix}memory"] for prefix in metrics})
    if PER_QUERY in runs:
        again[PER_QUERY] = [  # type: ignore[assignment]
            one._replace(
                ap={f"{prefix}map": one.ap[f"{prefix}memory"] for prefix in metrics if f"{prefix}memory" in one.ap}
            )
            if isinstance(one, PerQuery) and "memory" in one.ap
            else None
            for one in runs[PER_QUERY]
        ]
    twins = {f"{name}{WITH_MEMORY}": {**fields, "memory": MEMORY} for name, fields in suite.variants.items()}
    if taken := set(twins) & set(suite.variants):
        raise ValueError(f"variant {min(taken)!r} has the name of another one with a memory; give it another name")
    both = dataclasses.replace(suite, variants={**suite.variants, **twins})
    return pd.concat([frame, again], ignore_index=True), both


def seen_and_unseen(frame: pd.DataFrame, suite: Suite) -> pd.DataFrame:
    """What ``figures.seen_against_unseen`` draws.

    Returns:
        A row per method and grid point without ``REPEATS``, without the baselines, with ``variant``, ``point`` in
        words, the means ``seen`` and ``unseen``, and ``seen_half_width`` and ``unseen_half_width``.
    """
    seen, unseen = summary(frame, suite, "map"), summary(frame, suite, "unseen_map")
    fields = [field for field in suite.grid if field not in REPEATS]
    points = [point_text(dict(zip(fields, row, strict=True))) for row in seen[fields].itertuples(index=False)]
    rows = seen[["variant"]].assign(point=points, seen=seen["mean"], unseen=unseen["mean"])
    rows = rows.assign(seen_half_width=seen["half_width"], unseen_half_width=unseen["half_width"])
    return rows[~rows["variant"].isin(BASELINES)].reset_index(drop=True)


def what_changes(suite: Suite) -> pd.DataFrame:
    """In words, what the resolved config of each variant has other than the reference's: ``variant`` and ``what``."""
    rows = {suite.reference: "the reference"}
    for variant, fields in suite.changes().items():
        words = [f"{field} = {'none' if value is None else as_yaml(value)}" for field, value in fields.items()]
        rows[variant] = ", ".join(words) or "nothing"
    return pd.DataFrame([(variant, rows[variant]) for variant in suite.variants], columns=["variant", "what"])


def missing_runs(suite: Suite, frame: pd.DataFrame) -> list[str]:
    """Labels of the suite's runs that have no row in the frame."""
    there = set(frame[["variant", *suite.grid]].itertuples(index=False, name=None))
    runs = ((run.label, (run.variant, *portable(run.point).values())) for run in suite.runs())
    return [label for label, run in runs if run not in there]


def caption(suite: Suite, frame: pd.DataFrame, metric: str = "map") -> str:
    """What the entries of a table are, in half a sentence of plain text."""
    numbers = sorted({suite.repeats_at(point) for point in suite.points(without=REPEATS)})
    runs = f"{numbers[0]} to {numbers[-1]}" if numbers[0] != numbers[-1] else f"{numbers[0]}"
    known = [one for one in frame.get(PER_QUERY, ()) if isinstance(one, PerQuery) and one.of(metric)]
    unit = "people and seeds" if len(known) == len(frame) > 0 else "seeds"
    over = f" (mean over {runs} runs ± half-width of its 95 % interval over {unit})" if numbers[0] >= FEWEST else ""
    if numbers[0] < FEWEST:
        over = " (fewer than three runs: their values one after another, and no interval)"
    title = TITLES.get(metric, metric)
    held = ", with a star where they hold together by Holm's procedure" if numbers[-1] >= FEWEST else ""
    return f"{title}{over}; below the variants, their differences to {suite.reference}{held}"


def at_point(frame: pd.DataFrame, point: Mapping[str, Any]) -> pd.DataFrame:
    """The rows at a grid point."""
    for field, value in portable(point).items():
        frame = frame[frame[field] == value]
    return frame


def entry(values: tuple[float, ...], mean: float, half_width: float, mean_only: bool = False) -> str:
    """A mean with its interval, or one or two values, in three digits."""
    if not values:
        return "–"
    if len(values) < FEWEST and not mean_only:
        return " / ".join(_with_interval(value, math.nan, "") for value in values)
    return _with_interval(mean, half_width, "")


def _with_interval(value: float, half_width: float, sign: str) -> str:
    """A number in three digits, with the half-width of its interval if it has one; "+" marks positive numbers."""
    if math.isnan(value):
        return "–"
    text = f"{value:{sign}z.3f}" if math.isnan(half_width) else f"{value:{sign}z.3f} ± {half_width:.3f}"
    return text.replace("-", "−")
