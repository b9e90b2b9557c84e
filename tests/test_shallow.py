import itertools

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from dcbh_core.shallow import itq, lsh

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
