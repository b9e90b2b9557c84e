"""Tables from run directories: collect, summarise, format, report. ``records`` keeps them.

The unit is one metric of one seed. Over seeds: the mean and the half-width of its 95 % t interval, and the differences
to the reference variant, paired by seed at the same grid point. With fewer than three seeds there is no interval, and
the values themselves are shown.
"""

from __future__ import annotations

import math
import os
import re
import shlex
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import pandas as pd
from filelock import FileLock
from scipy.stats import t as student_t

from dcbh_core.config import Config
from dcbh_core.methods import unknown_name

from .execution import execute
from .identity import REPORT_NOTEBOOK, changed_sources, complete_runs, notebook, settings_hash, sources_of
from .suite import Run, Suite, as_yaml, load_suite, point_text

# Baselines of a MAP: metrics of the reference's own runs.
CHANCE, PIXELS, DESCRIPTOR = "chance", "raw pixels", "descriptor, not binarised"
BASELINES = {CHANCE: "chance", PIXELS: "pixels"}
# The shallow methods: metrics of the first variant whose runs have them.
SHALLOW = {
    "LSH on pixels": "lsh_pixels",
    "ITQ on pixels": "itq_pixels",
    "LSH on softmax descriptors": "lsh_descriptor",
    "ITQ on softmax descriptors": "itq_descriptor",
}
RUNS = "runs.csv"
ENVIRONMENT = ("device", "dtype", "threads", "machine", "torch")
TEXTS = ("variant", *ENVIRONMENT, "faces", "identity", "changed")  # columns
UNSEEN = "unseen_"  # in front of a metric: among people kept out of training
TITLES = {"map": "MAP", "map_worst": "MAP, worst order of ties", "map_best": "MAP, best order of ties"}


def collect(suite: Suite, out: str | os.PathLike[str], any_source: bool = False) -> pd.DataFrame:
    """The suite's complete runs in the output directory ``out``. The faces need not be there.

    Where several runs fit, those count whose device and dtype are this machine's, of these the ones with as many
    threads as most runs of the suite, and of these the newest.

    Args:
        suite: Whose runs they are.
        out: The output directory.
        any_source: Take a run of another source than the present one where there is none of this.

    Returns:
        One row per complete run: ``variant``, ``seed``, the grid fields, all metrics, ``seconds`` of training,
        ``device``, ``dtype``, ``machine``, ``torch``, ``threads``, ``faces`` and ``identity`` (hashes), and
        ``changed``: the source files that are not the same any more, in one text.

    Raises:
        ValueError: Runs of different devices, dtypes, threads or faces would be mixed, or a config is impossible.
    """
    candidates = _candidates(suite, out, any_source)
    numbers = Counter(threads for *_, fitting in candidates for threads in {_threads(found) for found in fitting})
    usual = max(numbers, key=lambda threads: (numbers[threads], -threads), default=1)

    def preference(found: dict[str, Any], sources: dict[str, str], here: Config) -> tuple[bool, bool, bool]:
        other_machine = any(found["config"][name] != getattr(here, name) for name in ("device", "dtype"))
        return found["identity"]["sources"] != sources, other_machine, _threads(found) != usual

    rows: list[dict[str, Any]] = []
    faces: dict[Any, str] = {}
    for run, sources, fitting in candidates:
        if not fitting:
            continue
        here = run.config.resolved()
        best = min(fitting, key=lambda found: preference(found, sources, here))
        result, identity = best["result"], best["identity"]
        if faces.setdefault(run.config.data(), identity["faces"]) != identity["faces"]:
            raise ValueError(
                f"{run.label} was run on other faces than the runs before it and must not be compared with them; run "
                "the suite again to replace it"
            )
        environment = {**result["environment"], "threads": str(identity["threads"])}
        row = {"variant": run.variant, "seed": run.config.seed, **run.point, **result["metrics"]}
        row |= {"seconds": result["timings"]["train_s"], **{name: environment[name] for name in ENVIRONMENT}}
        row |= {"faces": identity["faces"], "identity": identity["whole"]}
        rows.append({**row, "changed": ", ".join(changed_sources(identity["sources"], sources))})
    frame = pd.DataFrame(rows, columns=None if rows else list(dict.fromkeys(["variant", "seed", *suite.grid, "map"])))
    _refuse_mixed(suite, frame)
    return frame


