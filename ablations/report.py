"""From run directories to a frame of runs, and to a page about them. ``tables`` says what is in a frame."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import pandas as pd
from filelock import FileLock

from dcbh_core.config import Config, Data
from dcbh_core.methods import portable

from . import per_query
from .execution import execute
from .identity import (
    REPORT_NOTEBOOK,
    changed_sources,
    complete_runs,
    faces_hash,
    notebook,
    settings_hash,
    sources_of,
)
from .suite import Run, Suite, as_yaml, load_suite, point_text
from .tables import PER_QUERY, require_metric

RUNS = "runs.csv"
ENVIRONMENT = ("device", "dtype", "threads", "machine", "torch")
TEXTS = ("variant", *ENVIRONMENT, "faces", "identity", "run", "changed")  # columns
AP = "runs.npz"  # beside it, what the queries of its runs have


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
        ``device``, ``dtype``, ``machine``, ``torch``, ``threads``, ``faces`` and ``identity`` (hashes), ``run``
        (the name of its directory), ``changed``:
        the source files that are not the same any more, in one text, and ``per_query``: the run's ``PerQuery``.

    Raises:
        ValueError: Runs of different devices, dtypes, threads or faces would be mixed, or a config is impossible.
    """
    candidates = _candidates(suite, out, any_source)
    numbers = Counter(threads for *_, fitting in candidates for threads in {_threads(found) for found in fitting})
    usual = max(numbers, key=lambda threads: (numbers[threads], -threads), default=1)

    def preference(found: dict[str, Any], sources: dict[str, str], here: Config, at_hand: str) -> tuple[bool, ...]:
        other_machine = any(found["config"][name] != getattr(here, name) for name in ("device", "dtype"))
        other_faces = found["identity"]["faces"] != at_hand
        return other_faces, found["identity"]["sources"] != sources, other_machine, _threads(found) != usual

    rows: list[dict[str, Any]] = []
    faces: dict[Data, str] = {}
    at_hand: dict[Data, str] = {}
    for run, sources, fitting in candidates:
        if not fitting:
            continue
        here, data = run.config.resolved(), run.config.data()
        # Settings do not tell one folder from another; where there are runs of both, the faces have to.
        if data not in at_hand and len({found["identity"]["faces"] for found in fitting}) > 1:
            at_hand[data] = _faces_at_hand(run.config)
        best = min(fitting, key=lambda found: preference(found, sources, here, at_hand.get(data, "")))
        result, identity = best["result"], best["identity"]
        if faces.setdefault(data, identity["faces"]) != identity["faces"]:
            raise ValueError(
                f"{run.label} was run on other faces than the runs before it and must not be compared with them; run "
                "the suite again to replace it"
            )
        environment = {**result["environment"], "threads": str(identity["threads"])}
        row = {"variant": run.variant, "seed": run.config.seed, **portable(run.point), **result["metrics"]}
        row |= {"seconds": result["timings"]["train_s"], **{name: environment[name] for name in ENVIRONMENT}}
        row |= {"faces": identity["faces"], "identity": identity["whole"], "run": best["directory"].name}
        row |= {"changed": ", ".join(changed_sources(identity["sources"], sources))}
        rows.append({**row, PER_QUERY: per_query.of_run(best["directory"])})
    frame = pd.DataFrame(rows, columns=None if rows else list(dict.fromkeys(["variant", "seed", *suite.grid, "map"])))
    _refuse_mixed(suite, frame)
    return frame


