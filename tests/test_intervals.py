"""Intervals over people and seeds equal a slow resampling and cover what they should; so does Holm's procedure."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from ablations.intervals import Bootstrap, Estimate, Sample, estimate, holm

PEOPLE = np.array([f"person {i // 2}" for i in range(12)])  # six people with two queries each


def runs(values: np.ndarray, people: np.ndarray, split: int = 0) -> list[Sample]:
    """One sample for each row of AP, (seeds, queries)."""
    return [Sample(split, float(ap.mean()), ap, people) for ap in values]


def test_draws_equal_a_slow_resampling() -> None:
    rng = np.random.default_rng(0)
    samples = runs(rng.random((3, 12)), PEOPLE) + runs(rng.random((2, 8)), PEOPLE[:8], split=1)
    fast = Bootstrap(PEOPLE, draws=20, seed=5)
    means = fast.means(samples)
    slow = np.random.default_rng(5)
    names = sorted(set(PEOPLE))
    weights = slow.multinomial(5, [1 / 6] * 6, 20)  # n - 1 of n people
    seeds = [slow.integers(0, 3, (2, 20)), slow.integers(0, 2, (1, 20))]  # n - 1 of n seeds, split by split
    for draw in range(20):
        of_splits = []
        for split, chosen in enumerate(seeds):
            own = [sample for sample in samples if sample.split == split]
            of_seeds = []
            for seed in chosen[:, draw]:
                queries = [
                    ap
                    for name, times in zip(names, weights[draw], strict=True)
                    for _ in range(times)
                    for ap, person in zip(own[seed].ap, own[seed].people, strict=True)
                    if person == name
                ]
                of_seeds.append(np.mean(queries))
            of_splits.append(np.mean(of_seeds))
        assert means[draw] == pytest.approx(np.mean(of_splits))


def test_a_person_is_one_over_all_splits() -> None:
    """Who is drawn in one split is drawn in the other, so two equal splits are no more certain than one."""
    ap = np.random.default_rng(0).random((1, 12)).repeat(3, 0)
    once, twice = runs(ap, PEOPLE), runs(ap, PEOPLE) + runs(ap, PEOPLE, split=1)
    one = estimate(once, draws=Bootstrap(PEOPLE).means(once))
    two = estimate(twice, draws=Bootstrap(PEOPLE).means(twice))
    assert two.half_width == pytest.approx(one.half_width)


def test_splits_count_alike_however_many_seeds_they_have() -> None:
    samples = runs(np.full((4, 12), 0.2), PEOPLE) + runs(np.full((1, 12), 0.8), PEOPLE, split=1)
    assert estimate(samples).value == pytest.approx(0.5)
    assert estimate(samples, draws=Bootstrap(PEOPLE).means(samples)).value == pytest.approx(0.5)


def test_over_people_alone_the_interval_is_that_of_their_mean() -> None:
    """With equal seeds and many people it is the normal interval of the mean of people."""
    people = np.array([f"{i}" for i in range(200)])
    ap = np.random.default_rng(0).random((1, 200)).repeat(3, 0)
    found = estimate(runs(ap, people), draws=Bootstrap(people).means(runs(ap, people)))
    assert found.half_width == pytest.approx(1.96 * scipy.stats.sem(ap[0]), rel=0.05)


@pytest.mark.parametrize("deviations", [0.5, -1, 2, -2.5])
def test_over_people_alone_p_is_that_of_both_tails(deviations: float) -> None:
    people = np.array([f"{i}" for i in range(200)])
    ap = np.random.default_rng(0).normal(size=200)
    ap += deviations * scipy.stats.sem(ap) - ap.mean()
    samples = runs(ap[None].repeat(3, 0), people)
    found = estimate(samples, draws=Bootstrap(people).means(samples))
    assert found.p == pytest.approx(2 * scipy.stats.norm.sf(abs(deviations)), rel=0.15)


def test_a_large_difference_is_unlikely_and_none_is_not() -> None:
    rng = np.random.default_rng(0)
    base = rng.random(12)
    first, second = (runs(base + rng.normal(0, 0.02, (3, 12)) + shift, PEOPLE) for shift in (0.3, 0.0))
    bootstrap = Bootstrap(PEOPLE)
    apart = bootstrap.means(first) - bootstrap.means(second)
    assert estimate(first, second, apart).p < 0.001
    assert estimate(second, second, apart * 0).p == 1.0


@pytest.mark.parametrize(
    ("people_differ", "seeds_differ", "splits"),
    [(0.1, 0.005, 1), (0.02, 0.03, 1), (0.1, 0.02, 3)],
    ids=["people", "seeds", "splits"],
)
def test_the_interval_of_a_difference_holds_the_truth_nine_times_in_ten(
    people_differ: float, seeds_differ: float, splits: int
) -> None:
    rng = np.random.default_rng(0)
    people = np.array([f"{i // 3}" for i in range(120)])
    rounds, held = 150, 0
    for _ in range(rounds):
        gain = rng.normal(0, people_differ, 40).repeat(3)  # of the one method over the other, by person; 0 in truth

        def method(extra: np.ndarray) -> list[Sample]:
            return [
                one
                for split in range(splits)
                for one in runs(
                    extra + rng.normal(0, seeds_differ, (3, 1)) + rng.normal(0, 0.1, (3, 120)), people, split
                )
            ]

        first, second = method(gain), method(0 * gain)
        bootstrap = Bootstrap(people, draws=400, seed=int(rng.integers(2**31)))
        found = estimate(first, second, bootstrap.means(first) - bootstrap.means(second))
        held += abs(found.value) <= found.half_width
    assert held / rounds >= 0.9


def test_where_three_seeds_are_all_that_matters_the_interval_is_too_narrow() -> None:
    """What is known of it, by the same simulation: few seeds cannot show how much seeds differ."""
    rng, people = np.random.default_rng(0), np.array(["one"])
    bootstrap, rounds = Bootstrap(people, draws=1000), 2000
    held = np.zeros(2)
    for _ in range(rounds):
        first, second = (runs(rng.normal(size=(3, 1)), people) for _ in range(2))
        draws, others = bootstrap.means(first), bootstrap.means(second)
        found = estimate(first, draws=draws), estimate(first, second, draws - others)
        held += [abs(one.value) <= one.half_width for one in found]
    assert held / rounds == pytest.approx([0.76, 0.87], abs=0.03)


@given(st.lists(st.floats(0, 1), min_size=3, max_size=6), st.lists(st.floats(0, 1), min_size=3, max_size=6))
@settings(max_examples=30, deadline=None)
def test_without_ap_a_difference_is_welchs(first: list[float], second: list[float]) -> None:
    if np.std(first) < 1e-6 or np.std(second) < 1e-6:
        return
    found = estimate(*([Sample(0, value, None, None) for value in part] for part in (first, second)))
    test = scipy.stats.ttest_ind(first, second, equal_var=False)
    low, high = test.confidence_interval()
    assert (found.value - found.half_width, found.value + found.half_width) == pytest.approx((low, high))
    assert found.p == pytest.approx(test.pvalue, abs=1e-9)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=5), st.lists(st.floats(0, 1), min_size=2, max_size=5))
@settings(max_examples=30, deadline=None)
def test_without_ap_a_mean_over_two_splits_has_the_interval_of_half_their_sum(
    first: list[float], second: list[float]
) -> None:
    """Which is Welch's, of the one and minus the other."""
    if np.std(first) < 1e-6 or np.std(second) < 1e-6:
        return
    found = estimate([Sample(split, one, None, None) for split, part in ((0, first), (7, second)) for one in part])
    test = scipy.stats.ttest_ind(first, [-one for one in second], equal_var=False)
    low, high = test.confidence_interval()
    interval = 2 * (found.value - found.half_width), 2 * (found.value + found.half_width)
    assert interval == pytest.approx((low, high))
    assert found.p == pytest.approx(test.pvalue, abs=1e-9)


