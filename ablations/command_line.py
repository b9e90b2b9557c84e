"""The command line: ``python -m ablations list | run | status | report | tune | atlas | map | score``."""

from __future__ import annotations

import argparse
import sys
import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dcbh_core.notes import as_note
from dcbh_core.saving import write_atomically

from .execution import NotebookError
from .records import record, record_figure
from .report import build_report, collect, command, is_reportable, made_by
from .runner import other_source, plan, run_suite, status
from .suite import Suite, brief, load_suite, located, parse_yaml, shown, suite_names
from .tuning import scores, tuning_suite, tuning_text
from .workers import SchedulerLost


def main(arguments: Sequence[str], command: str) -> int:
    """Do what the command line says.

    Args:
        arguments: Those of the command line.
        command: All of it, to be typed again.

    Returns:
        The exit status: 0; 1 if a run failed; 2 for anything wrong with what was asked.

    Raises:
        KeyboardInterrupt: It was interrupted.
    """
    options = _parser().parse_args(arguments)
    options.command = command
    warnings.showwarning = lambda message, *_, **__: print(as_note(message), file=sys.stderr)
    try:
        return int(options.do(options))
    except SchedulerLost as error:
        print(f"error: {error}; start it, and go on with: {command}", file=sys.stderr)
        return 2
    except (ValueError, OSError, NotebookError) as error:
        print(f"error: {brief(str(error))}", file=sys.stderr)
        return 2


def _list(options: argparse.Namespace) -> int:
    for name in suite_names():
        try:
            suite = load_suite(name)
        except ValueError as error:  # a method of its own needs a package that is not installed
            print(f"{name}: {error}")
            continue
        print(f"{name} ({len(suite)} runs): {suite.title}")
        print(textwrap.fill(suite.about, 100, initial_indent="    ", subsequent_indent="    "))
    return 0


def _run(options: argparse.Namespace) -> int:
    suite = _suite(options)
    if options.dry_run:
        return _say_plan(suite, options)
    failed = _run_suite(suite, options)
    if is_reportable(suite, options.out):
        again = command("report", options.suite, _fields(options.set), _fields(options.where), options.out)
        print(f"report: {again}", file=sys.stderr)
    return 1 if failed else 0


def _say_plan(suite: Suite, options: argparse.Namespace) -> int:
    _check_place(options)
    if options.scheduler is not None:
        raise ValueError("--dry-run plans for this machine, and a cluster's workers may differ; leave --scheduler out")
    planned = plan(suite, options.out, options.only, threads=options.threads)
    for one in planned:
        state = "complete" if one.complete else "to do"
        if one.changed:
            state += f", as {', '.join(one.changed)} changed since it was complete"
        print(f"{one.run.label}: {state} ({one.identity.name})")
    for line in other_source(planned):
        print(line, file=sys.stderr)
    return 0


def _check_place(options: argparse.Namespace) -> None:
    """Refuse what does not go together of the options that say where runs happen.

    Raises:
        ValueError: Something is for a cluster and there is none, or the other way round.
    """
    if options.work and not options.scheduler:
        raise ValueError("--work is for a cluster; give --scheduler too, or leave it out")
    if options.jobs and options.scheduler:
        raise ValueError("--jobs is for this machine; on a cluster each worker has one run at a time")


def _run_suite(suite: Suite, options: argparse.Namespace) -> int:
    _check_place(options)
    return run_suite(
        suite,
        options.out,
        options.jobs,
        options.threads,
        options.only,
        timeout=options.timeout,
        retries=options.retries,
        scheduler=options.scheduler,
        work=options.work,
        command=options.command,
    )


def _status(options: argparse.Namespace) -> int:
    print(status(options.out))
    return 0


def _report(options: argparse.Namespace) -> int:
    settings, where = _fields(options.set), _fields(options.where)
    directory = build_report(
        options.suite,
        options.out,
        settings=settings,
        where=where,
        metric=options.metric,
        any_source=options.any_source,
        faces=options.faces,
    )
    print((directory / "table.md").read_text("utf-8"))
    print(f"report: {directory / 'report.html'}")
    if options.record is not None:
        path = _record(_suite(options), options, "run", options.record)
        record_figure(directory, path.with_suffix(".png"))
        print(f"recorded: {path.with_suffix('.png')}")
    return 0


