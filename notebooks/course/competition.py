"""A competition for a class: who writes the method whose codes find the most?

``python -m course.competition new DIR``, from ``notebooks/``, draws who and what is hidden and makes two directories:
``DIR/pack`` is handed out to the students, ``DIR/teacher`` is not. ``python -m course.competition score DIR
SUBMISSIONS`` trains every file of ``SUBMISSIONS`` with one budget and writes ``DIR/leaderboard.html``. A submission is
code that runs on the machine that scores it: ``docs/competition.md`` says what that means, and how to fence it in.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import dataclasses
import os
import secrets
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unicodedata import category

import numpy as np
import torch
import yaml
from PIL import Image

from ablations.report import collect
from ablations.run_directory import QUESTIONS
from ablations.runner import duration, plan, run_suite, write_durably
from ablations.suite import Suite, brief, load_suite, located, mapping, parse_yaml
from dcbh_core import Config, Faces, Split, load_faces, load_split
from dcbh_core.datasets import printable
from dcbh_core.faces import validation_split
from dcbh_core.methods import unknown_name

from .leaderboard import Standing, leaderboard

REFERENCE = "DCBH"
BASE = {"dataset": "folder", "new_people": 0.25, "queries_per_identity": 3, "bits": 48, "width": 0.25}
SEEDS = [0, 1, 2]
LARGEST = 2**20  # bytes of a submission
BUDGET = ("bits", "width", "epochs")  # what the students are told


@dataclasses.dataclass(frozen=True)
class Rules:
    """What students are told, and a scoring keeps to.

    Attributes:
        question: The title of the question that decides the order.
        submissions: How many different files of one student are scored.
        timeout: Seconds for one training.

    Raises:
        ValueError: A value is unknown or impossible.
    """

    question: str = "unseen"
    submissions: int = 3
    timeout: float = 600

    def __post_init__(self) -> None:
        titles = [question.title for question in QUESTIONS]
        if self.question not in titles:
            raise unknown_name("question", self.question, titles)
        if not isinstance(self.submissions, int) or self.submissions < 1:
            raise ValueError(f"submissions must be a whole number from 1, not {self.submissions!r}")
        if not isinstance(self.timeout, int | float) or not 0 < self.timeout < float("inf"):
            raise ValueError(f"timeout must be a number of seconds above 0, not {self.timeout!r}")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One submission that counts.

    Attributes:
        student: Whose it is.
        number: Which of theirs, from 1.
        path: The copy that is scored.
    """

    student: str
    number: int
    path: Path

    @property
    def name(self) -> str:
        """What the runs of it are called."""
        return f"{self.student} {self.number}"

    @property
    def verdict(self) -> Path:
        """The file that says why it cannot be scored; empty where it can."""
        return self.path.with_suffix(".txt")


@dataclasses.dataclass(frozen=True)
class Claim:
    """What a submission says of itself.

    Attributes:
        method: The name of the class that is handed in.
        kind: ``head`` or ``objective``.
        predicted: The MAP that its author expects, or None.
        because: And why.
    """

    method: str
    kind: str
    predicted: float | None
    because: str


