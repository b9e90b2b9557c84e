from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_curve

from dcbh_core import Evaluation, evaluate
from dcbh_core.metrics import average_precision, evaluate_asymmetric, evaluate_chance, evaluate_vectors
from tests.test_hamming import retrieval


def ranked_ap(relevant_in_order) -> float:
    """Average precision of one ranking, by its definition."""
    hits, total = 0, 0.0
    for position, is_relevant in enumerate(relevant_in_order, 1):
        if is_relevant:
            hits += 1
            total += hits / position
    return total / hits


def tie_orders(distances, relevant):
    """Relevance in rank order, for every order of the tied items."""
    for order in permutations(range(len(distances))):
        if all(distances[a] <= distances[b] for a, b in pairwise(order)):
            yield [bool(relevant[i]) for i in order]


@st.composite
def small_ranking(draw):
    n = draw(st.integers(1, 7))
    distances = draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
    relevant = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    assume(any(relevant))
    return np.array(distances), np.array(relevant)


def evaluation_of(distances, relevant, bits=3) -> Evaluation:
    return Evaluation(
        np.bincount(distances, minlength=bits + 1)[None],
        np.bincount(distances[relevant], minlength=bits + 1)[None],
    )


@given(small_ranking())
@settings(max_examples=60, deadline=None)
def test_ap_is_the_mean_over_all_tie_orders(ranking):
    values = [ranked_ap(order) for order in tie_orders(*ranking)]
    assert evaluation_of(*ranking).map == pytest.approx(np.mean(values))


@given(small_ranking())
@settings(max_examples=60, deadline=None)
def test_best_and_worst_are_those_of_the_tie_orders(ranking):
    values = [ranked_ap(order) for order in tie_orders(*ranking)]
    assert evaluation_of(*ranking).map_best == pytest.approx(max(values))
    assert evaluation_of(*ranking).map_worst == pytest.approx(min(values))


@given(small_ranking(), st.data())
@settings(max_examples=60, deadline=None)
def test_precision_at_k_is_the_mean_over_all_tie_orders(ranking, data):
    k = data.draw(st.integers(1, len(ranking[0])))
    values = [np.mean(order[:k]) for order in tie_orders(*ranking)]
    assert evaluation_of(*ranking).precision_at(k) == pytest.approx(np.mean(values))


def top_ap(relevant_in_order, k: int) -> float:
    """AP of the k first by its definition, over the relevant items found among them; 0 if none is."""
    return ranked_ap(relevant_in_order[:k]) if any(relevant_in_order[:k]) else 0.0


@given(small_ranking(), st.data())
@settings(max_examples=100, deadline=None)
def test_map_at_k_is_the_mean_over_all_tie_orders_and_lies_between_their_ends(ranking, data):
    k = data.draw(st.integers(1, len(ranking[0])))
    values = [top_ap(order, k) for order in tie_orders(*ranking)]
    evaluation = evaluation_of(*ranking)
    assert evaluation.map_at(k) == pytest.approx(np.mean(values))
    assert evaluation.map_at_range(k) == pytest.approx((min(values), max(values)))


@given(retrieval(max_bits=10))
@settings(max_examples=40, deadline=None)
def test_map_at_the_size_of_the_gallery_is_map(data):
    assume(np.isin(data[1], data[3]).all())
    evaluation = evaluate(*data)
    assert evaluation.map_at(len(data[2])) == pytest.approx(evaluation.map)
    assert evaluation.map_at_range(len(data[2])) == pytest.approx((evaluation.map_worst, evaluation.map_best))


def test_map_at_k_divides_by_what_was_found_and_so_may_fall_as_more_is_found():
    """One relevant item of two at rank 1: found alone it is worth 1, found with the other, at rank 4, less."""
    evaluation = Evaluation(np.array([[1, 1, 1, 1]]), np.array([[1, 0, 0, 1]]))
    assert [evaluation.map_at(k) for k in range(1, 5)] == pytest.approx([1, 1, 1, (1 + 2 / 4) / 2])


def test_a_query_that_finds_nothing_among_its_nearest_counts_as_0():
    evaluation = Evaluation(np.array([[1, 1], [1, 1]]), np.array([[1, 0], [0, 1]]))
    assert evaluation.map_at(1) == pytest.approx(0.5)


