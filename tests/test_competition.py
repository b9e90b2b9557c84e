"""A class competition: what is hidden stays hidden, every submission is a row, and the page says what was measured."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from course import competition, leaderboard
from course.competition import Rules, claim, main, new, score, take_in
from course.leaderboard import Standing
from PIL import Image

from ablations.runner import plan
from ablations.suite import load_suite
from dcbh_core import load_faces
from tests.conftest import synthetic_faces
from tests.stub_suite import wait_for

TINY = {"bits": 12, "width": 0.05, "epochs": 1, "queries_per_identity": 2}
HEAD = """
from dcbh_core import Head


class Mine(Head):
    predicted = 0.5
    because = "I expect <b>this</b>"
    relu = False

    def forward(self, f):
        {}
        return f.unflatten(1, (self.bits, self.size)).mean(2)
"""
GOOD = HEAD.format("pass")
ONCE = """
from dcbh_core import Objective

memory = None


class Mine(Objective):
    predicted = 0.5
    terms = ("a",)
    head = "fc"

    def compute(self, outputs, labels):
        global memory
        if memory is None:
            memory = outputs.relaxed.mean(0)  # not detached: its rehearsal passes, and the next in one process does not
        return {"a": (outputs.relaxed - memory).square().mean()}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of eight made-up people, eight photographs of each."""
    root, faces = tmp_path_factory.mktemp("faces"), synthetic_faces(people=8, each=8)
    for number, (image, label) in enumerate(zip(faces.images, faces.labels, strict=True)):
        path = root / faces.names[label] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.moveaxis(image, 0, -1)).save(path)
    return root


@pytest.fixture
def made(folder: Path, tmp_path: Path) -> Path:
    new(tmp_path / "made", str(folder), TINY)
    return tmp_path / "made"


def pixels(root: Path) -> set[bytes]:
    return {image.tobytes() for image in load_faces("folder", root).images}


# What is handed out


def test_no_hidden_photograph_lies_in_the_pack(folder, tmp_path):
    pack, split = new(tmp_path / "made", str(folder), TINY)
    hidden = [split.queries, split.new_gallery, split.new_queries]
    assert pixels(pack / "faces") == {image.tobytes() for image in split.training.images}
    assert not pixels(pack / "faces") & {image.tobytes() for part in hidden for image in part.images}
    assert pixels(pack.parent / "teacher/faces") == pixels(folder)


def test_no_unseen_person_and_no_word_of_the_split_lies_in_the_pack(folder, tmp_path):
    pack, split = new(tmp_path / "made", str(folder), {**TINY, "split_seed": 123456789})
    assert {path.name for path in (pack / "faces").iterdir()} == set(split.training.names)
    for path in pack.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert b"123456789" not in content
        assert not any(name.encode() in content or name in str(path) for name in split.new_queries.names)


def test_what_is_hidden_is_drawn_anew_for_each_competition(folder, tmp_path):
    drawn = []
    for name in ("one", "two"):
        new(tmp_path / name, str(folder), TINY)
        drawn.append(yaml.safe_load((tmp_path / name / "teacher/suite.yaml").read_text())["base"]["split_seed"])
    assert drawn[0] != drawn[1]


def test_the_pack_of_orl_can_be_tried_as_it_is(tmp_path, monkeypatch):
    """Its suite is complete, its template is a method, and its validation part needs nothing but its faces."""
    pack, split = new(tmp_path / "made", None, TINY)
    assert (len(split.training), split.training.num_identities) == (240, 30)
    monkeypatch.chdir(pack)
    suite = load_suite("try.yaml")
    assert [one.run.variant for one in plan(suite, tmp_path / "runs")] == ["DCBH", "mine"] * 3
    assert claim(pack / "my_method.py").method == "MyMethod"


def test_a_photograph_that_is_there_twice_is_refused(folder, tmp_path):
    root = tmp_path / "faces"
    root.mkdir()
    for person in folder.iterdir():
        (root / person.name).mkdir()
        for path in person.iterdir():
            (root / person.name / path.name).write_bytes(next(person.glob("*.png")).read_bytes())
    with pytest.raises(ValueError, match=r"a photograph is there twice \(person \d and person \d\)"):
        new(tmp_path / "made", str(root), TINY)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"new_people": 0}, "new_people must be above 0"),
        ({"queries_per_identity": 6}, "the students' validation part: too few photographs"),
        ({"epoch": 3}, "did you mean 'epochs'"),
        ({"seed": 5}, "seed is in base and in grid"),
    ],
)
def test_an_impossible_competition_is_one_sentence_and_leaves_nothing(folder, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        new(tmp_path / "made", str(folder), {**TINY, **settings})
    assert list(tmp_path.iterdir()) == []


def test_a_question_that_nobody_can_be_asked_is_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="held out is asked of people with two hidden photographs"):
        new(tmp_path / "made", str(folder), {**TINY, "queries_per_identity": 1}, Rules("held out"))
    assert list(tmp_path.iterdir()) == []


def test_the_pack_of_people_with_just_enough_photographs_can_be_tried(folder, tmp_path, monkeypatch):
    """Two of each person's photographs are hidden, so fewer are in the pack than the teacher asks for."""
    pack, _ = new(tmp_path / "made", str(folder), {**TINY, "min_faces": 8})
    monkeypatch.chdir(pack)
    assert len(plan(load_suite("try.yaml"), tmp_path / "runs")) == 6