def summary(frame: pd.DataFrame, suite: Suite, metric: str = "map") -> pd.DataFrame:
    """Statistics over seeds, per variant and grid point.

    Args:
        frame: From ``collect`` or ``recorded``.
        suite: Whose runs they are.
        metric: One of its columns. For "map" and "unseen_map" there are also rows for the baselines (chance, raw
            pixels), for the reference's descriptor without binarisation, all from the reference's own runs, and for the
            shallow methods where a variant's runs have them.

    Returns:
        One row each, with ``variant``, the grid fields except seed, ``n`` seeds, ``values`` (a tuple, by seed),
        ``mean``, ``half_width`` (95 % t interval, NaN below three seeds), and the same of the differences to the
        reference over the seeds that both have: ``differences``, ``difference``, ``difference_half_width``.

    Raises:
        ValueError: There is no such metric.
    """
    require_metric(frame, suite, metric)
    sources = {variant: (variant, metric) for variant in suite.variants}
    if metric in ("map", f"{UNSEEN}map"):
        prefix = metric.removesuffix("map")
        baselines = {label: (suite.reference, prefix + column) for label, column in BASELINES.items()}
        shallow = {
            label: (frame.dropna(subset=[prefix + column])["variant"].iloc[0], prefix + column)
            for label, column in SHALLOW.items()
            if prefix + column in frame and frame[prefix + column].notna().any()
        }
        sources = {**baselines, **shallow, **sources, DESCRIPTOR: (suite.reference, f"{prefix}descriptor")}
    rows = []
    for point in suite.points(without="seed"):
        here = _at(frame, point).pivot(index="seed", columns="variant")
        of = {label: (column, variant) for label, (variant, column) in sources.items()}
        by_seed = pd.DataFrame({label: here.get(pair) for label, pair in of.items()}, here.index, dtype=float)
        gains = by_seed.sub(by_seed[suite.reference], axis=0)
        for label in sources:
            values = by_seed[label].dropna()
            compared = label != suite.reference and label not in BASELINES
            differences = gains[label].dropna() if compared else gains[label].iloc[:0]
            mean, half_width = _interval(values)
            difference, difference_half_width = _interval(differences)
            rows.append(
                {
                    "variant": label,
                    **point,
                    "n": len(values),
                    "values": tuple(values),
                    "mean": mean,
                    # Baselines hang on the split, hardly on the seed: an interval over seeds would say nothing.
                    "half_width": math.nan if label in BASELINES else half_width,
                    "differences": tuple(differences),
                    "difference": difference,
                    "difference_half_width": difference_half_width,
                }
            )
    return pd.DataFrame(rows)


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
    """A summary as text to be read: a row per variant, then one per difference to the reference.

    "0.912 ± 0.013" is a mean and the half-width of its interval, "0.912 / 0.920" are the values of two seeds.

    Args:
        statistics: From ``summary``.
        suite: Whose runs they are.

    Returns:
        ``variant``, and a column for each grid point without seed.
    """
    columns: dict[str, dict[str, str]] = {}
    for point in suite.points(without="seed"):
        expected = suite.seeds_at(point)
        here = _at(statistics, point)
        column = columns.setdefault(point_text(point) or "value", {})
        for row in here.to_dict("records"):
            text = _number(row["values"], row["mean"], row["half_width"], "", row["variant"] in BASELINES)
            short = 0 < row["n"] < expected and row["variant"] not in BASELINES
            column[row["variant"]] = f"{text} ({row['n']} of {expected} seeds)" if short else text
        for row in here.to_dict("records"):
            if row["variant"] != suite.reference and row["variant"] not in BASELINES:
                text = _number(row["differences"], row["difference"], row["difference_half_width"], "+", False)
                column[f"{row['variant']} − {suite.reference}"] = text
    return pd.DataFrame(columns).rename_axis("variant").reset_index()


def tables(frame: pd.DataFrame, suite: Suite, metric: str = "map") -> pd.DataFrame:
    """The table of a metric, with a column "seen" and one "unseen" for each grid point where the runs have both.

    Raises:
        ValueError: There is no such metric.
    """
    both = {"seen": metric, "unseen": f"{UNSEEN}{metric}"}
    if both["unseen"] not in frame:
        return table(summary(frame, suite, metric), suite)
    made = {name: table(summary(frame, suite, column), suite) for name, column in both.items()}
    columns = {f"{point}, {name}": text[point] for point in made["seen"].columns[1:] for name, text in made.items()}
    return pd.DataFrame({"variant": made["seen"]["variant"], **columns})


def seen_and_unseen(frame: pd.DataFrame, suite: Suite) -> pd.DataFrame:
    """What ``figures.seen_against_unseen`` draws.

    Returns:
        A row per method and grid point without seed, without the baselines, with ``variant``, ``point`` in words, the
        means ``seen`` and ``unseen``, and ``seen_half_width`` and ``unseen_half_width``.
    """
    seen, unseen = summary(frame, suite, "map"), summary(frame, suite, f"{UNSEEN}map")
    fields = [field for field in suite.grid if field != "seed"]
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