def test_map_at_k_within_a_large_tie_is_the_mean_of_random_orders():
    """50 of a tie of 400 with 80 relevant, behind 10 with 4 relevant: against 4,000 shuffles."""
    rng, k = np.random.default_rng(0), 60
    front = [True, False, False, True, True, False, False, False, True, False]
    distances = np.concatenate([np.arange(10), np.full(400, 10)])
    relevant = np.concatenate([front, np.arange(400) < 80])
    values = [top_ap([*front, *rng.permutation(np.arange(400) < 80)], k) for _ in range(4000)]
    error = np.std(values) / np.sqrt(len(values))
    assert abs(evaluation_of(distances, relevant, 10).map_at(k) - np.mean(values)) < 4 * error


@given(st.integers(1, 60), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_without_ties_ap_is_that_of_sklearn(n, seed):
    rng = np.random.default_rng(seed)
    relevant = rng.random(n) < 0.4
    relevant[rng.integers(n)] = True
    ours = average_precision(np.ones((1, n), int), relevant[None].astype(int))[0]
    assert ours == pytest.approx(average_precision_score(relevant, -np.arange(n)))


def test_ap_is_exact_for_large_tie_groups():
    # One group of 60,000 with 500 relevant: against the sum of the cited formula, term by term.
    n, r = 60_000, 500
    j = np.arange(1, n + 1)
    slow = r / n * ((1 + (j - 1) * (r - 1) / (n - 1)) / j).sum() / r
    fast = average_precision(np.array([[n]]), np.array([[r]]))[0]
    assert fast == pytest.approx(slow, rel=1e-10)


def test_ap_is_exact_behind_a_large_gallery():
    n, r, before_n, before_r = 1000, 7, 1_000_000, 3
    j = np.arange(1, n + 1)
    behind = r / n * ((before_r + 1 + (j - 1) * (r - 1) / (n - 1)) / (before_n + j)).sum()
    i = np.arange(1, before_n + 1)
    front = before_r / before_n * ((1 + (i - 1) * (before_r - 1) / (before_n - 1)) / i).sum()
    fast = average_precision(np.array([[before_n, n]]), np.array([[before_r, r]]))[0]
    assert fast == pytest.approx((front + behind) / (r + before_r), rel=1e-9)


@given(retrieval(max_bits=20))
@settings(max_examples=60, deadline=None)
def test_metrics_do_not_depend_on_the_order_of_the_gallery(data):
    query_codes, query_labels, gallery_codes, gallery_labels = data
    assume(np.isin(query_labels, gallery_labels).all())
    order = np.random.default_rng(0).permutation(len(gallery_codes))
    one = evaluate(*data)
    other = evaluate(query_codes, query_labels, gallery_codes[order], gallery_labels[order])
    assert one.map == other.map
    assert one.map_worst <= one.map + 1e-12
    assert one.map <= one.map_best + 1e-12


@given(retrieval(max_bits=10))
@settings(max_examples=60, deadline=None)
def test_metrics_within_a_radius_equal_a_slow_loop(data):
    query_codes, query_labels, gallery_codes, gallery_labels = data
    assume(np.isin(query_labels, gallery_labels).all())
    evaluation = evaluate(*data)
    for radius in range(query_codes.shape[1] + 1):
        precision, recall = [], []
        for code, label in zip(query_codes, query_labels, strict=True):
            within = (gallery_codes != code).sum(1) <= radius
            right = (within & (gallery_labels == label)).sum()
            precision.append(right / within.sum() if within.any() else 0.0)
            recall.append(right / (gallery_labels == label).sum())
        assert evaluation.precision_radius(radius) == pytest.approx(np.mean(precision))
        assert evaluation.recall_radius(radius) == pytest.approx(np.mean(recall))
        assert evaluation.pr_curve().precision[radius] == pytest.approx(np.mean(precision))
        assert evaluation.pr_curve().recall[radius] == pytest.approx(np.mean(recall))


@given(retrieval(max_bits=10, max_queries=1))
@settings(max_examples=60, deadline=None)
def test_the_curve_of_one_query_is_that_of_sklearn(data):
    query_codes, query_labels, gallery_codes, gallery_labels = data
    relevant = gallery_labels == query_labels[0]
    assume(relevant.any())
    distances = (gallery_codes != query_codes[0]).sum(1)
    precision, recall, thresholds = precision_recall_curve(relevant, -distances)
    curve = evaluate(*data).pr_curve()
    for p, r, threshold in zip(precision, recall, thresholds, strict=False):
        assert curve.precision[-int(threshold)] == pytest.approx(p)
        assert curve.recall[-int(threshold)] == pytest.approx(r)


def test_a_radius_that_finds_nothing_counts_as_precision_0():
    codes = np.array([[True, True], [False, False]])
    assert evaluate(codes[:1], np.array([0]), codes[1:], np.array([0])).precision_radius(1) == 0


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_real_valued_ranking_equals_sklearn(metric):
    rng = np.random.default_rng(0)
    queries, gallery = rng.normal(size=(5, 3, 2)), rng.normal(size=(20, 3, 2))
    query_labels, gallery_labels = np.arange(5) % 3, np.arange(20) % 3

    def nearness(query, item):
        if metric == "euclidean":
            return -((query - item) ** 2).sum()
        return (query * item).sum() / np.sqrt((query**2).sum() * (item**2).sum())

    slow = [
        average_precision_score(gallery_labels == label, [nearness(query, item) for item in gallery])
        for query, label in zip(queries, query_labels, strict=True)
    ]
    assert evaluate_vectors(queries, query_labels, gallery, gallery_labels, metric) == pytest.approx(slow)


def test_asymmetric_ranking_counts_the_magnitude_of_each_bit_that_differs():
    rng = np.random.default_rng(0)
    queries, gallery = rng.normal(size=(5, 20)), rng.random((20, 20)) < 0.5  # so many bits that nothing ties
    query_labels, gallery_labels = np.arange(5) % 3, np.arange(20) % 3
    slow = [
        average_precision_score(
            gallery_labels == label,
            [-sum(abs(q) for q, bit in zip(query, code, strict=True) if (q >= 0) != bit) for code in gallery],
        )
        for query, label in zip(queries, query_labels, strict=True)
    ]
    assert evaluate_asymmetric(queries, query_labels, gallery, gallery_labels) == pytest.approx(slow)


def test_equal_codes_tie_in_asymmetric_ranking_too():
    code = np.random.default_rng(0).random(48) < 0.5
    gallery, labels = np.repeat(code[None], 40, 0), np.arange(40) % 2
    query = np.random.default_rng(1).normal(size=(1, 48)).astype(np.float32)
    expected = evaluate_chance(np.array([1]), labels)
    np.testing.assert_allclose(evaluate_asymmetric(query, np.array([1]), gallery, labels), expected)


def test_of_queries_that_are_as_sure_of_each_bit_asymmetric_ranking_is_hammings():
    rng = np.random.default_rng(0)
    codes, labels = rng.random((12, 8)) < 0.5, np.arange(12) % 3
    other, other_labels = rng.random((15, 8)) < 0.5, np.arange(15) % 3
    found = evaluate_asymmetric(np.where(codes, 0.5, -0.5), labels, other, other_labels)
    np.testing.assert_allclose(found, evaluate(codes, labels, other, other_labels).ap)


def test_chance_is_the_mean_over_all_orders():
    values = [ranked_ap(order) for order in permutations([True, True, False, False, False])]
    assert evaluate_chance(np.array([0]), np.array([0, 0, 1, 1, 2])) == pytest.approx([np.mean(values)])


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_without_a_gallery_each_query_is_sought_among_the_others(seed):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(9) % 3)
    codes, vectors = rng.random((9, 5)) < 0.5, rng.normal(size=(9, 4))
    evaluation = evaluate(codes, labels)
    real, asymmetric = evaluate_vectors(vectors, labels), evaluate_asymmetric(codes - 0.4, labels, codes)
    chance = evaluate_chance(labels)
    for i in range(9):
        others = np.arange(9) != i
        alone, among = slice(i, i + 1), labels[others]
        one = evaluate(codes[alone], labels[alone], codes[others], among)
        np.testing.assert_array_equal(evaluation.retrieved[i], one.retrieved[0])
        np.testing.assert_array_equal(evaluation.relevant[i], one.relevant[0])
        assert real[alone] == pytest.approx(evaluate_vectors(vectors[alone], labels[alone], vectors[others], among))
        slow = evaluate_asymmetric(codes[alone] - 0.4, labels[alone], codes[others], among)
        assert asymmetric[alone] == pytest.approx(slow)
        assert chance[alone] == pytest.approx(evaluate_chance(labels[alone], among))


