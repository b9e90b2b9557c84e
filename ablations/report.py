"""Tables from run directories: collect, summarise, format, report. ``records`` keeps them.

The unit is one figure of one seed. Over seeds: the mean and the half-width of its 95 % t interval, and the differences
to the reference variant, paired by seed at the same grid point. With fewer than three seeds there is no interval, and
the points themselves are shown.
"""

from __future__ import annotations

import math
import os
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock
from scipy.stats import t as student_t

from dcbh_core.config import unknown_name

from .execution import execute
from .identity import REPORT_NOTEBOOK, code_hash, identify, notebook, read_cell
from .suite import Suite, as_yaml, load_suite, point_text

# Floor and ceiling of a MAP: metrics of the reference's own runs.
CHANCE, PIXELS, DESCRIPTOR = "chance", "raw pixels", "descriptor, not binarised"
FLOORS = {CHANCE: "chance", PIXELS: "pixels"}
# The shallow methods: metrics of the runs of the variant with the objective "softmax".
SHALLOW = {
    "LSH on pixels": "lsh_pixels",
    "ITQ on pixels": "itq_pixels",
    "LSH on softmax descriptors": "lsh_descriptor",
    "ITQ on softmax descriptors": "itq_descriptor",
}
SEEN_AND_NEW = {"map": "seen", "new_map": "new"}  # people of the training set, and people kept out of it


def collect(suite: Suite, out: str | os.PathLike[str]) -> pd.DataFrame:
    """The suite's complete cells in the output directory ``out``.

    A cell that was run with other code, or on another device than this machine's, is shown too if there is no run that
    fits exactly, the newest first; ``notes`` says so.

    Returns:
        One row per complete cell: ``variant``, ``seed``, the grid fields, all metrics, ``seconds`` of training, and
        ``device``, ``dtype``, ``machine``, ``torch``, ``code``, ``identity``.

    Raises:
        ValueError: cells of different device, dtype or code would be mixed, or a config is impossible.
    """
    there = []
    for path in Path(out).glob("cells/*/cell.json"):
        try:
            there.append((path.stat().st_mtime, read_cell(path.parent)))
        except (OSError, ValueError):
            continue  # not complete, so not counted; a run makes it anew
    exact = {found["identity"]["whole"]: found for _, found in there}
    similar = {found["identity"]["experiment"]: found for _, found in sorted(there, key=lambda pair: pair[0])}
    rows: list[dict[str, Any]] = []
    cells = suite.cells()
    for cell, identity in zip(cells, identify(cell.config for cell in cells), strict=True):
        complete = exact.get(identity.whole) or similar.get(identity.experiment)
        if complete is None:
            continue
        result, found = complete["result"], complete["identity"]
        environment = {name: result["environment"][name] for name in ("device", "dtype", "machine", "torch")}
        row = {"variant": cell.variant, "seed": cell.config.seed, **cell.point, **result["metrics"]}
        row |= {"seconds": result["timings"]["train_s"], **environment}
        rows.append({**row, "code": found["code"], "identity": found["whole"]})
    frame = pd.DataFrame(rows, columns=None if rows else ["variant", "seed", *suite.grid, "map"])
    _refuse_mixed(suite, frame)
    return frame


def summary(frame: pd.DataFrame, suite: Suite, metric: str = "map") -> pd.DataFrame:
    """Statistics over seeds, per variant and grid point.

    Parameters:
        frame: from ``collect`` or ``recorded``.
        metric: one of its columns. For "map" and "new_map" there are also rows for the floor (chance, raw pixels) and
            the ceiling (the reference's descriptor without binarisation), from the reference's own runs, and for the
            shallow methods where a variant's runs have them.

    Returns:
        One row each, with ``variant``, the grid fields except seed, ``n`` seeds, ``values`` (a tuple, by seed),
        ``mean``, ``half_width`` (95 % t interval, NaN below three seeds), and the same of the differences to the
        reference over the seeds that both have: ``differences``, ``difference``, ``difference_half_width``.

    Raises:
        ValueError: no such metric.
    """
    if metric not in frame:
        raise unknown_name("metric", metric, [str(column) for column in frame.columns])
    sources = {variant: (variant, metric) for variant in suite.variants}
    if metric in ("map", "new_map"):
        prefix = metric.removesuffix("map")
        floors = {label: (suite.reference, prefix + column) for label, column in FLOORS.items()}
        softmax = [name for name in suite.variants if suite.field(name, "objective") == "softmax"][:1]
        shallow = {
            label: (variant, prefix + column)
            for variant in softmax
            for label, column in SHALLOW.items()
            if prefix + column in frame
        }
        sources = {**floors, **shallow, **sources, DESCRIPTOR: (suite.reference, f"{prefix}descriptor")}
    rows = []
    for point in suite.points(without="seed"):
        here = _at(frame, point)
        reference = _by_seed(here, suite.reference, metric)
        for label, (variant, column) in sources.items():
            values = _by_seed(here, variant, column)
            compared = label != suite.reference and label not in FLOORS
            differences = [values[s] - reference[s] for s in values if s in reference] if compared else []
            mean, half_width = _interval(list(values.values()))
            difference, difference_half_width = _interval(differences)
            rows.append(
                {
                    "variant": label,
                    **point,
                    "n": len(values),
                    "values": tuple(values.values()),
                    "mean": mean,
                    # The floors hang on the split, hardly on the seed: an interval over seeds would say nothing.
                    "half_width": math.nan if label in FLOORS else half_width,
                    "differences": tuple(differences),
                    "difference": difference,
                    "difference_half_width": difference_half_width,
                }
            )
    return pd.DataFrame(rows)