def new(
    directory: Path,
    folder: str | None = None,
    settings: Mapping[str, Any] | None = None,
    rules: Rules | None = None,
) -> tuple[Path, Split]:
    """Make a competition.

    Args:
        directory: Where; it must not be there yet, or be empty.
        folder: A directory with a sub-folder for each person; None takes ORL.
        settings: Config fields that all trainings share, in place of those of ``BASE``; ``split_seed`` says what is
            hidden, and is drawn at random where it is not given.
        rules: The rules.

    Returns:
        The pack, and how the faces are split: only ``Split.training`` is in the pack.

    Raises:
        ValueError: The faces are too few, a photograph would lie both in the pack and among the hidden ones, or a
            setting is impossible.
        FileExistsError: The directory holds something.
    """
    rules = rules or Rules()
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise FileExistsError(f"{directory} is not empty; a competition needs a directory of its own")
    base = {**BASE, "split_seed": secrets.randbelow(2**32), **(settings or {})}
    if not base["new_people"]:
        raise ValueError("new_people must be above 0: people whom training has never seen are half of the competition")
    faces = load_faces("orl") if folder is None else load_faces("folder", folder)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=directory.parent) as temporary:
        teacher, pack = Path(temporary, "made/teacher"), Path(temporary, "made/pack")
        _write_faces(teacher / "faces", faces)
        # The split is of the copy, as every scoring will see it.
        split = load_split(Config.from_dict({**base, "root": str(teacher / "faces")}))
        _refuse_copies(split)
        with located("the students' validation part"):
            validation_split(split.training)
        _write_faces(pack / "faces", split.training)
        suite = {"title": "A competition", "about": "Whose method finds the most?", "base": base}
        suite |= {"variants": {REFERENCE: {}}, "reference": REFERENCE, "grid": {"seed": SEEDS}}
        if rules.question == "held out" and np.bincount(split.queries.labels).max() < 2:
            raise ValueError("held out is asked of people with two hidden photographs; set queries_per_identity to 2")
        _write_yaml(teacher / "suite.yaml", suite)
        load_suite(str(teacher / "suite.yaml")).with_settings({"root": str(teacher / "faces")}).runs()
        _write_yaml(teacher / "rules.yaml", dataclasses.asdict(rules))
        (teacher / "entries").mkdir()
        own = {"root": "faces", "new_people": 0.25, "queries_per_identity": 2, "split_seed": 0, "min_faces": None}
        suite |= {"title": "My method on the validation part", "about": "Is my method better than DCBH?"}
        suite |= {"base": base | own, "variants": {REFERENCE: {}, "mine": {"head": "my_method.py:MyMethod"}}}
        _write_yaml(pack / "try.yaml", suite)
        (pack / "my_method.py").write_text(TEMPLATE.format(question=rules.question), "utf-8")
        (pack / "README.md").write_text(_instructions(split, base, rules, folder is None), "utf-8")
        Path(temporary, "made").rename(directory)
    return directory / "pack", split


def _write_faces(directory: Path, faces: Faces) -> None:
    """Each face as a PNG of its 32 x 32 pixels, in a sub-folder for each person."""
    if len(set(faces.names)) < len(faces.names):
        raise ValueError("two people have the same name; rename the folder of one of them")
    counts = dict.fromkeys(faces.names, 0)
    for image, label in zip(faces.images, faces.labels, strict=True):
        name = faces.names[label]
        (directory / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.moveaxis(image, 0, -1)).save(directory / name / f"{counts[name]:03}.png")
        counts[name] += 1


def _refuse_copies(split: Split) -> None:
    """Refuse a hidden photograph that training would see.

    Raises:
        ValueError: There is one; the people are named.
    """
    shown = {image.tobytes(): split.training.names[label] for image, label in _each(split.training)}
    for part in (split.queries, split.new_gallery, split.new_queries):
        for image, label in _each(part) if part else ():
            if image.tobytes() in shown:
                both = f"{part.names[label]} and {shown[image.tobytes()]}" if part else ""
                raise ValueError(f"a photograph is there twice ({both}); remove the copy, or it would not stay hidden")


def _each(faces: Faces) -> Iterator[tuple[np.ndarray, int]]:
    return zip(faces.images, faces.labels, strict=True)


def _write_yaml(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True).encode())


