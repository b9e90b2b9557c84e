"""Tuning: what is tried and by which runs, that a tie names nobody, and that what failed is a hole in the table."""

import math
from pathlib import Path

import pandas as pd
import pytest

from ablations import attempt, records
from ablations.__main__ import main
from ablations.execution import NotebookError
from ablations.records import recorded
from ablations.suite import Suite, load_suite
from ablations.tuning import best, leading, next_values, scores, tuning_suite, tuning_text
from tests.stub_suite import OWN, write_suite

TUNED = ["methods_lfw"]
TUNING = {"at": {"bits": 12, "seed": 0}, "learning_rate": [0.001], "own": {"full": {"center_weight": [0, 0.5]}}}


def write_tuned(path: str, **changes: object) -> Suite:
    """The small suite with a tuning, of which keys are changed."""
    return load_suite(write_suite(Path(path), tuning={**TUNING, **changes}))


def test_each_method_is_tuned_by_three_learning_rates_times_three_values_or_more() -> None:
    suite = load_suite("methods_lfw")
    assert suite.tuning is not None
    trials = tuning_suite(suite)
    numbers = []
    for variant in suite.tuning.own:
        of_variant = suite.tuning.trials(variant)
        numbers.append(len(of_variant))
        assert len({tuple(settings.values()) for settings in of_variant}) == len(of_variant) >= 9
        assert len({field for settings in of_variant for field in settings}) == 2
    assert len(trials.runs()) == sum(numbers)
    assert trials.grid == {"bits": [48], "split_seed": [0], "seed": [0]}


def test_a_trial_differs_from_its_variant_in_what_is_tuned_alone() -> None:
    suite = load_suite("methods_lfw")
    assert suite.tuning is not None
    runs = {run.variant: run for run in tuning_suite(suite).runs()}
    plain = {run.variant: run for run in suite.where({"bits": 48, "seed": 0, "split_seed": 0}).runs()}
    for variant in suite.tuning.own:
        for settings in suite.tuning.trials(variant):
            name = ", ".join([variant, *(f"{field} {value}" for field, value in settings.items())])
            wanted = {**plain[variant].config.to_dict(), **settings, "scored_on": "validation"}
            assert runs[name].config.to_dict() == wanted


@pytest.mark.parametrize("name", TUNED)
def test_the_values_written_out_in_a_suite_are_the_best_of_its_table(name: str) -> None:
    suite = load_suite(name)
    frame = recorded(f"{name}_tuning")
    trials = tuning_suite(suite)
    assert (frame["seed"] == trials.grid["seed"][0]).sum() == len(trials)  # every trial; some with further seeds
    chosen = best(scores(frame, suite))
    assert list(chosen) == list(suite.tuning.own if suite.tuning else [])
    for variant, settings in chosen.items():
        assert {field: suite.field(variant, field) for field in settings[0]} in settings


def test_all_combinations_of_several_own_fields_are_tried(small: str) -> None:
    own = {"full": {"center_weight": [0, 0.5], "quantization_weight": [0.1, 1.0, 2.0]}}
    suite = tuning_suite(write_tuned(small, learning_rate=[0.001, 0.002], own=own))
    tried = [(c.learning_rate, c.center_weight, c.quantization_weight) for c in (run.config for run in suite.runs())]
    assert tried == [(a, b, c) for a in (0.001, 0.002) for b in (0, 0.5) for c in (0.1, 1.0, 2.0)]


def test_several_seeds_repeat_each_trial(small: str) -> None:
    suite = tuning_suite(write_tuned(small, at={"bits": 12, "seed": [0, 1, 2]}))
    assert [run.config.seed for run in suite.runs()] == [0, 0, 1, 1, 2, 2]
    assert len(suite.variants) == 2


def test_a_file_of_ones_own_is_tuned_like_the_kits_objectives(small: str, tmp_path: Path) -> None:
    (tmp_path / "pull.py").write_text(OWN)
    variants = {"full": {}, "own": {"objective": "pull.py:Pull"}}
    tuning = {**TUNING, "own": {"own": {"tau": [0.1, 0.9]}}}
    suite = load_suite(write_suite(Path(small), variants=variants, tuning=tuning))
    assert [run.config.tau for run in tuning_suite(suite).runs()] == [0.1, 0.9]