def table(statistics: pd.DataFrame, suite: Suite) -> pd.DataFrame:
    """A summary as text to be read: a row per variant, then one per difference to the reference; a column per grid
    point without seed. "0.912 ± 0.013" is a mean and the half-width of its interval, "0.912 / 0.920" are the points of
    two seeds."""
    columns: dict[str, dict[str, str]] = {}
    for point in suite.points(without="seed"):
        expected = suite.seeds_at(point)
        here = _at(statistics, point)
        column = columns.setdefault(point_text(point) or "value", {})
        for row in here.to_dict("records"):
            text = _figure(row["values"], row["mean"], row["half_width"], "", row["variant"] in FLOORS)
            short = 0 < row["n"] < expected and row["variant"] not in FLOORS
            column[row["variant"]] = f"{text} ({row['n']} of {expected} seeds)" if short else text
        for row in here.to_dict("records"):
            if row["variant"] != suite.reference and row["variant"] not in FLOORS:
                text = _figure(row["differences"], row["difference"], row["difference_half_width"], "+", False)
                column[f"{row['variant']} − {suite.reference}"] = text
    return pd.DataFrame(columns).rename_axis("variant").reset_index()


def side_by_side(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The tables of "map" and "new_map" as one, with a column "seen" and one "new" for each grid point."""
    first = next(iter(tables.values()))
    if len(tables) == 1:
        return first
    columns = {
        f"{point}, {SEEN_AND_NEW[metric]}": text[point]
        for point in first.columns[1:]
        for metric, text in tables.items()
    }
    return pd.DataFrame({"variant": first["variant"], **columns})


def seen_and_new(frame: pd.DataFrame, suite: Suite) -> pd.DataFrame:
    """What ``figures.seen_against_new`` draws: a row per method and grid point without seed, without the floors, with
    ``variant``, ``point`` in words, the means ``seen`` and ``new``, and ``seen_half_width`` and ``new_half_width``."""
    seen, new = summary(frame, suite, "map"), summary(frame, suite, "new_map")
    fields = [field for field in suite.grid if field != "seed"]
    points = [point_text(dict(zip(fields, row, strict=True))) for row in seen[fields].itertuples(index=False)]
    rows = seen[["variant"]].assign(point=points, seen=seen["mean"], new=new["mean"])
    rows = rows.assign(seen_half_width=seen["half_width"], new_half_width=new["half_width"])
    return rows[~rows["variant"].isin(FLOORS)].reset_index(drop=True)


def markdown(text: pd.DataFrame) -> str:
    """A table of texts as Markdown."""
    rows = [list(text.columns), ["---", *["---:"] * (len(text.columns) - 1)], *text.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def latex(text: pd.DataFrame) -> str:
    """A table of texts as LaTeX, for the package booktabs."""
    formatted = text.to_latex(index=False, escape=True, column_format="l" + "r" * (len(text.columns) - 1))
    return formatted.replace("±", r"$\pm$").replace("−", "$-$").replace("–", "--")


def notes(suite: Suite, frame: pd.DataFrame) -> list[str]:
    """What a reader of the figures must know: missing cells, other code, each as one sentence."""
    sentences = []
    missing = missing_cells(suite, frame)
    if missing:
        sentences.append(f"Missing cells ({len(missing)} of {len(suite)}): {', '.join(missing)}.")
    if "code" in frame and set(frame["code"]) != {code_hash()}:
        sentences.append("The code has changed since these cells were run.")
    if "machine" in frame and frame["machine"].nunique() > 1:
        machines = "; ".join(sorted(frame["machine"].unique()))
        sentences.append(f"These cells were run on machines of different kinds: {machines}.")
    return sentences


def missing_cells(suite: Suite, frame: pd.DataFrame) -> list[str]:
    """Labels of the suite's cells that have no row in the frame."""
    there = set(frame[["variant", *suite.grid]].itertuples(index=False, name=None))
    return [cell.label for cell in suite.cells() if (cell.variant, *cell.point.values()) not in there]


def build_report(suite_name: str, out: str | os.PathLike[str], settings: Mapping[str, Any] | None = None) -> Path:
    """Execute the report notebook on a suite and write it, as a notebook and as HTML, beside the tables.

    Returns:
        The directory ``out/reports/SUITE``: report.ipynb, report.html, cells.csv, summary.csv, table.md, table.tex.

    Raises:
        ValueError: there is nothing to report, or what there is must not be mixed.
        NotebookError: the report notebook failed.
    """
    import nbformat

    from .pages import html_page

    suite = load_suite(suite_name).with_settings(settings or {})
    frame = collect(suite, out)
    if frame.empty:
        first = command("run", suite_name, settings or {}, out)
        raise ValueError(f"no cell of suite {suite.name!r} is complete in {out}; run it first: {first}")
    reports = Path(out).absolute() / "reports"
    reports.mkdir(parents=True, exist_ok=True)
    summaries = {metric: summary(frame, suite, metric) for metric in ("map", "new_map") if metric in frame}
    # Made apart and moved as a whole set, so that two reports at a time cannot mix.
    with tempfile.TemporaryDirectory(prefix=f".{suite.name}.", dir=reports) as temporary:
        made = Path(temporary)
        frame.to_csv(made / "cells.csv", index=False)
        statistics = pd.concat([values.assign(metric=metric) for metric, values in summaries.items()])
        statistics.drop(columns=["values", "differences"]).to_csv(made / "summary.csv", index=False)
        tables = {metric: table(values, suite) for metric, values in summaries.items()}
        (made / "table.md").write_text(_markdown_page(suite, tables, notes(suite, frame)), "utf-8")
        (made / "table.tex").write_text(latex(side_by_side(tables)), "utf-8")
        parameters = {"suite": suite_name, "out": str(Path(out).absolute()), "settings": dict(settings or {})}
        execute(notebook(REPORT_NOTEBOOK), made / "report.ipynb", parameters)
        page = html_page(nbformat.read(made / "report.ipynb", as_version=4), suite.title, code=False)
        (made / "report.html").write_text(page, "utf-8")
        directory = reports / suite.name
        directory.mkdir(exist_ok=True)
        with FileLock(reports / f".{suite.name}.lock"):
            for path in made.iterdir():
                os.replace(path, directory / path.name)
    return directory


def command(verb: str, suite_name: str, settings: Mapping[str, Any], out: str | os.PathLike[str] = "runs") -> str:
    """The command line that does ``verb`` to a suite."""
    parts = ["python", "-m", "ablations", verb, suite_name]
    for field, value in settings.items():
        parts += ["--set", f"{field}={as_yaml(value)}"]
    return shlex.join(parts if str(out) == "runs" else [*parts, "--out", str(out)])


def _refuse_mixed(suite: Suite, frame: pd.DataFrame) -> None:
    meant = set(suite.grid).union(*suite.variants.values())
    for column in ("device", "dtype", "code"):
        if column in meant or column not in frame or frame[column].nunique() < 2:
            continue
        firsts = frame.drop_duplicates(column).head(2)
        both = " and ".join(
            f"{row['variant']} {point_text({field: row[field] for field in suite.grid})} ({row[column][:12]})"
            for row in firsts.to_dict("records")
        )
        raise ValueError(
            f"cells of different {column} must not be compared: {both}; run the suite again to replace them"
        )


def _at(frame: pd.DataFrame, point: Mapping[str, Any]) -> pd.DataFrame:
    """The rows at a grid point."""
    for field, value in point.items():
        frame = frame[frame[field] == value]
    return frame


def _by_seed(frame: pd.DataFrame, variant: str, column: str) -> dict[int, float]:
    if column not in frame:
        return {}
    rows = frame[frame["variant"] == variant].dropna(subset=[column]).sort_values("seed")
    return dict(zip(rows["seed"].tolist(), rows[column].tolist(), strict=True))


def _interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half-width of its 95 % t interval; NaN where there are too few values for it."""
    series = pd.Series(values, dtype=float)
    if len(series) < 3:
        return series.mean(), math.nan
    return series.mean(), float(student_t.ppf(0.975, len(series) - 1) * series.sem())


def _figure(values: tuple[float, ...], mean: float, half_width: float, sign: str, mean_only: bool) -> str:
    """A mean with its interval, or one or two points, in three digits; ``sign`` "+" marks positive figures."""
    if not values:
        return "–"
    if len(values) < 3 and not mean_only:
        text = " / ".join(f"{value:{sign}.3f}" for value in values)
    else:
        text = f"{mean:{sign}.3f}" if math.isnan(half_width) else f"{mean:{sign}.3f} ± {half_width:.3f}"
    return text.replace("-", "−")


def _markdown_page(suite: Suite, tables: Mapping[str, pd.DataFrame], remarks: Sequence[str]) -> str:
    people = " among people of the training set (seen) and people kept out of it (new)" if len(tables) > 1 else ""
    numbers = sorted({suite.seeds_at(point) for point in suite.points(without="seed")})
    over = f" (mean over {numbers[-1]} seeds ± half-width of its 95 % t interval)" if numbers[0] >= 3 else ""
    if numbers[0] != numbers[-1]:
        over = over.replace(f"{numbers[-1]} seeds", f"{numbers[0]} to {numbers[-1]} seeds")
    caption = f"MAP{people}{over}; below the variants, their paired differences to {suite.reference}:"
    parts = [f"# {suite.title}", suite.about, caption, markdown(side_by_side(tables))]
    return "\n\n".join([*parts, *remarks]) + "\n"