def claim(path: Path) -> Claim:
    """What a submission says of itself, read without executing it.

    Raises:
        ValueError: It is no Python, or it is not clear which class is handed in.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError as error:
        raise ValueError(f"line {error.lineno or 1}: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"this is no Python: {error}") from None
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    found = [(node, facts) for node in classes.values() if "predicted" in (facts := _facts(node))]
    if len(found) != 1:
        what = "no class has" if not found else f"{' and '.join(node.name for node, _ in found)} have"
        raise ValueError(f"{what} a line `predicted = ...`; the one class that is handed in must have it")
    node, facts = found[0]
    try:
        predicted = ast.literal_eval(facts["predicted"])
        because = ast.literal_eval(facts["because"]) if "because" in facts else ""
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise ValueError(f"line {node.lineno}: predicted must be a number, and because a text") from None
    if predicted is not None and (type(predicted) not in (int, float) or not 0 <= predicted <= 1):
        raise ValueError(
            f"line {node.lineno}: predicted must be a MAP from 0 to 1, or None, not {brief(repr(predicted))}"
        )
    return Claim(node.name, "objective" if _is_objective(node, classes) else "head", predicted, brief(str(because)))


def _facts(node: ast.ClassDef) -> dict[str, ast.expr]:
    """What a class sets: name -> value, with an annotation or without."""
    found: dict[str, ast.expr] = {}
    for statement in node.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        value = getattr(statement, "value", None)
        found |= {target.id: value for target in targets if isinstance(target, ast.Name) and value is not None}
    return found


def _is_objective(node: ast.ClassDef, classes: Mapping[str, ast.ClassDef]) -> bool:
    """Whether a class, or one of the same file that it is made from, is an objective."""
    others = {name: one for name, one in classes.items() if one is not node}
    bases = [ast.unparse(base) for base in node.bases]
    return (
        any(isinstance(statement, ast.FunctionDef) and statement.name == "compute" for statement in node.body)
        or any(base.endswith("Objective") for base in bases)
        or any(_is_objective(others[base], others) for base in bases if base in others)
    )


def score(
    directory: Path,
    submissions: Path,
    *,
    jobs: int | None = None,
    retries: int = 0,
    command: str = "",
) -> int:
    """Train and measure what was handed in, and write ``directory/leaderboard.html``.

    What is complete is not done again, so a scoring that was cut off goes on where it was. A submission that fails
    stays what it is: delete its .txt in ``teacher/entries`` to have it tried once more.

    Args:
        directory: The competition.
        submissions: A directory with one file ``STUDENT.py`` of each student. Every version of it that is scored counts
            as one submission, and is kept in ``teacher/entries``.
        jobs: Trainings at a time; None takes what the cores can do.
        retries: How often a failed training is attempted again.
        command: What is to be typed to go on.

    Returns:
        The number of entries without a score.

    Raises:
        ValueError: The competition's files are not what they should be.
        OSError: They are not there, or nothing can be written.
        KeyboardInterrupt: It was interrupted.
    """
    teacher = directory / "teacher"
    rules = _read_rules(teacher / "rules.yaml")
    if list(load_suite(str(teacher / "suite.yaml")).grid) != ["seed"]:
        raise ValueError(f"{teacher / 'suite.yaml'}: the grid of a competition must be over seeds alone")
    if not submissions.is_dir():
        raise FileNotFoundError(f"{submissions} is no directory")
    entries, too_many = take_in(submissions, teacher / "entries", rules.submissions)
    claims: dict[str, Claim] = {}
    for entry in entries:
        try:
            claims[entry.name] = claim(entry.path)
        except ValueError as error:
            _decide(entry, str(error))
    workers = jobs or os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        waiting = [entry for entry in entries if not entry.verdict.exists()]
        for entry, reason in zip(
            waiting, pool.map(lambda one: _rehearsed(one, claims[one.name], teacher, rules), waiting), strict=True
        ):
            _decide(entry, reason)
    out = teacher / "runs"
    for seed in load_suite(str(teacher / "suite.yaml")).grid["seed"]:
        suite = _suite(teacher, entries, claims).where({"seed": seed})
        # Each was rehearsed alone, in a process of its own: here, one that does not work twice would stop all others.
        failed = run_suite(suite, out, jobs, timeout=rules.timeout, retries=retries, command=command, rehearsed=True)
        by_name = {entry.name: entry for entry in entries}
        for planned in plan(suite, out, rehearsed=True) if failed else ():
            if not planned.complete and planned.run.variant in by_name:
                log = (out / "failed" / planned.identity.name / "error.txt").read_text("utf-8").strip()
                _decide(by_name[planned.run.variant], f"seed {seed}: {brief(log.splitlines()[-1])}")
    suite = _suite(teacher, entries, claims)
    runs = {one.run.variant: out / "complete" / one.identity.name for one in reversed(plan(suite, out, rehearsed=True))}
    standings = [
        Standing(
            entry.student,
            entry.number,
            *((said.predicted, said.because) if (said := claims.get(entry.name)) else (None, "")),
            entry.verdict.read_text("utf-8"),
            runs.get(entry.name),
        )
        for entry in entries
    ]
    standings += [
        Standing(
            student,
            rules.submissions + 1,
            None,
            "",
            f"not scored: {rules.submissions} were handed in before it",
            counts=False,
        )
        for student in too_many
    ]
    page = leaderboard(standings, collect(suite, out), suite, rules.question)
    write_durably(directory / "leaderboard.html", page.encode())
    return sum(bool(standing.reason) for standing in standings)


def _read_rules(path: Path) -> Rules:
    with located(str(path)):
        written = parse_yaml(path.read_text("utf-8"))
    mapping(str(path), written, [field.name for field in dataclasses.fields(Rules)], "rule")
    with located(str(path)):
        return Rules(**written)


def take_in(submissions: Path, entries: Path, limit: int) -> tuple[list[Entry], list[str]]:
    """Copy what is new in ``submissions`` to ``entries``.

    Args:
        submissions: The directory of what was handed in.
        entries: ``STUDENT/NUMBER.py`` each.
        limit: How many of one student count.

    Returns:
        All entries, and the students whose newest file is one too many.

    Raises:
        ValueError: A submission is too large to be one.
    """
    too_many = []
    for path in sorted(submissions.glob("*.py")):
        if path.name.startswith(".") or not path.is_file():
            continue
        if path.stat().st_size > LARGEST:
            raise ValueError(f"{path} has more than {LARGEST >> 10} KB, which is no method")
        student, content = _on_one_line(path.stem), path.read_bytes()
        known = [entry.path.read_bytes() for entry in _entries_of(entries / student)]
        if content not in known and len(known) < limit:
            write_durably(entries / student / f"{len(known) + 1}.py", content)
        elif content not in known:
            too_many.append(student)
    return [entry for own in sorted(entries.iterdir()) if own.is_dir() for entry in _entries_of(own)], too_many


def _on_one_line(name: str) -> str:
    """A student's name as a suite may have it: plain spaces, and no letters that only join or turn others."""
    kept = (letter for letter in printable(name) if category(letter) != "Cf")
    return "".join(" " if category(letter) == "Zs" else letter for letter in kept).strip() or "nobody"