@pytest.mark.parametrize("name", TUNED)
def test_tables_of_the_kits_suites_are_kept_with_its_results(name: str) -> None:
    suite = tuning_suite(load_suite(name))
    assert (suite.directory / f"{suite.name}.csv").is_file()
    assert suite.directory == records.RESULTS


# What comes of it.


def made_up(suite: Suite, *rows: tuple[float, ...]) -> pd.DataFrame:
    """A frame as ``collect`` gives it: for each trial, held-out MAP of each of its seeds; unseen people 0.1 lower."""
    trials = tuning_suite(suite).variants
    return pd.DataFrame(
        [
            {"variant": trial, "seed": seed, "bits": 12, "map": 0.9, "held_out_map": score, "unseen_map": score - 0.1}
            for trial, values in zip(trials, rows, strict=True)
            for seed, score in enumerate(values)
        ],
        columns=["variant", "seed", "bits", "map", "held_out_map", "unseen_map"],
    )


def test_a_score_is_the_mean_over_seeds_of_held_out_and_unseen(small: str) -> None:
    suite = write_tuned(small)
    table = scores(made_up(suite, (0.5, 0.7), (0.9,)), suite)
    assert table["settings"].tolist() == [
        {"learning_rate": 0.001, "center_weight": 0},
        {"learning_rate": 0.001, "center_weight": 0.5},
    ]
    assert table["seeds"].tolist() == [2, 1]
    numbers = table[["held_out_map", "unseen_map", "score"]].to_numpy().tolist()
    assert numbers == [pytest.approx([0.6, 0.5, 0.55]), pytest.approx([0.9, 0.8, 0.85])]


def test_the_best_is_named_as_it_is_written_into_the_suite(small: str) -> None:
    suite = write_tuned(small)
    table = scores(made_up(suite, (0.5,), (0.9,)), suite)
    assert best(table) == {"full": [{"learning_rate": 0.001, "center_weight": 0.5}]}
    assert tuning_text(table).splitlines()[-2:] == ["best:", "full: {learning_rate: 0.001, center_weight: 0.5}"]


@pytest.mark.parametrize("values", [(0.9, 0.9, 0.9, 0.9), (0.5, 0.9, 0.5, 0.9)], ids=["all", "two"])
def test_a_tie_names_nobody(small: str, values: tuple[float, ...]) -> None:
    suite = write_tuned(small, learning_rate=[0.001, 0.002])
    table = scores(made_up(suite, *((value,) for value in values)), suite)
    ties = values.count(0.9)
    assert len(best(table)["full"]) == ties
    assert tuning_text(table).splitlines()[-1] == f"full: {ties} of 4 trials tie for the best; none is named"


def test_a_failed_trial_is_a_hole_and_not_the_best(small: str) -> None:
    suite = write_tuned(small)
    table = scores(made_up(suite, (), (0.2,)), suite)
    assert math.isnan(table["score"][0])
    assert best(table) == {"full": [{"learning_rate": 0.001, "center_weight": 0.5}]}


def test_a_variant_of_which_all_trials_failed_has_no_best(small: str) -> None:
    suite = write_tuned(small)
    table = scores(made_up(suite, (), ()), suite)
    assert best(table) == {}
    assert tuning_text(table).splitlines()[-1] == "best:"


def test_only_trials_with_the_most_seeds_can_be_the_best(small: str) -> None:
    """One seed that was lucky is none; a trial of which a seed failed is not compared."""
    suite = write_tuned(small)
    table = scores(made_up(suite, (0.9,), (0.5, 0.7)), suite)
    assert best(table) == {"full": [{"learning_rate": 0.001, "center_weight": 0.5}]}


def trials(*tried: tuple[float, float, float]) -> pd.DataFrame:
    """What ``scores`` gives, of one variant: learning rate, centre weight and score of each trial."""
    settings = [{"learning_rate": rate, "center_weight": weight} for rate, weight, _ in tried]
    scored = [score for *_, score in tried]
    return pd.DataFrame({"variant": "full", "settings": settings, "seeds": 1, "score": scored})