def _record(suite: Suite, options: argparse.Namespace, verb: str, part: str = "") -> Path:
    only = options.only if verb == "tune" else ()
    made = made_by(verb, options.suite, _fields(options.set), _fields(options.where), only)
    path = record(suite, collect(suite, options.out, options.any_source), made, part)
    print(f"recorded: {path}")
    return path


def _tune(options: argparse.Namespace) -> int:
    suite = load_suite(options.suite).with_settings(_fields(options.set))
    trials = tuning_suite(suite, options.only or ["*"])
    only, options.only = options.only, []
    failed = _run_suite(trials, options)
    options.only = only
    frame = collect(trials, options.out)
    print(tuning_text(scores(frame, suite)))
    if not failed and (options.record or not only):
        _record(trials, options, "tune", options.record)
    return 1 if failed else 0


def _score(options: argparse.Namespace) -> int:
    from .score import read_codes, score_text

    print(score_text(read_codes(options.codes, options.threshold), options.top, options.missing == "skip"))
    return 0


def _map(options: argparse.Namespace) -> int:
    from .map_table import map_table

    out = options.out or options.run / "map.csv"
    map_table(options.run).to_csv(out, index=False)
    print(f"map: {out}")
    return 0


def _atlas(options: argparse.Namespace) -> int:
    from .atlas import MOST, NEIGHBORS, atlas  # figures, which no other verb needs, take a second to import

    runs = [options.run] if options.other is None else [options.run, options.other]
    beside = "" if options.other is None else f"_{options.other.resolve().name}"
    path = options.out or options.run / f"atlas{beside}.html"
    page = atlas(
        runs, most=options.most or MOST, neighbors=options.neighbors or NEIGHBORS, own_code=options.own_code
    ).encode()
    write_atomically(path, page)
    print(f"atlas: {path} ({len(page) / 1e6:.1f} MB)")
    return 0


def _suite(options: argparse.Namespace) -> Suite:
    """The suite that is asked for, with its ``--set`` and ``--where``."""
    return load_suite(options.suite).with_settings(_fields(options.set)).where(_fields(options.where))