def _entries_of(directory: Path) -> list[Entry]:
    paths = sorted(directory.glob("*.py"), key=lambda path: int(path.stem))
    return [Entry(directory.name, int(path.stem), path) for path in paths]


def _decide(entry: Entry, reason: str) -> None:
    write_durably(entry.verdict, reason.encode())
    print(f"{entry.name}: {reason or 'is admitted'}", file=sys.stderr)


def _rehearsed(entry: Entry, said: Claim, teacher: Path, rules: Rules) -> str:
    """Why a submission cannot be trained, or "": found by a dry run of it alone, in a process of its own.

    Whatever it does there, such as never to come back, befalls no other.
    """
    planned = entry.path.with_suffix(".yaml")
    _write_yaml(planned, _suite_file(teacher, [entry], {entry.name: said}) | {"extends": "../../suite.yaml"})
    command = [sys.executable, "-m", "ablations", "run", str(planned), "--dry-run", "--out", str(teacher / "runs")]
    with tempfile.TemporaryFile() as output:
        one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # several side by side would wait for each other
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True, env=one_thread)
        try:
            status = process.wait(rules.timeout)
        except subprocess.TimeoutExpired:
            return f"a single step took longer than {duration(rules.timeout)}"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(max(0, output.seek(0, os.SEEK_END) - LARGEST))
        lines = output.read().decode(errors="replace").splitlines()
    if status == 0 and any(line.startswith(f"{entry.name} seed") for line in lines):
        return ""
    [*_, reason] = ["", *(line.removeprefix("error: ") for line in lines if line.startswith("error: "))]
    if not reason:
        return f"its process ended by itself in a single step (status {status})"
    return reason.rpartition(f"{entry.path.absolute()}")[2].removeprefix(", ").removeprefix(":") or reason


