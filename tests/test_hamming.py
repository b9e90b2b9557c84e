import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dcbh_core import hamming
from dcbh_core.hamming import distance_histograms, search


@st.composite
def retrieval(draw, max_bits=140, max_queries=4, max_gallery=12):
    """Query codes, query labels, gallery codes, gallery labels."""
    bits, queries = draw(st.integers(1, max_bits)), draw(st.integers(1, max_queries))
    gallery, seed = draw(st.integers(1, max_gallery)), draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    return (
        rng.random((queries, bits)) < 0.5,
        rng.integers(0, 3, queries),
        rng.random((gallery, bits)) < 0.5,
        rng.integers(0, 3, gallery),
    )


@given(retrieval())
@settings(max_examples=100, deadline=None)
def test_histograms_equal_a_slow_loop(data):
    query_codes, query_labels, gallery_codes, gallery_labels = data
    bits = query_codes.shape[1]
    retrieved, relevant = (np.zeros((len(query_codes), bits + 1), int) for _ in range(2))
    for i, code in enumerate(query_codes):
        for other, label in zip(gallery_codes, gallery_labels, strict=True):
            distance = sum(a != b for a, b in zip(code, other, strict=True))
            retrieved[i, distance] += 1
            relevant[i, distance] += label == query_labels[i]
    for fast, slow in zip(distance_histograms(*data), (retrieved, relevant), strict=True):
        np.testing.assert_array_equal(fast, slow)


@given(retrieval())
@settings(max_examples=50, deadline=None)
def test_products_count_what_popcounts_count(data):
    """The way that is taken on CUDA, here on the CPU."""
    query_codes, query_labels, *_ = data
    histograms = np.zeros((2, len(query_labels), query_codes.shape[1] + 1), np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hamming, "BLOCK", 5)
        patch.setattr(hamming, "QUERIES_PER_PRODUCT", 2)
        hamming._count_by_products(*data, histograms, "cpu")
    for products, popcounts in zip(histograms, distance_histograms(*data, device="cpu"), strict=True):
        np.testing.assert_array_equal(products, popcounts)


@given(retrieval(max_bits=70), st.data())
@settings(max_examples=60, deadline=None)
def test_search_returns_the_nearest_in_order(data, draw):
    query_codes, _, gallery_codes, _ = data
    k = draw.draw(st.integers(1, len(gallery_codes)))
    distances, indices = search(query_codes, gallery_codes, k)
    assert distances.shape == indices.shape == (len(query_codes), k)
    for row, found, code in zip(distances, indices, query_codes, strict=True):
        exact = (gallery_codes != code).sum(1)
        np.testing.assert_array_equal(row, np.sort(exact)[:k])
        np.testing.assert_array_equal(row, exact[found])
        assert list(zip(row, found, strict=True)) == sorted(zip(row, found, strict=True))
        assert len(set(found)) == k


@pytest.mark.parametrize("k", [0, 4])
def test_k_outside_the_gallery_is_named(k):
    codes = np.zeros((3, 5), bool)
    with pytest.raises(ValueError, match=f"from 1 to the gallery's 3 codes, not {k}"):
        search(codes, codes, k)


def test_codes_of_different_length_are_refused():
    with pytest.raises(ValueError, match="query codes have 5 bits, gallery codes 6"):
        search(np.zeros((1, 5), bool), np.zeros((1, 6), bool), 1)


@pytest.mark.parametrize("codes", [np.zeros(3, bool), np.zeros((2, 0), bool), np.zeros((2, 3, 4))])
def test_codes_of_another_shape_are_refused(codes):
    with pytest.raises(ValueError, match=r"query codes must have the shape \(n, bits\)"):
        search(codes, codes, 1)


