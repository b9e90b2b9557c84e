import itertools

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from dcbh_core import evaluate
from dcbh_core.shallow import class_number, itq, lda_itq, lsh

SEEDS = st.integers(0, 2**32 - 1)


def vectors(n: int, d: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(3, 1, (n, d)) @ rng.normal(size=(d, d))


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_a_bit_of_lsh_is_the_side_of_a_plane_through_the_mean(seed):
    x = vectors(9, 5, seed)
    fitted = lsh(x, 4, seed)
    codes = fitted.encode(x)
    for i in range(9):
        for b in range(4):
            side = sum((x[i, j] - x[:, j].mean()) * fitted.projection[j, b] for j in range(5))
            assert codes[i, b] == (side >= 0)


def test_lshs_directions_follow_the_seed():
    x = vectors(9, 5)
    assert np.array_equal(lsh(x, 4, 1).projection, lsh(x, 4, 1).projection)
    assert not np.array_equal(lsh(x, 4, 1).projection, lsh(x, 4, 2).projection)


def test_random_projections_keep_the_angle():
    """The share of bits in which two codes differ is their angle over pi: 1/4 at 45 degrees (Charikar, 2002)."""
    pair = np.array([[1.0, 0.0], [1.0, 1.0], [-1.0, 0.0], [-1.0, -1.0]])  # their mean is 0
    codes = lsh(pair, 40_000, 0).encode(pair)
    assert (codes[0] != codes[1]).mean() == pytest.approx(0.25, abs=0.01)


def test_itqs_projection_has_orthonormal_columns_in_the_principal_subspace():
    x = vectors(50, 8)
    projection = itq(x, 3, 0).projection
    np.testing.assert_allclose(projection.T @ projection, np.eye(3), atol=1e-9)
    principal = np.linalg.svd(x - x.mean(0))[2][:3]
    np.testing.assert_allclose(principal.T @ (principal @ projection), projection, atol=1e-9)


@given(SEEDS)
@settings(max_examples=10, deadline=None)
def test_itq_equals_a_slow_loop_whose_error_never_rises(seed):
    x = vectors(20, 6, seed)
    centered = x - x.mean(0)
    # The same call as in the code, as the sign of an eigenvector is free.
    v = centered @ scipy.linalg.eigh(centered.T @ centered, subset_by_index=(2, 5))[1]
    rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal((4, 4)))[0]
    errors = []
    for _ in range(50):
        b = np.array([[1.0 if value >= 0 else -1.0 for value in row] for row in v @ rotation])
        errors.append(((b - v @ rotation) ** 2).sum())
        u, _, w = np.linalg.svd(v.T @ b)
        rotation = u @ w
    assert all(later <= earlier + 1e-9 for earlier, later in itertools.pairwise(errors))
    fitted = itq(x, 4, seed)
    np.testing.assert_allclose(centered @ fitted.projection, v @ rotation, atol=1e-9)
    np.testing.assert_array_equal(fitted.encode(x), (x - fitted.mean) @ fitted.projection >= 0)


@pytest.mark.parametrize(("n", "d"), [(4, 9), (9, 3)])
def test_itq_needs_as_many_directions_as_bits(n, d):
    with pytest.raises(ValueError, match=f"{n} vectors of length {d} have 3 principal directions, too few for 4 bits"):
        itq(vectors(n, d), 4, 0)
    assert itq(vectors(n, d), 3, 0).encode(vectors(n, d)).shape == (n, 3)