def test_by_angle_too_each_query_is_sought_among_the_others():
    rng = np.random.default_rng(0)
    vectors, labels = rng.normal(size=(9, 4)), np.arange(9) % 3
    found = evaluate_vectors(vectors, labels, metric="cosine")
    for i in range(9):
        others = np.arange(9) != i
        alone = evaluate_vectors(vectors[i : i + 1], labels[i : i + 1], vectors[others], labels[others], "cosine")
        assert found[i] == pytest.approx(alone[0])
    assert not np.allclose(found, evaluate_vectors(vectors, labels))


def test_of_queries_among_the_others_all_metrics_leave_the_query_out():
    rng = np.random.default_rng(0)
    codes, labels = rng.random((8, 6)) < 0.5, np.arange(8) % 2
    evaluation = evaluate(codes, labels)
    alone = [evaluate(codes[[i]], labels[[i]], np.delete(codes, i, 0), np.delete(labels, i)) for i in range(8)]
    for metric in (
        *(lambda one, k=k: one.precision_at(k) for k in range(1, 8)),
        *(lambda one, radius=radius: one.precision_radius(radius) for radius in range(7)),
        *(lambda one, radius=radius: one.recall_radius(radius) for radius in range(7)),
        lambda one: one.map_best,
        lambda one: one.map_worst,
    ):
        assert metric(evaluation) == pytest.approx(np.mean([metric(one) for one in alone]))
    with pytest.raises(ValueError, match="gallery's 7 items"):
        evaluation.precision_at(8)