def test_a_directory_that_holds_something_is_not_touched(made, folder, capsys):
    assert main(["new", str(made), "--faces", str(folder)]) == 2
    assert "is not empty" in capsys.readouterr().err


# What a submission says


def test_a_claim_is_read_without_executing_the_file(tmp_path):
    path = tmp_path / "Ada.py"
    path.write_text("raise SystemExit\n" + GOOD)
    assert claim(path) == competition.Claim("Mine", "head", 0.5, "I expect <b>this</b>")


def test_a_class_that_computes_or_derives_from_an_objective_is_an_objective(tmp_path):
    path = tmp_path / "Ada.py"
    for source in (
        "class A(X):\n predicted = None\n def compute(self): ...",
        "class A(DCBHObjective):\n predicted = 1",
        "class A(DCBHObjective):\n predicted: float = 1",
        "class B(DCBHObjective): pass\nclass A(B):\n predicted = 1",
        "class A(A):\n predicted = 1\n def compute(self): ...",
    ):
        path.write_text(source)
        assert claim(path).kind == "objective"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("class A(Head): pass", "no class has a line `predicted = ...`"),
        ("class A(Head):\n predicted = 1\nclass B(Head):\n predicted = 1", "A and B have"),
        ("class A(Head):\n predicted = 71", "line 1: predicted must be a MAP from 0 to 1, or None, not 71"),
        ("class A(Head):\n predicted = True", "predicted must be a MAP"),
        ("class A(Head):\n predicted = f()", "predicted must be a number"),
        ("class A(Head)\n predicted = 1", "line 1: expected ':'"),
        ("a\0", "null bytes"),
    ],
)
def test_an_unclear_submission_is_one_sentence(tmp_path, source, message):
    (tmp_path / "Ada.py").write_text(source)
    with pytest.raises(ValueError, match=re.escape(message)):
        claim(tmp_path / "Ada.py")


def test_versions_are_counted_and_kept_and_those_beyond_the_limit_are_not(tmp_path):
    entries, submissions = tmp_path / "entries", tmp_path / "submissions"
    for directory in (entries, submissions):
        directory.mkdir()
    counted = []
    for source in ("a = 1", "a = 2", "a = 1", "a = 3"):
        (submissions / "Ada.py").write_text(source)
        found, too_many = take_in(submissions, entries, 2)
        counted.append((len(found), too_many))
    assert counted == [(1, []), (2, []), (2, []), (2, ["Ada"])]
    assert [entry.path.read_text() for entry in found] == ["a = 1", "a = 2"]
    assert [entry.name for entry in found] == ["Ada 1", "Ada 2"]


def test_a_name_of_any_letters_is_one_that_a_suite_may_have(tmp_path):
    entries, submissions = tmp_path / "entries", tmp_path / "submissions"
    for directory in (entries, submissions):
        directory.mkdir()
    for name in ("\N{ARABIC LETTER ALEF}\N{ZERO WIDTH NON-JOINER}\N{ARABIC LETTER BEH}", "Ada\N{NO-BREAK SPACE}L."):
        (submissions / f"{name}.py").write_text(GOOD)
    found, _ = take_in(submissions, entries, 1)
    assert sorted(entry.student for entry in found) == ["Ada L.", "\N{ARABIC LETTER ALEF}\N{ARABIC LETTER BEH}"]
    assert all(entry.name.isprintable() for entry in found)