def markdown(text: pd.DataFrame) -> str:
    """A table of texts as Markdown."""
    head = [plain(name) for name in text.columns]
    entries = [[plain(entry) for entry in row] for row in text.to_numpy().tolist()]
    rows = [head, ["---", *["---:"] * (len(head) - 1)], *entries]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def plain(text: str) -> str:
    """A text for Markdown in which nothing is markup, HTML, a link or a formula, on one line."""
    special = r"[\\`*\[\]<>&|$~#]|(?<!\w)_|_(?!\w)|:(?=//)|^[-+=]+(?=\s|$)|^\d+(?=[.)](\s|$))"
    # Not backslashes: what reads Markdown with formulas takes a backslash and a bracket for the beginning of one.
    return re.sub(special, lambda found: "".join(f"&#{ord(sign)};" for sign in found[0]), " ".join(str(text).split()))


def latex(text: pd.DataFrame) -> str:
    """A table of texts as LaTeX, for the package booktabs."""
    formatted = text.to_latex(index=False, escape=True, column_format="l" + "r" * (len(text.columns) - 1))
    return formatted.replace("±", r"$\pm$").replace("−", "$-$").replace("–", "--")


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


def missing_runs(suite: Suite, frame: pd.DataFrame) -> list[str]:
    """Labels of the suite's runs that have no row in the frame."""
    there = set(frame[["variant", *suite.grid]].itertuples(index=False, name=None))
    return [run.label for run in suite.runs() if (run.variant, *run.point.values()) not in there]


def build_report(
    suite_name: str,
    out: str | os.PathLike[str],
    *,
    settings: Mapping[str, Any] | None = None,
    where: Mapping[str, Any] | None = None,
    metric: str = "map",
    any_source: bool = False,
) -> Path:
    """Execute the report notebook on a suite's runs and make a page of it. The notebook makes the tables.

    Args:
        suite_name: A name, or a YAML file.
        out: The output directory.
        settings: As ``Suite.with_settings`` takes them.
        where: As ``Suite.where`` takes it.
        metric: What the tables are of.
        any_source: As in ``collect``.

    Returns:
        The directory ``out/reports/SUITE``: report.ipynb, report.html, runs.csv, summary.csv, table.md, table.tex.

    Raises:
        ValueError: There is nothing to report, what there is must not be mixed, or no such metric.
        NotebookError: The report notebook failed.
    """
    import nbformat

    from .pages import html_page

    suite = load_suite(suite_name).with_settings(settings or {}).where(where or {})
    frame = collect(suite, out, any_source)
    if frame.empty:
        first = command("run", suite_name, settings or {}, where or {}, out)
        raise ValueError(f"no run of suite {suite.name!r} is complete in {out}; start it first: {first}")
    require_metric(frame, suite, metric)
    reports = Path(out).absolute() / "reports"
    reports.mkdir(parents=True, exist_ok=True)
    # Made apart and moved as a whole set, so that two reports at a time cannot mix.
    with tempfile.TemporaryDirectory(prefix=f".{suite.name}.", dir=reports) as temporary:
        made = Path(temporary)
        frame.to_csv(made / RUNS, index=False)
        parameters = {"suite": suite_name, "settings": dict(settings or {}), "where": dict(where or {})}
        parameters |= {"metric": metric, "report_dir": str(made)}
        execute(notebook(REPORT_NOTEBOOK), made / "report.ipynb", parameters)
        page = html_page(nbformat.read(made / "report.ipynb", as_version=4), suite.title, source=False)
        (made / "report.html").write_text(page, "utf-8")
        directory = reports / suite.name
        directory.mkdir(exist_ok=True)
        with FileLock(reports / f".{suite.name}.lock"):
            for path in made.iterdir():
                os.replace(path, directory / path.name)
    return directory


def read_runs(directory: str | os.PathLike[str]) -> pd.DataFrame:
    """The frame of ``collect`` that ``build_report`` has put into a directory."""
    return read_table(Path(directory) / RUNS).fillna({"changed": ""})


def read_table(source: str | os.PathLike[str] | TextIO) -> pd.DataFrame:
    """A CSV of runs. Texts stay texts, as that of a variant named "12" or "None"."""
    return pd.read_csv(source, dtype=dict.fromkeys(TEXTS, str), keep_default_na=False, na_values=[""])