def people(n: int, d: int, each: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of ``n`` people, ``each`` of them, and who they are."""
    rng = np.random.default_rng(0)
    labels = np.arange(n * each) % n
    return rng.normal(size=(n, d))[labels] + rng.normal(0, 0.5, (n * each, d)) * np.linspace(0.2, 3, d), labels


def test_lda_itqs_directions_are_a_rotation_of_ldas() -> None:
    x, labels = people(5, 8, 12)
    principal = np.linalg.svd(x - x.mean(0))[2].T  # on which the shrinkage depends
    lda = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit((x - x.mean(0)) @ principal, labels)
    directions = principal @ lda.scalings_[:, :3]
    projection = lda_itq(x, labels, 3, 0).projection
    rotation = np.linalg.lstsq(directions, projection, rcond=None)[0]
    np.testing.assert_allclose(directions @ rotation, projection, atol=1e-6)
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-6)


def test_lda_itq_tells_people_apart_where_pca_sees_the_noise() -> None:
    x, labels = people(6, 10, 20)
    noisy = x.copy()
    noisy[:, 0] *= 100  # the direction of the largest variance, the same for everybody
    noisy[:, 0] -= 100 * x[:, 0]
    noisy[:, 0] += np.random.default_rng(1).normal(0, 100, len(x))
    queries, gallery = np.arange(len(x)) % 4 == 0, np.arange(len(x)) % 4 > 0
    found = {}
    for name, fitted in (("itq", itq(noisy, 4, 0)), ("lda", lda_itq(noisy, labels, 4, 0))):
        codes = fitted.encode(noisy)
        found[name] = evaluate(codes[queries], labels[queries], codes[gallery], labels[gallery]).map
    assert found["lda"] > found["itq"]


def test_long_vectors_are_reduced_to_their_principal_directions_first() -> None:
    """Even where they tell nobody apart, and what does is smaller than all else."""
    labels = np.arange(300) % 5
    x = np.random.default_rng(0).normal(0, np.linspace(3, 0.1, 270), (300, 270))
    x[:, -5:] = 0.03 * np.eye(5)[labels] + np.random.default_rng(1).normal(0, 0.001, (300, 5))
    projection = lda_itq(x, labels, 4, 0).projection
    principal = np.linalg.svd(x - x.mean(0), full_matrices=False)[2][:256]
    np.testing.assert_allclose(principal.T @ (principal @ projection), projection, atol=1e-6 * np.abs(projection).max())


def test_lda_itq_needs_more_people_than_bits() -> None:
    x, labels = people(4, 9, 6)
    with pytest.raises(ValueError, match="there are 3 directions that tell people apart, too few for 4 bits"):
        lda_itq(x, labels, 4, 0)
    assert lda_itq(x, labels, 3, 0).encode(x).shape == (24, 3)


@pytest.mark.filterwarnings("error")
def test_lda_itq_bears_people_with_one_face_and_values_that_are_always_0() -> None:
    """As descriptors behind a ReLU have them: what is always 0 tells nobody apart, and changes nothing."""
    x, labels = people(4, 6, 6)
    x, labels = x[np.argsort(labels)][:19], np.sort(labels)[:19]
    assert np.bincount(labels).tolist() == [6, 6, 6, 1]
    alone, padded = lda_itq(x, labels, 3, 0), lda_itq(np.pad(x, ((0, 0), (0, 3))), labels, 3, 0)
    # The sign of a principal direction is free, so that what is rotated is compared by what it spans.
    of_alone, of_padded = (np.linalg.qr(projection)[0] for projection in (alone.projection, padded.projection[:6]))
    np.testing.assert_allclose(of_padded @ of_padded.T, of_alone @ of_alone.T, atol=1e-6)
    np.testing.assert_allclose(padded.projection[6:], 0, atol=1e-9)


def test_equal_vectors_tell_nobody_apart() -> None:
    with pytest.raises(ValueError, match="there are 0 directions that tell people apart, too few for 1 bits"):
        lda_itq(np.ones((6, 4)), np.arange(6) % 3, 1, 0)


@given(st.integers(1, 300))
@settings(max_examples=30, deadline=None)
def test_a_class_number_is_read_back_from_its_bits(people: int) -> None:
    codes = class_number(np.arange(people), people)
    assert codes.shape == (people, max(1, (people - 1).bit_length()))
    assert [sum(2**i for i, bit in enumerate(code) if bit) for code in codes] == list(range(people))