CONVENTIONS = {
    "bool": lambda codes: codes,
    "list": lambda codes: codes.tolist(),
    "0/1 uint8": lambda codes: codes.astype(np.uint8),
    "0/1 float64": lambda codes: codes.astype(float),
    "-1/1 int8": lambda codes: codes.astype(np.int8) * 2 - 1,
    "-1/1 int64": lambda codes: codes.astype(int) * 2 - 1,
    "-1/1 float16": lambda codes: codes.astype(np.float16) * 2 - 1,
    "-1/1 float32": lambda codes: codes.astype(np.float32) * 2 - 1,
    "tensor": lambda codes: torch.from_numpy(codes * 2.0 - 1).requires_grad_(),
}


@pytest.mark.parametrize("of_gallery", CONVENTIONS)
@pytest.mark.parametrize("of_queries", CONVENTIONS)
def test_codes_of_all_conventions_are_the_same_codes_also_mixed(of_queries, of_gallery):
    rng = np.random.default_rng(0)
    queries, gallery = rng.random((5, 12)) < 0.5, rng.random((9, 12)) < 0.5
    written = CONVENTIONS[of_queries](queries), CONVENTIONS[of_gallery](gallery)
    for found, expected in zip(search(*written, 9), search(queries, gallery, 9), strict=True):
        np.testing.assert_array_equal(found, expected)
    labels = np.arange(5) % 2, np.arange(9) % 2
    for found, expected in zip(
        distance_histograms(written[0], labels[0], written[1], labels[1]),
        distance_histograms(queries, labels[0], gallery, labels[1]),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("value", [0, 1, 1.0, -1])
def test_a_code_of_one_value_alone_says_what_each_convention_says(value):
    """All 1 is all ones in both conventions; all 0 and all -1 are all zeros."""
    queries, gallery = np.full((1, 6), value), np.array([[True] * 6, [False] * 6])
    distances, indices = search(queries, gallery, 1)
    assert (distances[0, 0], indices[0, 0]) == (0, 0 if value == 1 else 1)


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        (0.37, np.float32, "is 0.37: make bits of real values first"),
        (np.nan, np.float32, "is nan"),
        (np.inf, np.float64, "is inf"),
        (2, np.int64, "is 2"),
        (173, np.uint8, "is 173: if a byte holds eight bits, unpack them with numpy.unpackbits"),
    ],
)
def test_what_is_no_bit_is_named_with_its_place(value, kind, said):
    codes = np.ones((4, 6), kind)
    codes[2, 5] = value
    with pytest.raises(
        ValueError, match=r"^gallery codes must be bool, 0 and 1, or -1 and 1, but in row 2, column 5"
    ) as e:
        search(np.ones((1, 6)), codes, 1)
    assert said in str(e.value)
    assert "\n" not in str(e.value)


def test_the_sign_of_an_exact_0_is_no_bit():
    codes = np.sign(np.array([[0.5, -0.5], [0.0, 1.0]]))
    with pytest.raises(ValueError, match=r"row 1, column 0 .* is 0: the sign of an exact 0 is 0, which is no bit"):
        search(codes, codes, 1)


@pytest.mark.parametrize("codes", [np.array([["a", "b"]]), np.ones((1, 2), complex), np.array([[None, 1]])])
def test_codes_of_no_numbers_are_refused(codes):
    with pytest.raises(ValueError, match="query codes must be bool, 0 and 1, or -1 and 1, not "):
        search(codes, codes, 1)