# A scoring


def test_every_submission_is_a_row_whatever_it_does(made, tmp_path, capfd):
    """Two that work, and six that fail in different ways, with a real training of each; then a second scoring."""
    one_seed(made, timeout=90)
    broken = {
        "crash": HEAD.format("raise ZeroDivisionError('no')"),
        "exit": "import os\nos._exit(0)\n" + GOOD,
        "late": HEAD.format("assert len(f) == 8, 'only eight'"),  # the dry run has eight faces
        "memory": HEAD.format("_ = [bytearray(2**28) for _ in range(10**6)] if len(f) != 8 else 0"),
        "none": "x = 1",
        "once": ONCE,
    }
    submissions = tmp_path / "submissions"
    submissions.mkdir()
    for name, source in {**broken, "Ada": GOOD, "<b>Bo & $x_1$": GOOD.replace("mean(2)", "amax(2) - 1")}.items():
        (submissions / f"{name}.py").write_text(source)
    arguments = [sys.executable, "-m", "course.competition", "score", str(made), str(submissions), "--memory", "6"]
    done = subprocess.run(arguments, cwd=Path(competition.__file__).parent.parent, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    verdicts = {path.parent.name: path.read_text() for path in (made / "teacher/entries").glob("*/1.txt")}
    assert verdicts.pop("Ada") == verdicts.pop("<b>Bo & $x_1$") == ""
    assert verdicts.keys() == broken.keys()
    assert verdicts["crash"].endswith("Mine.forward: ZeroDivisionError: no")
    assert "ended by itself" in verdicts["exit"]
    assert verdicts["late"] == "seed 0: AssertionError: only eight"
    assert "MemoryError" in verdicts["memory"]
    assert "no class has a line" in verdicts["none"]
    assert "backward through the graph a second time" in verdicts["once"]
    page = (made / "leaderboard.html").read_text()
    assert all(f'<td class="name">{name}</td>' in page for name in [*broken, "Ada", "&lt;b&gt;Bo &amp; $x_1$"])
    assert "<b>Bo" not in page and "<b>this" not in page
    assert page.count("data:image/png") == 3  # a chart, and a map of each that has codes
    assert not re.findall(r"(?:src|href)=.(?!data:)", page)

    complete = {path.name: path.stat().st_mtime for path in (made / "teacher/runs/complete").iterdir()}
    assert len(complete) == 3  # with the reference
    assert score(made, submissions) == len(broken)
    assert {path.name: path.stat().st_mtime for path in (made / "teacher/runs/complete").iterdir()} == complete


def rehearsed(made: Path, tmp_path: Path, source: str, timeout: float) -> str:
    submissions = tmp_path / "submissions"
    submissions.mkdir()
    (submissions / "Hugo.py").write_text(source)
    [entry], _ = take_in(submissions, made / "teacher/entries", 1)
    return competition._rehearsed(entry, claim(entry.path), made / "teacher", Rules(timeout=timeout))


def test_a_submission_that_hangs_in_its_first_step_is_ended(made, tmp_path):
    assert rehearsed(made, tmp_path, "while True: pass\n" + GOOD, 1) == "a single step took longer than 1 s"


def test_what_a_submission_has_started_ends_with_its_dry_run(made, tmp_path):
    pid = tmp_path / "pid"
    child = f"import os, time\nif not os.fork():\n    open({str(pid)!r}, 'w').write(str(os.getpid()))\n"
    assert rehearsed(made, tmp_path, child + "    time.sleep(600)\n" + GOOD, 300) == ""
    status = Path(f"/proc/{pid.read_text()}/status")
    assert wait_for(lambda: not status.exists() or "zombie" in status.read_text())


def one_seed(made: Path, **rules: object) -> None:
    suite = made / "teacher/suite.yaml"
    suite.write_text(yaml.safe_dump({**yaml.safe_load(suite.read_text()), "grid": {"seed": [0]}}))
    path = made / "teacher/rules.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **rules}))


# The page

SUITE = """
title: A <competition>
about: Who?
base: {dataset: orl}
variants: {DCBH: {}, A 1: {block_size: 5}, B 1: {block_size: 4}}
reference: DCBH
grid: {seed: [0, 1, 2]}
"""
BASELINES = {"chance": 0.1, "pixels": 0.5, "unseen_chance": 0.1, "unseen_pixels": 0.55}
VALUES = {"DCBH": [0.3, 0.3, 0.31], "A 1": [0.6, 0.61, 0.62], "B 1": [0.5, 0.5, 0.8]}


def a_page(tmp_path: Path, values: dict[str, list[float]], *more: Standing) -> str:
    (tmp_path / "scored.yaml").write_text(SUITE)
    rows = [
        {"variant": variant, "seed": seed, "unseen_map": value, "map": 0.9, **BASELINES}
        for variant, own in values.items()
        for seed, value in enumerate(own)
    ]
    standings = [Standing("A", 1, 0.5, "because", ""), Standing("B", 1, 0.62, "", ""), *more]
    suite = load_suite(str(tmp_path / "scored.yaml"))
    return leaderboard.leaderboard(standings, pd.DataFrame(rows), suite, "unseen")


def test_the_order_is_by_the_mean_and_luck_and_predictions_are_said(tmp_path):
    page = " ".join(a_page(tmp_path, VALUES).split())
    assert "First by its mean: A 1, 0.610." in page
    assert "Not shown to be behind it: B 1." in page
    assert "2 of 2 have a higher mean than DCBH." in page
    assert "2 of 2 have a higher mean than comparing raw pixels" in page
    assert "Luckiest: B 1, whose best seed lies 0.200 above its own mean." in page
    assert "By best seeds alone, B 1 would be first." in page
    assert "Predictions were off by 0.065 in the mean; 1 of 2 were too high. Nearest: B 1, +0.020." in page
    assert "A &lt;competition&gt;" in page


def test_what_is_shown_to_be_behind_bears_a_star(tmp_path):
    page = a_page(tmp_path, {**VALUES, "B 1": [0.40, 0.41, 0.42]})
    assert "All others are shown to be behind it." in page
    assert re.search(r"0\.200 ± 0\.\d+ ★", page)


def test_with_one_seed_nothing_is_claimed(tmp_path):
    page = a_page(tmp_path, {variant: own[:1] for variant, own in VALUES.items()})
    assert "There are too few seeds for an interval" in page
    assert "Luckiest" not in page


def test_a_page_without_any_score_has_the_reasons(tmp_path):
    (tmp_path / "scored.yaml").write_text(SUITE)
    suite = load_suite(str(tmp_path / "scored.yaml"))
    frame = pd.DataFrame(columns=["variant", "seed", "map", "unseen_map"])
    page = leaderboard.leaderboard([Standing("C", 1, None, "", "it <hung>")], frame, suite, "unseen")
    assert "it &lt;hung&gt;" in page


def test_equal_entries_share_a_rank(tmp_path):
    page = a_page(tmp_path, {**VALUES, "B 1": VALUES["A 1"]})
    assert re.findall(r"<tr[^>]*>\s*<td[^>]*>(\d*)</td>", page)[:3] == ["1", "1", ""]


def test_where_nothing_was_measured_for_the_question_the_page_has_the_reasons(tmp_path):
    (tmp_path / "scored.yaml").write_text(SUITE)
    frame = pd.DataFrame({"variant": ["DCBH"], "seed": [0], "map": [0.5], "chance": [0.1], "pixels": [0.2]})
    suite = load_suite(str(tmp_path / "scored.yaml"))
    assert "it hung" in leaderboard.leaderboard([Standing("A", 1, None, "", "it hung")], frame, suite, "unseen")


def test_what_came_too_late_is_not_counted(tmp_path):
    late = Standing("A", 2, None, "", "not scored: 1 were handed in before it", counts=False)
    page = " ".join(a_page(tmp_path, VALUES, late).split())
    assert re.search(r"counted: A 1, B 1", page)


def test_a_rule_that_is_none_is_named(made, tmp_path):
    path = made / "teacher/rules.yaml"
    path.write_text(path.read_text().replace("timeout", "tiemout"))
    (tmp_path / "in").mkdir()
    with pytest.raises(ValueError, match=r"rules\.yaml: unknown rule 'tiemout'; did you mean 'timeout'"):
        score(made, tmp_path / "in")


def test_the_rules_are_checked():
    for wrong in ({"question": "sene"}, {"submissions": 0}, {"timeout": -1}):
        with pytest.raises(ValueError, match=r"unknown question|must be"):
            Rules(**wrong)