def build_report(
    suite_name: str,
    out: str | os.PathLike[str],
    *,
    settings: Mapping[str, Any] | None = None,
    where: Mapping[str, Any] | None = None,
    metric: str = "map",
    any_source: bool = False,
    faces: bool | None = None,
) -> Path:
    """Execute the report notebook on a suite's runs and make a page of it. The notebook makes the tables.

    Args:
        suite_name: A name, or a YAML file.
        out: The output directory.
        settings: As ``Suite.with_settings`` takes them.
        where: As ``Suite.where`` takes it.
        metric: What the tables are of.
        any_source: As in ``collect``.
        faces: Whether the page shows faces and names, where the faces are at hand; None: unless the data set is one's
            own (``folder``).

    Returns:
        The directory ``out/reports/SUITE``: report.ipynb, report.html, runs.csv, runs.npz, summary.csv, table.md,
        table.tex, and figures/.

    Raises:
        ValueError: There is nothing to report, what there is must not be mixed, or no such metric.
        NotebookError: The report notebook failed.
    """
    import nbformat

    from .pages import REPORT_STYLE, html_page

    suite = load_suite(suite_name).with_settings(settings or {}).where(where or {})
    frame = collect(suite, out, any_source)
    if frame.empty:
        first = command("run", suite_name, settings or {}, where or {}, out)
        raise ValueError(f"no run of suite {suite.name!r} is complete in {out}; start it first: {first}")
    require_metric(frame, suite, metric)
    reports = Path(out).absolute() / "reports"
    reports.mkdir(parents=True, exist_ok=True)
    # Made apart and moved as a whole set, so that two reports at a time cannot mix.
    with tempfile.TemporaryDirectory(prefix=".", dir=reports) as temporary:
        made = Path(temporary)
        frame.drop(columns=PER_QUERY).to_csv(made / RUNS, index=False)
        per_query.write(made / AP, frame[PER_QUERY].tolist())
        parameters: dict[str, Any] = {"suite": suite_name, "settings": dict(settings or {}), "where": dict(where or {})}
        parameters |= {"metric": metric, "report_dir": str(made), "out": str(Path(out).absolute()), "faces": faces}
        execute(notebook(REPORT_NOTEBOOK), made / "report.ipynb", parameters)
        notebook_made = nbformat.read(made / "report.ipynb", as_version=4)
        page = html_page(notebook_made, suite.title, source=False, style=REPORT_STYLE)
        (made / "report.html").write_text(page, "utf-8")
        directory = reports / suite.name
        directory.mkdir(exist_ok=True)
        with FileLock(reports / ".lock"):
            for path in made.iterdir():
                if path.is_dir():  # figures of an earlier report may have other names
                    shutil.rmtree(directory / path.name, ignore_errors=True)
                os.replace(path, directory / path.name)
    return directory


def read_runs(directory: str | os.PathLike[str]) -> pd.DataFrame:
    """The frame of ``collect`` that ``build_report`` has put into a directory."""
    frame = read_table(Path(directory) / RUNS).fillna({"changed": ""})
    kept = pd.Series(per_query.read(Path(directory) / AP), frame.index, object, name=PER_QUERY)
    return pd.concat([frame, kept], axis=1)


def read_table(source: str | os.PathLike[str] | TextIO) -> pd.DataFrame:
    """A CSV of runs. Texts stay texts, as that of a variant named "12" or "None"."""
    return pd.read_csv(source, dtype=dict.fromkeys(TEXTS, str), keep_default_na=False, na_values=[""])


def command(
    verb: str,
    suite_name: str,
    settings: Mapping[str, Any],
    where: Mapping[str, Any],
    out: str | os.PathLike[str] = "runs",
    only: Sequence[str] = (),
) -> str:
    """The command line that does ``verb`` to a suite."""
    parts = ["python", "-m", "ablations", verb, suite_name]
    for option, values in (("--set", settings), ("--where", where)):
        for field, value in values.items():
            parts += [option, f"{field}={as_yaml(value)}"]
    if only:
        parts += ["--only", *only]
    if str(out) != "runs":
        parts += [f"--out={out}"] if str(out).startswith("-") else ["--out", str(out)]
    return shlex.join(parts)


def made_by(
    verb: str,
    suite_name: str,
    settings: Mapping[str, Any],
    where: Mapping[str, Any],
    only: Sequence[str] = (),
) -> str:
    """``command`` as others may read it: without directories of this machine."""
    shown = {field: "DIR" if field == "root" else value for field, value in settings.items()}
    return command(verb, load_suite(suite_name).name, shown, where, only=only)


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


def _faces_at_hand(config: Config) -> str:
    """The hash of a config's faces as they are now; none of faces that cannot be loaded here."""
    try:
        return faces_hash(config)
    except (OSError, ValueError):
        return ""


def _threads(found: dict[str, Any]) -> int:
    """Of a run that ``complete_runs`` has found."""
    return int(found["identity"]["threads"])