def _fields(texts: Sequence[str]) -> dict[str, Any]:
    """What FIELD=VALUE options say: field -> value, read as YAML.

    Raises:
        ValueError: An option has no equals sign, or a value is no YAML.
    """
    fields = {}
    for text in texts:
        field, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set and --where take FIELD=VALUE, not {shown(text)}")
        with located(shown(text)):
            fields[field] = parse_yaml(value)
    return fields


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, not {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, not {text!r}")
    return seconds


def _retries(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number from 0, not {text!r}")
    return int(text)


def _directory(text: str) -> Path:
    return Path(text).expanduser()  # shells leave the ~ of --out=~/runs as it is


def _part(text: str) -> str:
    if text and not text.replace("_", "a").replace("-", "a").isalnum():
        raise argparse.ArgumentTypeError(f"must be of letters, digits, - and _, as it names a file, not {text!r}")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ablations", description="Run ablations of DCBH, and report them.")
    verbs = parser.add_subparsers(required=True, metavar="list | run | status | report | tune | atlas | map | score")
    listing = verbs.add_parser("list", help="say which suites there are, what each answers, and its number of runs")
    listing.set_defaults(do=_list)
    running = verbs.add_parser(
        "run",
        help="start the runs of a suite that are not complete yet; with --set scored_on=validation without the queries",
    )
    running.set_defaults(do=_run)
    watching = verbs.add_parser("status", help="say what is complete, running, failed and waiting")
    watching.add_argument(
        "out", nargs="?", type=_directory, default=Path("runs"), metavar="DIR", help="where runs lie (default: runs)"
    )
    watching.set_defaults(do=_status)
    reporting = verbs.add_parser("report", help="make a page of tables and figures of a suite's complete runs")
    reporting.set_defaults(do=_report)
    tuning = verbs.add_parser("tune", help="run what a suite tunes on the validation part, and keep the table")
    tuning.set_defaults(do=_tune, where=[], any_source=False)
    tuning.add_argument(
        "--record",
        default="",
        type=_part,
        metavar="PART",
        help="keep the table as SUITE_tuning.PART.csv, for other seeds or some of the trials",
    )
    scoring = verbs.add_parser("score", help="say how good the codes of any project are, and what others would print")
    scoring.set_defaults(do=_score)
    scoring.add_argument(
        "codes",
        nargs="+",
        type=_directory,
        metavar="CODES",
        help=".npz, .mat or .npy files, or a directory of them, with arrays such as query_codes and gallery_labels",
    )
    scoring.add_argument(
        "--top", nargs="+", default=[], type=_positive, metavar="K", help="of MAP@K (default: 50, 1000, 5000)"
    )
    scoring.add_argument(
        "--threshold", type=float, metavar="T", help="of real-valued codes: a bit is 1 at T or above (default: refused)"
    )
    scoring.add_argument(
        "--missing",
        choices=("error", "skip"),
        default="error",
        help="a query without a relevant item is an error (default), or left out and counted",
    )
    mapping = verbs.add_parser("map", help="write the t-SNE map of a run's codes as CSV: person, file, AP and place")
    mapping.set_defaults(do=_map)
    mapping.add_argument("run", type=_directory, metavar="RUN", help="the directory of a run")
    mapping.add_argument("--out", type=_directory, metavar="FILE", help="default: map.csv in that directory")
    showing = verbs.add_parser("atlas", help="make a page of all faces of a run, or of two: maps that say why")
    showing.set_defaults(do=_atlas)
    showing.add_argument("run", type=_directory, metavar="RUN", help="a run directory, such as runs/complete/NAME")
    showing.add_argument(
        "other", nargs="?", type=_directory, metavar="RUN2", help="another run on the same faces, to be shown beside it"
    )
    showing.add_argument(
        "--out", type=_directory, metavar="FILE", help="where the page goes (default: atlas.html in RUN)"
    )
    showing.add_argument("--most", type=_positive, metavar="N", help="show a sample of N faces of a larger data set")
    showing.add_argument("--neighbors", type=_positive, metavar="K", help="show the K nearest of a face")
    showing.add_argument("--own-code", action="store_true", help="let the file of a method of one's own, in RUN, run")
    for verb in (running, reporting, tuning):
        verb.add_argument("suite", metavar="SUITE", help="a name from `list`, or a YAML file")
        verb.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="FIELD=VALUE",
            help="set a config field; a list becomes a grid axis",
        )
        verb.add_argument(
            "--out", type=_directory, default=Path("runs"), metavar="DIR", help="where runs lie (default: runs)"
        )
    for verb in (running, reporting):
        verb.add_argument(
            "--where",
            action="append",
            default=[],
            metavar="FIELD=VALUE",
            help="choose among the points that the suite plans, such as bits=[24,48]",
        )
    for verb in (running, tuning):
        verb.add_argument("--jobs", type=_positive, metavar="N", help="runs at a time (default: what the cores take)")
        verb.add_argument("--threads", type=_positive, default=1, metavar="N", help="threads of each run (default: 1)")
        verb.add_argument(
            "--only", nargs="+", default=[], metavar="VARIANT", help="only these variants; fc* is a pattern"
        )
        verb.add_argument(
            "--timeout", type=_seconds, metavar="SECONDS", help="end an attempt after so long (default: never)"
        )
        verb.add_argument(
            "--retries", type=_retries, default=0, metavar="N", help="attempt a failed run again up to N times"
        )
        verb.add_argument("--scheduler", metavar="ADDRESS", help="run on the dask cluster of this scheduler")
        verb.add_argument(
            "--work", metavar="DIR", help="with --scheduler: a directory that all workers share, for checkpoints"
        )
    running.add_argument("--dry-run", action="store_true", help="say what would be run, and run nothing")
    reporting.add_argument(
        "--metric", default="map", help="what the tables are of, such as precision_at_50 (default: map)"
    )
    reporting.add_argument(
        "--any-source", action="store_true", help="show runs of another source too, where there are none of this one"
    )
    reporting.add_argument(
        "--faces",
        action=argparse.BooleanOptionalAction,
        help="show faces and names, as far as the faces are on this machine (default: unless dataset is folder)",
    )
    reporting.add_argument(
        "--record",
        nargs="?",
        const="",
        type=_part,
        metavar="PART",
        help="also keep the metrics as SUITE.csv in ablations/results (or beside a suite of one's own); with PART as "
        "SUITE.PART.csv, for other lengths or seeds",
    )
    return parser