def _suite_file(teacher: Path, entries: Sequence[Entry], claims: Mapping[str, Claim]) -> dict[str, Any]:
    """What a suite of the entries says, on top of the teacher's."""
    variants = {
        entry.name: {claims[entry.name].kind: f"{entry.path.absolute()}:{claims[entry.name].method}"}
        for entry in entries
    }
    return {"extends": "suite.yaml", "base": {"root": str((teacher / "faces").absolute())}, "variants": variants}


def _suite(teacher: Path, entries: Sequence[Entry], claims: Mapping[str, Claim]) -> Suite:
    """The suite of all entries that can be scored, for `python -m ablations` too."""
    admitted = [entry for entry in entries if not entry.verdict.read_text("utf-8")]
    _write_yaml(teacher / "scored.yaml", _suite_file(teacher, admitted, claims))
    return load_suite(str(teacher / "scored.yaml"))


def _instructions(split: Split, base: Mapping[str, Any], rules: Rules, orl: bool) -> str:
    """The README of the pack."""
    assert split.new_queries is not None and split.new_gallery is not None
    hidden = len(split.queries) + len(split.new_queries) + len(split.new_gallery)
    resolved = Config.from_dict({**base, "root": "faces"}).resolved()
    return INSTRUCTIONS.format(
        question=rules.question,
        submissions=rules.submissions,
        minutes=duration(rules.timeout),
        people=split.training.num_identities,
        photographs=len(split.training),
        unseen=split.new_queries.num_identities,
        hidden=hidden,
        budget=", ".join(f"{name} {getattr(resolved, name)}" for name in BUDGET),
        seeds=len(SEEDS),
        credit=ORL if orl else "",
    )