def test_equal_vectors_are_a_tie():
    gallery, labels = np.array([[0.0], [0.0], [0.0], [5.0]]), np.array([1, 0, 2, 0])
    values = [ranked_ap([*order, True]) for order in permutations([False, True, False])]
    assert evaluate_vectors(np.array([[1.0]]), labels[1:2], gallery, labels) == pytest.approx([np.mean(values)])


@pytest.mark.parametrize(
    "among_others",
    [
        lambda labels: evaluate(CODES, labels),
        lambda labels: evaluate_vectors(np.eye(3), labels),
        lambda labels: evaluate_asymmetric(np.ones((3, 4)), labels, CODES),
        evaluate_chance,
    ],
    ids=["codes", "vectors", "asymmetric", "chance"],
)
def test_a_query_that_has_no_other_of_its_person_is_named(among_others):
    with pytest.raises(ValueError, match=r"query 2 \(label 5\) has no relevant image"):
        among_others(np.array([4, 4, 5]))


def test_half_a_gallery_is_an_error():
    for gallery in ({"gallery_codes": CODES}, {"gallery_labels": LABELS}):
        with pytest.raises(ValueError, match="a gallery needs both codes and labels"):
            evaluate(CODES, LABELS, **gallery)


CODES = np.zeros((3, 4), bool)
LABELS = np.array([0, 1, 1])


def test_a_query_without_relevant_images_is_named():
    with pytest.raises(ValueError, match=r"query 1 \(label 7\) has no relevant image"):
        evaluate(CODES[:2], np.array([0, 7]), CODES, LABELS)


def test_no_queries_are_an_error():
    with pytest.raises(ValueError, match="no queries"):
        evaluate(CODES[:0], LABELS[:0], CODES, LABELS)


@pytest.mark.parametrize("metric", ["precision_at", "map_at", "map_at_range"])
@pytest.mark.parametrize("k", [0, 4])
def test_k_beyond_the_gallery_is_named(k, metric):
    with pytest.raises(ValueError, match=rf"{metric.removesuffix('_range')}\({k}\).*gallery's 3 items"):
        getattr(evaluate(CODES, LABELS, CODES, LABELS), metric)(k)