@pytest.mark.parametrize(
    ("tried", "offered"),
    [
        (((1, 0, 0.1), (2, 0, 0.3), (4, 0, 0.2)), {}),
        (((1, 0, 0.1), (2, 0, 0.3), (6, 0, 0.4)), {"learning_rate": 18}),
        (((1, 0, 0.5), (2, 0, 0.3), (6, 0, 0.4)), {"learning_rate": 0.5}),
        (((2, 0, 0.3), (2, 0.1, 0.2), (1, 0.1, 0.2), (4, 0.1, 0.2)), {}),
        (((2, 0, 0.1), (2, 0.1, 0.2), (2, 1, 0.3)), {"center_weight": 10}),
        (((2, 0, 0.1), (2, 0.1, 0.2)), {}),
        (((1, 0, 0.1), (2, 0, 0.3), (4, 0, 0.3)), {}),
    ],
    ids=["inside", "largest", "smallest", "zero is a bound", "a weight", "no ratio to zero", "a tie"],
)
def test_a_best_value_at_an_edge_offers_the_next(tried: tuple, offered: dict) -> None:
    assert next_values(trials(*tried)) == ({"full": offered} if offered else {})


def test_a_name_is_tuned_like_a_number_but_has_no_edge() -> None:
    table = trials((0.001, "fc", 0.3), (0.002, "fc", 0.2), (0.001, "block", 0.1), (0.002, "block", 0.1))  # type: ignore[arg-type]
    assert next_values(table) == {"full": {"learning_rate": 0.0005}}
    assert "full: {learning_rate: 0.001, center_weight: fc}  # at the edge of what was tried; try" in tuning_text(table)
    shown = leading(table.assign(held_out_map=0.5, unseen_map=0.5))
    assert shown["settings"].tolist()[0] == "learning_rate 0.001, center_weight fc"


def test_the_edge_is_said_where_the_best_is_named() -> None:
    table = trials((0.001, 0, 0.1), (0.002, 0, 0.3))
    line = (
        "full: {learning_rate: 0.002, center_weight: 0}  # at the edge of what was tried; try learning_rate 0.004 too"
    )
    assert tuning_text(table).splitlines()[-1] == line


# The command.


def test_all_trials_are_runs_whose_table_is_kept_beside_the_suite(
    small: str, fast: list, tmp_path: Path, capsys
) -> None:
    suite, out = write_tuned(small, at={"bits": 12, "seed": [0, 1]}), tmp_path / "runs"
    assert main(["tune", small, "--out", str(out)]) == 0
    assert {(p["scored_on"], p["bits"], p["seed"], p["center_weight"]) for p in fast} == {
        ("validation", 12, seed, weight) for seed in (0, 1) for weight in (0, 0.5)
    }
    assert len(list((out / "complete").iterdir())) == len(fast) == 4
    printed = capsys.readouterr().out
    path = tmp_path / "small_tuning.csv"
    assert "full: {learning_rate: 0.001, center_weight: 0.5}" in printed
    assert f"recorded: {path}" in printed
    assert "# command: python -m ablations tune small\n" in path.read_text()
    assert best(scores(recorded("small_tuning", tmp_path), suite)) == {
        "full": [{"learning_rate": 0.001, "center_weight": 0.5}]
    }
    fast.clear()
    assert main(["tune", small, "--out", str(out)]) == 0
    assert fast == []


def test_other_seeds_of_some_trials_are_a_part_of_the_table(small: str, fast: list, tmp_path: Path) -> None:
    suite, out = write_tuned(small), tmp_path / "runs"
    trial = "full, learning_rate 0.001, center_weight 0.5"
    assert main(["tune", small, "--out", str(out)]) == 0
    fast.clear()
    arguments = ["--set", "seed=[1, 2]", "--only", trial, "--record", "seeds"]
    assert main(["tune", small, *arguments, "--out", str(out)]) == 0
    assert {(p["seed"], p["center_weight"]) for p in fast} == {(1, 0.5), (2, 0.5)}
    assert f"--set 'seed=[1, 2]' --only '{trial}'" in (tmp_path / "small_tuning.seeds.csv").read_text()
    assert scores(recorded("small_tuning", tmp_path), suite)["seeds"].tolist() == [1, 3]


