"""The command line: ``python -m ablations list | run | status | report | tune | validate``."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .execution import NotebookError
from .records import record, record_figure
from .report import build_report, collect, command, markdown
from .runner import plan, run, status
from .suite import load_suite, parse_yaml, suite_names
from .tuning import results_path, run_trials, tuning_text, tuning_trials, validation_table, validation_trials
from .workers import cores


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0, 1 if a cell failed, 2 for anything wrong with what was asked, 130 if interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    options.command = shlex.join(["python", "-m", "ablations", *arguments])
    try:
        return int(options.do(options))
    except (ValueError, OSError, NotebookError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"interrupted; go on with: {options.command}", file=sys.stderr)
        return 130


def _list(options: argparse.Namespace) -> int:
    for name in suite_names():
        suite = load_suite(name)
        print(f"{name} ({len(suite)} cells): {suite.title}")
        print(textwrap.fill(suite.about, 100, initial_indent="    ", subsequent_indent="    "))
    return 0


def _run(options: argparse.Namespace) -> int:
    suite = load_suite(options.suite).with_settings(_settings(options))
    if options.dry_run:
        for planned in plan(suite, options.out, options.only):
            state = "complete" if planned.complete else "to do"
            print(f"{planned.cell.label}: {state} ({planned.identity.name})")
        return 0
    if options.work and not options.scheduler:
        raise ValueError("--work is for a cluster; give --scheduler too, or leave it out")
    if options.jobs and options.scheduler:
        raise ValueError("--jobs is for this machine; on a cluster each worker runs one cell at a time")
    failed = run(
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
    print(f"report: {command('report', options.suite, _settings(options), options.out)}", file=sys.stderr)
    return 1 if failed else 0


def _status(options: argparse.Namespace) -> int:
    print(status(options.out))
    return 0


def _report(options: argparse.Namespace) -> int:
    settings = _settings(options)
    directory = build_report(options.suite, options.out, settings)
    print((directory / "table.md").read_text("utf-8"))
    print(f"report: {directory / 'report.html'}")
    if options.record is not None:
        suite = load_suite(options.suite).with_settings(settings)
        shown = {field: "DIR" if field == "root" else value for field, value in settings.items()}
        frame, made_by = collect(suite, options.out), command("run", suite.name, shown)
        path = record(suite, frame, made_by, options.record)
        record_figure(directory, path.with_suffix(".png"))
        print(f"recorded: {path}\nrecorded: {path.with_suffix('.png')}")
    return 0


def _tune(options: argparse.Namespace) -> int:
    suite = load_suite(options.suite).with_settings(_settings(options))
    path = options.csv or results_path(suite, "tuning")
    frame = run_trials(tuning_trials(suite), path, _jobs(options), options.threads)
    print(f"{frame.drop(columns='identity').to_string(index=False)}\n\nbest:\n{tuning_text(frame)}\n\ntable: {path}")
    return 0


def _validate(options: argparse.Namespace) -> int:
    suite = load_suite(options.suite).with_settings(_settings(options))
    path = options.csv or results_path(suite, "validation")
    frame = run_trials(validation_trials(suite, options.only), path, _jobs(options), options.threads)
    print(f"{markdown(validation_table(frame, suite))}\n\ntable: {path}")
    return 0


def _jobs(options: argparse.Namespace) -> int:
    return int(options.jobs or max(1, cores() // options.threads))


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """The ``--set`` options: field -> value, as YAML."""
    settings = {}
    for text in options.set:
        field, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set takes FIELD=VALUE, not {text!r}")
        settings[field] = parse_yaml(value)
    return settings


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


def _part(text: str) -> str:
    if text and not text.replace("_", "a").replace("-", "a").isalnum():
        raise argparse.ArgumentTypeError(f"must be of letters, digits, - and _, as it names a file, not {text!r}")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ablations", description="Run and report ablations of DCBH.")
    verbs = parser.add_subparsers(required=True, metavar="list | run | status | report | tune | validate")
    listing = verbs.add_parser("list", help="the suites, what each answers, and its number of cells")
    listing.set_defaults(do=_list)
    running = verbs.add_parser("run", help="run what is not complete yet of a suite")
    running.set_defaults(do=_run)
    watching = verbs.add_parser("status", help="what is done, running, failed and waiting in an output directory")
    watching.add_argument("out", nargs="?", type=Path, default=Path("runs"), metavar="DIR", help="default: runs")
    watching.set_defaults(do=_status)
    reporting = verbs.add_parser("report", help="tables and figures of a suite's complete cells")
    reporting.set_defaults(do=_report)
    tuning = verbs.add_parser("tune", help="try a suite's settings on a validation part of its training faces")
    tuning.set_defaults(do=_tune)
    validating = verbs.add_parser("validate", help="score a suite's variants on that validation part")
    validating.set_defaults(do=_validate)
    for verb in (running, reporting, tuning, validating):
        verb.add_argument("suite", metavar="SUITE", help="a name from `list`, or a YAML file")
        verb.add_argument(
            "--set", action="append", default=[], metavar="FIELD=VALUE", help="a config field; a list is a grid axis"
        )
    for verb in (running, reporting):
        verb.add_argument(
            "--out", type=Path, default=Path("runs"), metavar="DIR", help="where runs lie (default: runs)"
        )
    for verb in (tuning, validating):
        verb.add_argument("--csv", type=Path, metavar="FILE", help="the table (default: in ablations/results)")
    for verb in (running, tuning, validating):
        verb.add_argument("--jobs", type=_positive, metavar="N", help="trainings at a time (default: one per core)")
        verb.add_argument("--threads", type=_positive, default=1, metavar="N", help="threads per training (default: 1)")
    for verb in (running, validating):
        verb.add_argument("--only", nargs="+", default=[], metavar="VARIANT", help="these variants; fc* is a pattern")
    running.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="for one try at a cell (default: none)")
    running.add_argument(
        "--retries", type=_retries, default=0, metavar="N", help="try a failed cell again up to N times (default: 0)"
    )
    running.add_argument("--scheduler", metavar="ADDRESS", help="run the cells on the dask cluster of this scheduler")
    running.add_argument(
        "--work", metavar="DIR", help="with --scheduler: a directory that all workers share, for checkpoints"
    )
    running.add_argument("--dry-run", action="store_true", help="say what would be run, and run nothing")
    reporting.add_argument(
        "--record",
        nargs="?",
        const="",
        type=_part,
        metavar="PART",
        help="also write the figures to ablations/results/SUITE.csv, to be committed; with PART, to SUITE.PART.csv "
        "beside it, for other lengths or seeds",
    )
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # `kill` and batch systems end it as Ctrl-C does
    sys.exit(main())