def test_queries_without_relevant_images_are_left_out_and_counted():
    rng = np.random.default_rng(0)
    codes, gallery = rng.random((4, 6)) < 0.5, rng.random((9, 6)) < 0.5
    labels, others = np.array([7, 0, 8, 1]), np.arange(9) % 3
    evaluation = evaluate(codes, labels, gallery, others, missing="skip")
    assert evaluation.left_out == (0, 2)
    alone = evaluate(codes[[1, 3]], labels[[1, 3]], gallery, others)
    assert alone.left_out == ()
    np.testing.assert_array_equal(evaluation.ap, alone.ap)
    assert evaluation.map_at(5) == alone.map_at(5)
    with pytest.raises(ValueError, match=r"query 0 \(label 7\) has no relevant image.*; 1 more queries"):
        evaluate(codes, labels, gallery, others)


def test_among_each_other_too_queries_may_be_left_out():
    evaluation = evaluate(CODES, np.array([4, 4, 5]), missing="skip")
    assert (evaluation.left_out, len(evaluation.ap)) == ((2,), 2)


def test_where_no_query_has_a_relevant_image_nothing_is_left_to_evaluate():
    with pytest.raises(ValueError, match=r"query 0 .* has no relevant image.*; 2 more"):
        evaluate(CODES, LABELS, CODES, LABELS + 7, missing="skip")


def test_what_becomes_of_missing_ones_is_one_of_two():
    with pytest.raises(ValueError, match="missing must be 'error' or 'skip', not 'drop'"):
        evaluate(CODES, LABELS, missing="drop")  # type: ignore[arg-type]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_with_several_labels_ap_is_that_of_sklearn_where_nothing_ties(seed):
    rng = np.random.default_rng(seed)
    gallery = np.tril(np.ones((20, 20), bool))[rng.permutation(20)]  # distances 1..20 from the query
    query, own, labels = np.zeros((1, 20), bool), rng.random((1, 4)) < 0.5, rng.random((20, 4)) < 0.3
    relevant = (own & labels).any(1)
    assume(relevant.any())
    expected = average_precision_score(relevant, -gallery.sum(1))
    assert evaluate(query, own, gallery, labels).map == pytest.approx(expected)
    assert evaluate_vectors(query, own, gallery, labels)[0] == pytest.approx(expected)


def test_with_several_labels_a_query_is_not_relevant_to_itself():
    rng = np.random.default_rng(0)
    codes, labels = rng.random((8, 6)) < 0.5, np.array([[1, 1, 0], [0, 1, 1], [1, 0, 0], [0, 0, 1]] * 2)
    evaluation = evaluate(codes, labels)
    for i in range(8):
        others = np.arange(8) != i
        one = evaluate(codes[[i]], labels[[i]], codes[others], labels[others])
        np.testing.assert_array_equal(evaluation.relevant[i], one.relevant[0])


def test_a_query_without_a_label_has_nothing_relevant_and_is_named():
    labels = np.array([[1, 1, 0], [0, 0, 0], [0, 1, 0]])
    with pytest.raises(ValueError, match=r"query 1 \(labels \[\]\) has no relevant image"):
        evaluate(CODES, labels)
    evaluation = evaluate(CODES, labels, missing="skip")
    assert evaluation.left_out == (1,)
    assert (evaluation.relevant >= 0).all()


@pytest.mark.parametrize("radius", [-1, 5])
def test_a_radius_beyond_the_code_is_named(radius):
    with pytest.raises(ValueError, match=f"4 bits, not {radius}"):
        evaluate(CODES, LABELS, CODES, LABELS).recall_radius(radius)


def test_labels_are_compared_exactly_in_every_metric():
    codes, vectors = np.zeros((2, 4), bool), np.zeros((2, 3))
    labels, stranger = np.array([2**60, 2**60 + 1], np.uint64), np.array([2**60 + 2])
    for measure in (
        lambda asked: evaluate(codes[:1], asked, codes, labels).map,
        lambda asked: evaluate_vectors(vectors[:1], asked, vectors, labels),
        lambda asked: evaluate_chance(asked, labels),
    ):
        assert np.mean(measure(np.array([2**60 + 1]))) == pytest.approx(0.75)
        with pytest.raises(ValueError, match="has no relevant image"):
            measure(stranger)