TEMPLATE = '''"""My method. Rename this file to YOUR NAME.py before you hand it in."""

from dcbh_core import Head


class MyMethod(Head):
    """Each bit is the sign of its block's mean: descriptors (n, bits * block_size) to z (n, bits)."""

    predicted = 0.5  # the MAP that I expect ({question}), a number from 0 to 1, written before anybody has measured it
    because = "I expect this, because ..."

    relu = False  # behind a ReLU no entry, and so no mean, would be below 0

    def forward(self, f):
        return f.unflatten(1, (self.bits, self.size)).mean(2)
'''
INSTRUCTIONS = """# A competition

Write a hashing head or a loss whose codes find the right faces. You have {photographs} photographs of {people} people
in `faces/`. Your method will be trained on these same photographs, and then asked about {hidden} others that you do not
have: further ones of these people, and photographs of {unseen} people whom nobody's network has ever seen.

**What decides** is the MAP of the question *{question}*, in the mean over {seeds} seeds. Everybody has the same network
and budget: {budget}; a training that takes longer than {minutes} is ended. You may hand in {submissions} different
versions; each one that is scored counts.

## Your method

`my_method.py` is a method to start from; it runs as it is. The class that has the line `predicted` is the one that you
hand in: a subclass of `dcbh_core.Head`, or of `dcbh_core.Objective` (a loss). What it must give is in the kit's
`docs/reference.md`, under *A method of your own*, and notebook 10 takes you through one. One file, no file beside it.

`predicted` is the MAP that you expect, and `because` your reason. Write both before you measure anything: how far off
you were is shown as well, and to have known it is worth as much as to have won.

## Try it

In this directory, with the kit installed:

    python -m ablations run try.yaml --dry-run    # is the file all right? a few seconds
    python -m ablations run try.yaml
    python -m ablations report try.yaml

`try.yaml` trains DCBH and your method on a part of these faces and scores them on the rest, the **validation part**:
two photographs of each person, and a quarter of the people. Make your choices there. A loss is named by
`mine: {{objective: "my_method.py:MyMethod"}}`.

## Hand in

One file, named after you: `Ada Lovelace.py`.

The faces are of real people and lent for this purpose: keep them to yourself, and delete them afterwards. The kit is
for learning about codes, not for identifying anybody.{credit}
"""
ORL = " They are of the ORL set: AT&T Laboratories Cambridge (Samaria and Harter, 1994)."


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says.

    Args:
        arguments: Those of the command line; None takes this process's.

    Returns:
        The exit status: 0; 1 if a submission has no score; 2 for anything wrong with what was asked; 130 if
        interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    command = shlex.join(["python", "-m", "course.competition", *arguments])
    options = _parser().parse_args(arguments)
    try:
        if options.do == "new":
            return _new(options)
        if options.memory:
            _limit_memory(options.memory)
        torch.set_num_threads(1)  # this process rehearses beside others that train
        missing = score(
            options.directory, options.submissions, jobs=options.jobs, retries=options.retries, command=command
        )
        print(f"leaderboard: {options.directory / 'leaderboard.html'}")
        return 1 if missing else 0
    except (ValueError, OSError) as error:
        print(f"error: {brief(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"interrupted; go on with: {command}", file=sys.stderr)
        return 130


def _new(options: argparse.Namespace) -> int:
    settings = {}
    for text in options.set:
        field, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set takes FIELD=VALUE, not {text!r}")
        settings[field] = parse_yaml(value)
    rules = Rules(options.question, options.submissions, options.timeout)
    pack, split = new(options.directory, options.faces, settings, rules)
    print(f"for the students: {pack}, {len(split.training)} photographs of {split.training.num_identities} people")
    print(f"for you alone: {pack.with_name('teacher')}")
    if options.faces is None:
        print("note: the ORL faces come with the kit, so nothing of them can be hidden from whoever looks; see --faces")
    return 0


def _limit_memory(gigabytes: float) -> None:
    """Let no process, of those that this one starts either, have more addresses than that."""
    import resource

    limit = int(gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m course.competition", description="A competition for a class.")
    verbs = parser.add_subparsers(required=True, dest="do", metavar="new | score")
    making = verbs.add_parser("new", help="make a pack for the students, and keep what is hidden apart")
    making.add_argument("directory", type=Path, metavar="DIR", help="where; must not be there yet")
    making.add_argument("--faces", metavar="FOLDER", help="a sub-folder for each person (default: ORL)")
    making.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="a config field that all trainings share"
    )
    titles = [question.title for question in QUESTIONS]
    making.add_argument("--question", default=Rules.question, choices=titles, help="what decides (default: unseen)")
    making.add_argument(
        "--submissions", type=int, default=Rules.submissions, metavar="N", help="of each student (default: 3)"
    )
    making.add_argument(
        "--timeout", type=float, default=Rules.timeout, metavar="SECONDS", help="of one training (default: 600)"
    )
    scoring = verbs.add_parser("score", help="train what was handed in, and write the leaderboard")
    scoring.add_argument("directory", type=Path, metavar="DIR", help="the competition")
    scoring.add_argument("submissions", type=Path, metavar="SUBMISSIONS", help="a directory with STUDENT.py for each")
    scoring.add_argument("--jobs", type=int, metavar="N", help="trainings at a time (default: what the cores take)")
    scoring.add_argument("--retries", type=int, default=0, metavar="N", help="attempt a failed training again (0)")
    scoring.add_argument(
        "--memory", type=float, metavar="GB", help="addresses that each process may have (default: no limit)"
    )
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