@st.composite
def shared_labels(draw):
    """A retrieval with multi-label matrices, some items without a label."""
    query_codes, query_labels, gallery_codes, gallery_labels = draw(retrieval(max_bits=70))
    classes = draw(st.sampled_from([2, 5, 64, 65, 130]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    queries, gallery = (rng.random((len(own), classes)) < 1.5 / classes for own in (query_labels, gallery_labels))
    return query_codes, queries, gallery_codes, gallery


@given(shared_labels(), st.sampled_from([bool, np.uint8, np.int64, np.float32]))
@settings(max_examples=60, deadline=None)
def test_relevant_is_what_shares_a_label(data, kind):
    query_codes, query_labels, gallery_codes, gallery_labels = data
    bits = query_codes.shape[1]
    slow = np.zeros((len(query_codes), bits + 1), int)
    for i, (code, own) in enumerate(zip(query_codes, query_labels, strict=True)):
        for other, labels in zip(gallery_codes, gallery_labels, strict=True):
            if set(np.flatnonzero(own)) & set(np.flatnonzero(labels)):
                slow[i, (code != other).sum()] += 1
    written = query_codes, query_labels.astype(kind), gallery_codes, gallery_labels.astype(kind)
    np.testing.assert_array_equal(distance_histograms(*written, device="cpu")[1], slow)
    products = np.zeros((2, *slow.shape), np.int64)
    hamming._count_by_products(query_codes, query_labels, gallery_codes, gallery_labels, products, "cpu")
    np.testing.assert_array_equal(products[1], slow)


def test_several_labels_are_counted_in_each_block(monkeypatch):
    rng = np.random.default_rng(0)
    data = rng.random((7, 48)) < 0.5, rng.random((7, 9)) < 0.3, rng.random((100, 48)) < 0.5, rng.random((100, 9)) < 0.3
    whole = distance_histograms(*data)
    monkeypatch.setattr("dcbh_core.hamming.BLOCK", 33)
    np.testing.assert_array_equal(distance_histograms(*data)[1], whole[1])


LABELS = np.array([2, 0, 1, 2, 2])
FORMS = {
    "(n, 1)": LABELS[:, None],
    "list": LABELS.tolist(),
    "uint8": LABELS.astype(np.uint8),
    "tensor": torch.from_numpy(LABELS),
    "one-hot bool": np.eye(3, dtype=bool)[LABELS],
    "one-hot float": np.eye(3)[LABELS],
    "one-hot -1/1": np.eye(3)[LABELS] * 2 - 1,  # as HashNet's test.py leaves them
    "one-hot tensor": torch.eye(3)[LABELS],
}


@pytest.mark.parametrize("form", FORMS)
def test_labels_of_all_forms_are_the_same_labels(form):
    codes = np.random.default_rng(0).random((5, 12)) < 0.5
    expected = distance_histograms(codes, LABELS, codes, LABELS)
    for found, table in zip(distance_histograms(codes, FORMS[form], codes, FORMS[form]), expected, strict=True):
        np.testing.assert_array_equal(found, table)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ((LABELS, np.eye(3)[LABELS]), "query labels are whole numbers, gallery labels a matrix of 0 and 1"),
        ((np.eye(4)[LABELS], np.eye(3)[LABELS]), "query labels have 4 classes, gallery labels 3"),
        ((np.eye(3)[LABELS], 2 * np.eye(3)[LABELS]), r"gallery labels of shape \(5, 3\) .* row 0, column 2 .* is 2"),
        ((np.zeros((5, 0)), LABELS), r"query labels must have the shape \(n,\), \(n, 1\) or \(n, classes\)"),
        ((np.zeros((5, 1, 1), int), LABELS), r"query labels must have the shape .*, not \(5, 1, 1\)"),
        ((LABELS[None], LABELS), r"5 query codes need as many labels, not an array of shape \(1, 5\)"),
        ((LABELS[:, None] / 2, LABELS), "query labels must be whole numbers"),
    ],
)
def test_labels_of_no_form_are_one_sentence(labels, message):
    codes = np.zeros((5, 4), bool)
    with pytest.raises(ValueError, match=message):
        distance_histograms(codes, labels[0], codes, labels[1])


def test_labels_must_fit_their_codes():
    codes = np.zeros((2, 3), bool)
    with pytest.raises(ValueError, match="2 gallery codes need as many labels"):
        distance_histograms(codes, np.zeros(2), codes, np.zeros(5))