def test_settings_reach_the_trials_and_are_recorded(small: str, fast: list, tmp_path: Path) -> None:
    write_tuned(small)
    assert main(["tune", small, "--set", "bits=48", "--set", "epochs=2", "--out", str(tmp_path)]) == 0
    assert {(p["bits"], p["epochs"]) for p in fast} == {(48, 2)}
    text = (tmp_path / "small_tuning.csv").read_text()
    assert "# command: python -m ablations tune small --set bits=48 --set epochs=2\n" in text


@pytest.mark.parametrize(("weights", "holes"), [((0,), 1), ((0, 0.5), 2)], ids=["one", "all"])
def test_a_trial_that_fails_is_exit_status_1_and_no_table_is_kept(
    small: str, fast: list, tmp_path: Path, monkeypatch, capsys, weights: tuple, holes: int
) -> None:
    write_tuned(small)
    honest = attempt.execute

    def execute(source, output, parameters, *rest) -> None:
        if parameters["center_weight"] in weights:
            raise NotebookError("the loss became nan")
        honest(source, output, parameters, *rest)

    monkeypatch.setattr(attempt, "execute", execute)
    status = main(["tune", small, "--out", str(tmp_path)])
    assert status == 1
    table, _, _ = capsys.readouterr().out.partition("best:")
    assert [line.count("NaN") for line in table.splitlines()].count(3) == holes
    assert not (tmp_path / "small_tuning.csv").exists()


def test_only_chooses_among_the_tuned_variants(small: str, fast: list, tmp_path: Path) -> None:
    own = {"full": {"center_weight": [0, 0.5]}, "no_center": {"quantization_weight": [0.2, 1.0]}}
    write_tuned(small, own=own)
    assert main(["tune", small, "--only", "no_*", "--out", str(tmp_path)]) == 0
    assert {(p["center_weight"], p["quantization_weight"]) for p in fast} == {(0, 0.2), (0, 1.0)}
    assert not (tmp_path / "small_tuning.csv").exists()


@pytest.mark.parametrize("pattern", ["no_center", "no_*"])
def test_only_a_variant_that_is_not_tuned_is_refused(
    small: str, fast: list, tmp_path: Path, capsys, pattern: str
) -> None:
    write_tuned(small)
    assert main(["tune", small, "--only", pattern, "--out", str(tmp_path)]) == 2
    assert f"unknown variant {pattern!r} (known: full)" in capsys.readouterr().err
    assert fast == []


def test_a_suite_without_tuning_is_refused(capsys) -> None:
    assert main(["tune", "orl_quick"]) == 2
    assert "suite 'orl_quick' has no tuning section" in capsys.readouterr().err


def test_what_the_base_sets_and_the_trials_share_is_set_in_the_trials_alone(small: str) -> None:
    suite = write_tuned(small, at={"bits": 12, "seed": 0, "width": 0.1})
    assert {run.config.width for run in tuning_suite(suite).runs()} == {0.1}
    assert {run.config.width for run in suite.runs()} == {0.25}


def test_the_leading_trials_are_the_best_of_those_with_the_most_seeds() -> None:
    def trial(variant: str, rate: float, seeds: int, score: float) -> dict:
        means = {"held_out_map": score, "unseen_map": score, "score": score}
        return {"variant": variant, "settings": {"learning_rate": rate}, "seeds": seeds, **means}

    rows = [trial("a", 0.001, 2, 0.3), trial("a", 0.002, 2, 0.4), trial("a", 0.004, 1, 0.9), trial("b", 0.001, 1, 0.2)]
    table = leading(pd.DataFrame(rows), 1)
    assert table["settings"].tolist() == ["learning_rate 0.002", "learning_rate 0.001"]
    assert table["mean"].tolist() == ["0.400", "0.200"]
    assert leading(pd.DataFrame(rows), 2)["mean"].tolist() == ["0.400", "0.300", "0.200"]