def write_tables(directory: str | os.PathLike[str], frame: pd.DataFrame, suite: Suite, metric: str = "map") -> None:
    """Write summary.csv, table.md and table.tex of a metric into a directory."""
    directory = Path(directory)
    columns = [column for column in (metric, f"{UNSEEN}{metric}") if column in frame]
    statistics = pd.concat([summary(frame, suite, column).assign(metric=column) for column in columns])
    statistics.drop(columns=["values", "differences"]).to_csv(directory / "summary.csv", index=False)
    text = tables(frame, suite, metric)
    parts = [
        f"# {plain(suite.title)}",
        plain(suite.about),
        caption(suite, frame, metric),
        markdown(text),
        *notes(suite, frame),
    ]
    (directory / "table.md").write_text("\n\n".join(parts) + "\n", "utf-8")
    (directory / "table.tex").write_text(latex(text), "utf-8")


def caption(suite: Suite, frame: pd.DataFrame, metric: str = "map") -> str:
    """What the entries of a table are, in a sentence for Markdown."""
    unseen = f"{UNSEEN}{metric}" in frame
    people = " among people of the training set (seen) and people kept out of it (unseen)" if unseen else ""
    numbers = sorted({suite.seeds_at(point) for point in suite.points(without="seed")})
    seeds = f"{numbers[0]} to {numbers[-1]}" if numbers[0] != numbers[-1] else f"{numbers[0]}"
    over = f" (mean over {seeds} seeds ± half-width of its 95 % t interval)" if numbers[0] >= 3 else ""
    title = TITLES.get(metric, metric)
    return plain(f"{title}{people}{over}; below the variants, their paired differences to {suite.reference}:")


def command(
    verb: str,
    suite_name: str,
    settings: Mapping[str, Any],
    where: Mapping[str, Any],
    out: str | os.PathLike[str] = "runs",
) -> str:
    """The command line that does ``verb`` to a suite."""
    parts = ["python", "-m", "ablations", verb, suite_name]
    for option, values in (("--set", settings), ("--where", where)):
        for field, value in values.items():
            parts += [option, f"{field}={as_yaml(value)}"]
    return shlex.join(parts if str(out) == "runs" else [*parts, "--out", str(out)])


def _refuse_mixed(suite: Suite, frame: pd.DataFrame) -> None:
    """Refuse runs of different devices, dtypes or threads, unless the suite is about them.

    Raises:
        ValueError: There are such runs; the first two are named.
    """
    meant = set(suite.grid).union(*suite.variants.values())
    for column in ("device", "dtype", "threads"):
        if column in meant or column not in frame or frame[column].nunique() < 2:
            continue
        firsts = frame.drop_duplicates(column).head(2)
        both = " and ".join(
            f"{row['variant']} {point_text({field: row[field] for field in suite.grid})} ({row[column]})"
            for row in firsts.to_dict("records")
        )
        raise ValueError(f"runs of different {column} must not be compared: {both}; run the whole suite again, alike")


def is_reportable(suite: Suite, out: str | os.PathLike[str]) -> bool:
    """Whether any run of the suite is complete in the output directory ``out``, under the present source."""
    return any(fitting for *_, fitting in _candidates(suite, out, any_source=False))


def _candidates(
    suite: Suite, out: str | os.PathLike[str], any_source: bool
) -> list[tuple[Run, dict[str, str], list[dict[str, Any]]]]:
    """Each run of the suite, its present sources, and the complete runs that are the same experiment, newest first."""
    there: dict[str, list[dict[str, Any]]] = {}
    for found in complete_runs(Path(out)):
        there.setdefault(found["identity"]["settings"], []).append(found)
    candidates = []
    for run in suite.runs():
        sources = sources_of(run.config)
        same = there.get(settings_hash(run.config), [])
        same = [found for found in same if any_source or found["identity"]["sources"] == sources]
        candidates.append((run, sources, same))
    return candidates


def _threads(found: dict[str, Any]) -> int:
    """Of a run that ``complete_runs`` has found."""
    return int(found["identity"]["threads"])


def _at(frame: pd.DataFrame, point: Mapping[str, Any]) -> pd.DataFrame:
    """The rows at a grid point."""
    for field, value in point.items():
        frame = frame[frame[field] == value]
    return frame


def _interval(values: pd.Series) -> tuple[float, float]:
    """Mean, and half-width of its 95 % t interval; NaN where there are too few values for it."""
    if len(values) < 3:
        return float(values.mean()), math.nan
    return float(values.mean()), float(student_t.ppf(0.975, len(values) - 1) * values.sem())


def _number(values: tuple[float, ...], mean: float, half_width: float, sign: str, mean_only: bool) -> str:
    """A mean with its interval, or one or two values, in three digits; the ``sign`` "+" marks positive numbers."""
    if not values:
        return "–"
    if len(values) < 3 and not mean_only:
        text = " / ".join(f"{value:{sign}.3f}" for value in values)
    else:
        text = f"{mean:{sign}.3f}" if math.isnan(half_width) else f"{mean:{sign}.3f} ± {half_width:.3f}"
    return text.replace("-", "−")