def test_a_gallery_of_many_blocks_is_counted_whole(monkeypatch):
    rng = np.random.default_rng(0)
    data = rng.random((7, 48)) < 0.5, rng.integers(0, 5, 7), rng.random((1000, 48)) < 0.5, rng.integers(0, 5, 1000)
    whole = distance_histograms(*data)
    monkeypatch.setattr("dcbh_core.hamming.BLOCK", 33)
    for blocks, once in zip(distance_histograms(*data), whole, strict=True):
        np.testing.assert_array_equal(blocks, once)


def test_the_number_of_threads_changes_nothing():
    rng = np.random.default_rng(0)
    data = rng.random((7, 48)) < 0.5, rng.integers(0, 5, 7), rng.random((1000, 48)) < 0.5, rng.integers(0, 5, 1000)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(distance_histograms(*data, device="cpu"))
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(*results)


def test_memory_does_not_grow_with_the_gallery():
    rng = np.random.default_rng(0)
    peaks = []
    for size in (500_000, 2_000_000):
        gallery = rng.integers(0, 2, (size, 48), dtype=np.uint8).view(bool)
        labels = np.arange(size) % 50
        tracemalloc.start()
        distance_histograms(gallery[:3], labels[:3], gallery, labels, device="cpu")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2**20
    assert peaks[1] < 2**26


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.int32])
def test_k_may_be_any_integer(kind):
    codes = np.random.default_rng(0).random((5, 12)) < 0.5
    distances, indices = search(codes, codes, kind(3))
    np.testing.assert_array_equal(distances, search(codes, codes, 3)[0])
    assert indices.shape == (5, 3)


def test_k_that_is_no_integer_is_refused():
    codes = np.zeros((5, 12), bool)
    with pytest.raises(TypeError, match="integer"):
        search(codes, codes, 2.5)  # type: ignore[arg-type]


def test_codes_may_be_lists():
    codes = np.random.default_rng(0).random((5, 12)) < 0.5
    labels = np.array([0, 0, 1, 1, 1])
    for one, other in zip(
        distance_histograms(codes.tolist(), labels.tolist(), codes.tolist(), labels.tolist()),  # type: ignore[arg-type]
        distance_histograms(codes, labels, codes, labels),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_unsigned_labels_beyond_the_exact_floats_are_told_apart():
    codes = np.zeros((2, 8), bool)
    gallery_labels = np.array([2**60, 2**60 + 1], np.uint64)
    _, relevant = distance_histograms(codes[:1], np.array([2**60 + 1]), codes, gallery_labels)
    assert relevant.sum() == 1


def test_labels_beyond_64_bits_are_refused():
    codes = np.zeros((1, 8), bool)
    with pytest.raises(ValueError, match=r"below 2\^63"):
        distance_histograms(codes, np.array([2**63], np.uint64), codes, np.array([0]))


@pytest.mark.parametrize("labels", [[0.0], [0.5], ["anna"], [True], [2**70]])
def test_labels_that_are_no_whole_numbers_are_refused(labels):
    codes = np.zeros((1, 8), bool)
    with pytest.raises(ValueError, match="labels must be whole numbers"):
        distance_histograms(codes, np.array(labels), codes, np.array([0]))


@pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without CUDA")
def test_counting_on_a_device_that_is_not_there_is_one_sentence():
    codes = np.zeros((1, 8), bool)
    with pytest.raises(ValueError, match="finds no CUDA on this machine"):
        distance_histograms(codes, np.array([0]), codes, np.array([0]), device="cuda")


@given(retrieval())
@settings(max_examples=20, deadline=None)
def test_products_take_mirrored_views(data):
    query_codes, query_labels, gallery_codes, gallery_labels = data
    one, other = (np.zeros((2, len(query_labels), query_codes.shape[1] + 1), np.int64) for _ in range(2))
    hamming._count_by_products(*data, one, "cpu")
    views = query_codes, query_labels, gallery_codes[::-1], gallery_labels[::-1]
    hamming._count_by_products(*views, other, "cpu")
    np.testing.assert_array_equal(one, other)