def test_splits_with_one_seed_each_say_nothing_of_seeds() -> None:
    found = estimate([Sample(split, split / 10, None, None) for split in range(4)])
    assert found.value == pytest.approx(0.15)
    assert math.isnan(found.half_width) and math.isnan(found.p)


def test_one_seed_on_a_split_leaves_no_interval_over_people_either() -> None:
    """Seeds would be taken for sure: with none to draw from, only people would differ from draw to draw."""
    rng = np.random.default_rng(0)
    whole = [one for split in range(3) for one in runs(rng.random((2, 12)), PEOPLE, split)]
    for samples in (whole[::2], whole[1:]):
        bootstrap = Bootstrap(PEOPLE)
        for found in (
            estimate(samples, draws=bootstrap.means(samples)),
            estimate(whole, samples, bootstrap.means(whole) - bootstrap.means(samples)),
        ):
            assert math.isnan(found.half_width) and math.isnan(found.p)
    assert estimate(whole, draws=Bootstrap(PEOPLE).means(whole)).half_width > 0


def test_a_draw_with_nobody_of_a_split_is_over_the_other_splits() -> None:
    """Three splits that ask two people each: a draw of five of the six may miss all of one split."""
    parts = [np.repeat([f"{2 * split}", f"{2 * split + 1}"], 3) for split in range(3)]
    samples = [one for split, people in enumerate(parts) for one in runs(np.full((2, 6), 0.9), people, split)]
    draws = Bootstrap(np.concatenate(parts)).means(samples)
    np.testing.assert_allclose(draws, 0.9, rtol=1e-6)
    few = Bootstrap(np.concatenate(parts)).means(samples[:2])  # those of one split alone, whom a draw may miss
    assert np.isnan(few).any() and estimate(samples[:2] * 2, draws=few).half_width == pytest.approx(0, abs=1e-6)


def test_with_few_runs_there_is_no_interval() -> None:
    samples = runs(np.random.default_rng(0).random((2, 12)), PEOPLE)
    found = estimate(samples, draws=Bootstrap(PEOPLE).means(samples))
    assert found.value == pytest.approx(np.mean([sample.value for sample in samples]))
    assert math.isnan(found.half_width) and math.isnan(found.p)
    assert all(map(math.isnan, estimate([])))


def test_equal_seeds_are_certain() -> None:
    samples = [Sample(0, 0.5, None, None)] * 3
    assert estimate(samples) == Estimate(0.5, 0.0, 0.0)
    assert estimate(samples, samples) == Estimate(0.0, 0.0, 1.0)


def slow_holm(p: list[float], level: float) -> list[bool]:
    """By its definition: a hypothesis falls if each set of hypotheses with it falls to Bonferroni."""
    indices = range(len(p))
    return [
        all(
            min(p[j] for j in group) <= level / len(group)
            for size in range(1, len(p) + 1)
            for group in itertools.combinations(indices, size)
            if i in group
        )
        for i in indices
    ]


@given(st.lists(st.sampled_from([0.001, 0.01, 0.0125, 0.02, 0.025, 0.04, 0.05, 0.2, 1.0]), max_size=6))
@settings(max_examples=100, deadline=None)
def test_holm_is_the_closed_test_of_bonferronis(p: list[float]) -> None:
    assert holm(p) == slow_holm(p, 0.05)


def test_what_has_no_p_neither_holds_nor_counts() -> None:
    assert holm([math.nan, 0.04, math.nan]) == [False, True, False]
