"""Results that are kept: one small CSV per suite, or per part of it, and beside it the AP of each query."""

from __future__ import annotations

import base64
import io
import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from dcbh_core.methods import unknown_name
from dcbh_core.saving import write_atomically

from . import per_query
from .per_query import PerQuery
from .report import read_table
from .run_directory import QUESTIONS
from .suite import Suite
from .tables import PER_QUERY, metrics_of, missing_runs, rows_of

RESULTS = Path(__file__).parent / "results"


def record(suite: Suite, frame: pd.DataFrame, command: str, part: str = "") -> Path:
    """Write the suite's metrics to SUITE.csv, to be kept: comments on how they were made, then a row per run.

    SUITE.npz beside it holds the AP of each query, and the person on it, of what the tables of MAP show. The files lie
    in ``ablations/results``, or beside a suite of one's own.

    Args:
        suite: Whose runs they are.
        frame: From ``collect``.
        command: What has made the runs.
        part: If given, the file is SUITE.PART.csv, beside the others of the suite: other lengths or seeds, from another
            time or machine. ``recorded`` reads all of them.

    Returns:
        The path of the file.

    Raises:
        ValueError: A run is missing, another part holds one of these runs, or the file holds others than these.
    """
    missing = missing_runs(suite, frame)
    if missing:
        raise ValueError(f"only a complete suite is recorded; missing runs: {', '.join(missing)}")
    machines = {
        f"{row.machine}, {row.dtype}, torch {row.torch}, {row.threads} thread{'' if row.threads == '1' else 's'}"
        for row in frame.itertuples()
    }
    head = {
        "title": suite.title,
        "command": command,
        "seeds": ", ".join(str(seed) for seed in sorted(frame["seed"].unique())),
        "machine": "; ".join(sorted(machines)),
    }
    fields = ["seed", *[field for field in suite.grid if field != "seed"]]
    metrics = [metric for metric in metrics_of(frame, suite) if metric != "seconds"]
    path = suite.directory / (f"{suite.name}.{part}.csv" if part else f"{suite.name}.csv")
    values = frame[["variant", *fields, *metrics, "seconds"]].round(dict.fromkeys([*metrics, "seconds"], 6))
    _together([values, *(_read(other) for other in _parts(suite.name, suite.directory) if other != path)], suite.name)
    _require_all(values, path)
    lines = [f"# {key}: {' '.join(value.split())}\n" for key, value in head.items()]
    beside = path.with_suffix(".npz")
    beside.unlink(missing_ok=True)  # of the record that is replaced
    write_atomically(path, ("".join(lines) + values.to_csv(index=False)).encode())
    if PER_QUERY in frame and frame[PER_QUERY].notna().all():
        shown = {f"{one.prefix}map" for one in QUESTIONS if f"{one.prefix}map" in frame}
        kept = {column for metric in shown for _, column in rows_of(frame, suite, metric).values()}
        kept |= {f"{one.prefix}memory" for one in QUESTIONS}
        runs = [
            PerQuery({name: one.ap[name] for name in one.ap if name in kept}, one.people) for one in frame[PER_QUERY]
        ]
        buffer = io.BytesIO()
        per_query.write(buffer, runs)
        write_atomically(beside, buffer.getvalue())
    return path


def record_figure(report: Path, path: Path) -> None:
    """Keep the first figure of a report (the directory of ``build_report``) as the PNG file ``path``."""
    cells = json.loads((report / "report.ipynb").read_text("utf-8"))["cells"]
    images = [
        output["data"]["image/png"]
        for cell in cells
        for output in cell.get("outputs", ())
        if "data" in output and "image/png" in output["data"]
    ]
    path.write_bytes(base64.b64decode(images[0]))


def recorded(name: str, directory: Path = RESULTS) -> pd.DataFrame:
    """The recorded metrics of a suite, a row per run; ``summary`` takes them as it does those of ``collect``.

    Args:
        name: Of the suite.
        directory: Where its results are kept, ``Suite.directory``.

    Returns:
        All parts of the suite together; ``machine`` says which kind of machine made a row.

    Raises:
        ValueError: Nothing is recorded under this name, or two parts hold the same run.
    """
    paths = _parts(name, directory)
    if not paths:
        raise unknown_name("recorded suite", name, sorted(path.stem for path in directory.glob("*.csv")))
    return _together([_read(path) for path in paths], name)


def _parts(name: str, directory: Path) -> list[Path]:
    """The recorded files of a suite: SUITE.csv and every SUITE.PART.csv."""
    return sorted(path for path in directory.glob("*.csv") if path.stem == name or path.stem.startswith(f"{name}."))


def _read(path: Path) -> pd.DataFrame:
    """A recorded file, with the machine of its head in a column."""
    lines = path.read_text("utf-8").splitlines(keepends=True)
    head = list(itertools.takewhile(lambda line: line.startswith("#"), lines))
    machine = re.search("^# machine: (.*)$", "".join(head), re.M)
    frame = read_table(io.StringIO("".join(lines[len(head) :])))
    beside: dict[str, pd.Series] = {}
    if path.with_suffix(".npz").is_file():
        beside[PER_QUERY] = pd.Series(per_query.read(path.with_suffix(".npz")), frame.index, object)
    if machine:
        beside["machine"] = pd.Series(machine[1], frame.index)
    return pd.concat([frame, pd.DataFrame(beside)], axis=1)


def _require_all(values: pd.DataFrame, path: Path) -> None:
    """Refuse rows in the place of a record with more runs.

    Raises:
        ValueError: The file holds a run of the same grid fields that is not among them.
    """
    run = list(values.columns[: values.columns.get_loc("map")])
    before = _read(path) if path.is_file() else values
    if not set(run) <= set(before):
        return  # a record of another grid
    lost = set(before[run].itertuples(index=False)) - set(values[run].itertuples(index=False))
    if lost:
        raise ValueError(
            f"{path} holds {len(lost)} runs that are not among these; record these as a part of their own, or delete it"
        )


def _together(parts: Sequence[pd.DataFrame], name: str) -> pd.DataFrame:
    """The rows of all parts.

    Raises:
        ValueError: Two parts hold the same run.
    """
    frame = pd.concat(parts, ignore_index=True)
    run = list(frame.columns[: frame.columns.get_loc("map")])  # variant, seed and the other grid fields
    twice = frame[frame.duplicated(run)]
    if len(twice):
        first = ", ".join(f"{field} {value}" for field, value in twice[run].iloc[0].items())
        raise ValueError(f"two recorded parts of suite {name!r} hold one run ({first}); delete one of their files")
    return frame
