"""Every peer against its formula, written out as slow loops in float64, and the code centres."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dcbh_core import Objective, Outputs, Sizes
from dcbh_core.losses import DCBHObjective
from dcbh_core.peers import (
    PEERS,
    CSQObjective,
    DCDHObjective,
    OrthoHashObjective,
    SoftmaxObjective,
    code_centers,
    hadamard,
    log_cosh,
)

PAGE = Path(__file__).resolve().parent.parent / "docs" / "peers.md"
SEEDS = st.integers(0, 2**32 - 1)
N, PEOPLE, BITS = 7, 4, 6


def case(peer: str, seed: int, **constants: float) -> tuple[Objective, Outputs, torch.Tensor]:
    """A peer and what a network might say about 7 faces of 4 people, all in float64."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    z = torch.tensor(rng.normal(0, 2, (N, BITS)), requires_grad=True)
    descriptor, code_logits = (torch.tensor(rng.normal(size=(N, size))) for size in (9, PEOPLE))
    outputs = Outputs(descriptor, z, z.tanh(), code_logits, None)
    objective = PEERS[peer](Sizes(PEOPLE, BITS, descriptor_size=9, seed=seed), **constants).double()
    return objective, outputs, torch.tensor(rng.integers(0, PEOPLE, N))


def check(objective: Objective, outputs: Outputs, labels: torch.Tensor, slow: dict[str, float]) -> None:
    total, terms = objective(outputs, labels)
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(slow)
    assert total.item() == pytest.approx(sum(weight * slow[name] for name, weight in objective.weights.items()))
    total.backward()
    assert outputs.continuous.grad is not None
    assert outputs.continuous.grad.isfinite().all()


def cross_entropy(logits: list[float], label: int) -> float:
    log_sum = math.log(sum(math.exp(logit) for logit in logits))
    return log_sum - logits[label]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def arrays(outputs: Outputs, labels: torch.Tensor) -> list[np.ndarray]:
    """z, q, code logits and labels."""
    return [value.detach().numpy() for value in (outputs.continuous, outputs.relaxed, outputs.code_logits, labels)]


def slow_quantization(q: np.ndarray, target: float) -> float:
    return sum(abs(target - abs(value)) for value in q.ravel()) / q.size


def slow_central(q: np.ndarray, y: np.ndarray, centers: np.ndarray) -> float:
    central = 0.0
    for i in range(N):
        for k in range(BITS):
            h = (1 + q[i, k]) / 2
            central -= math.log(h if centers[y[i], k] == 1 else 1 - h)
    return central / (N * BITS)


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_softmax_equals_a_slow_loop(seed):
    objective, outputs, labels = case("softmax", seed, quantization_weight=0.3)
    _, q, logits, y = arrays(outputs, labels)
    code = sum(cross_entropy(list(logits[i]), y[i]) for i in range(N)) / N
    check(objective, outputs, labels, {"code": code, "quantization": slow_quantization(q, 1.0)})


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_csq_equals_a_slow_loop(seed):
    objective, outputs, labels = case("csq", seed, quantization_weight=0.3)
    _, q, _, y = arrays(outputs, labels)
    quantization = sum(math.log(math.cosh(abs(value) - 1)) for value in q.ravel()) / q.size
    central = slow_central(q, y, objective.centers.numpy())
    check(objective, outputs, labels, {"central": central, "quantization": quantization})


def test_csq_is_finite_where_tanh_rounds_to_one():
    objective, outputs, labels = case("csq", 0)
    z = torch.full((N, BITS), 300.0, requires_grad=True)
    total, _ = objective(outputs._replace(continuous=z, relaxed=z.tanh()), labels)
    total.backward()
    assert total.isfinite()
    assert z.grad is not None and z.grad.isfinite().all() and z.grad.any()


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_orthohash_equals_a_slow_loop(seed):
    objective, outputs, labels = case("orthohash", seed, scale=5.0, margin=0.3)
    z, _, _, y = arrays(outputs, labels)
    targets, slow = objective.centers.numpy(), 0.0
    for i in range(N):
        own = math.exp(5.0 * (cosine(z[i], targets[y[i]]) - 0.3))
        others = sum(math.exp(5.0 * cosine(z[i], targets[c])) for c in range(PEOPLE) if c != y[i])
        slow -= math.log(own / (own + others)) / N
    check(objective, outputs, labels, {"cosine": slow})


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_dcdh_equals_a_slow_loop(seed):
    objective, outputs, labels = case("dcdh", seed, scale=0.4, spread_weight=0.2, quantization_weight=0.05)
    z, _, _, y = arrays(outputs, labels)
    centers = objective.centers.detach().numpy()
    center = quantization = 0.0
    for i in range(N):
        near = [math.exp(-0.2 * sum((z[i, k] - centers[c, k]) ** 2 for k in range(BITS))) for c in range(PEOPLE)]
        center -= math.log(near[y[i]] / sum(near)) / N
        for k in range(BITS):
            mine = [np.sign(z[j, k]) for j in range(N) if y[j] == y[i]]
            b = 1 if sum(mine) / len(mine) + 0.05 * z[i, k] >= 0 else -1
            quantization += (z[i, k] - b) ** 2 / N
    pairs = [(a, b) for a in range(PEOPLE) for b in range(PEOPLE) if a != b]
    spread = sum(math.log(1 + math.exp(BITS / 2 * cosine(centers[a], centers[b]))) for a, b in pairs) / len(pairs)
    check(objective, outputs, labels, {"center": center, "spread": spread, "quantization": quantization})


def test_dcdhs_codes_are_the_regression_of_signs_on_labels():
    """The class mean against the least-squares solution, by the pseudoinverse."""
    objective, outputs, labels = case("dcdh", 3)
    z = outputs.continuous.detach()
    one_hot = np.eye(PEOPLE)[labels.numpy()]
    regression = np.linalg.pinv(one_hot.T @ one_hot) @ one_hot.T @ np.sign(z.numpy())
    slow = np.sign(one_hot @ regression + objective.weights["quantization"] * z.numpy())
    np.testing.assert_array_equal(objective._codes(z, labels).numpy(), slow)


@pytest.mark.parametrize("peer", ["csq", "orthohash"])
def test_code_centres_are_drawn_by_the_seed_and_are_no_weights(peer):
    one, again, other = (case(peer, seed)[0] for seed in (1, 1, 2))
    assert torch.equal(one.centers, again.centers)
    assert not torch.equal(one.centers, other.centers)
    assert not list(one.parameters())
    assert set(one.state_dict()) == {"centers"}


def test_log_cosh_does_not_overflow():
    x = torch.tensor([0.0, 1.0, -2.0, 1e6], dtype=torch.float64)
    slow = [0.0, math.log(math.cosh(1)), math.log(math.cosh(2)), 1e6 - math.log(2)]
    torch.testing.assert_close(log_cosh(x), torch.tensor(slow, dtype=torch.float64))


# Code centres


@pytest.mark.parametrize("n", [1, 2, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 64])
def test_hadamard_rows_are_orthogonal(n):
    matrix = hadamard(n)
    assert matrix is not None
    assert set(np.unique(matrix)) <= {-1, 1}
    np.testing.assert_array_equal(matrix @ matrix.T, n * np.eye(n))


@pytest.mark.parametrize("n", [3, 5, 6, 10, 14, 18])
def test_sizes_without_a_hadamard_matrix_have_none(n):
    assert hadamard(n) is None


def distances(centers: np.ndarray) -> list[int]:
    n = len(centers)
    return [int((centers[a] != centers[b]).sum()) for a in range(n) for b in range(n) if a != b]


@pytest.mark.parametrize("bits", [12, 24, 36, 48])
@pytest.mark.parametrize("people", [2, 12, 24])
def test_centres_from_hadamard_rows_differ_in_half_of_the_bits_or_all(bits, people):
    centers = code_centers(people, bits, seed=0).numpy()
    assert centers.shape == (people, bits)
    assert set(distances(centers)) <= {bits // 2, bits}
    assert people > bits or set(distances(centers)) == {bits // 2}


@pytest.mark.parametrize(
    ("people", "bits", "least"), [(118, 12, 3), (118, 24, 8), (118, 36, 12), (118, 48, 16), (40, 12, 4), (60, 10, 2)]
)
def test_centres_of_many_people_keep_a_distance(people, bits, least):
    centers = code_centers(people, bits, seed=0).numpy()
    assert set(np.unique(centers)) == {-1, 1}
    assert min(distances(centers)) >= least


def least_distance(words: np.ndarray) -> int:
    inner = words @ words.T
    np.fill_diagonal(inner, -words.shape[1])
    return int(words.shape[1] - inner.max()) // 2


def orthohash_search(people: int, bits: int, rng: np.random.Generator) -> np.ndarray:
    """The words of OrthoHash's option O: at random, and rejected if too near; nearer ones after 10,000 rejections."""
    chosen, rejected, share = np.empty((0, bits)), 0, 0.61
    while len(chosen) < people:
        word = rng.choice([-1, 1], bits)
        if ((bits - chosen @ word) / 2 / bits >= share).all():
            chosen = np.vstack([chosen, word])
        elif (rejected := rejected + 1) >= 10_000:
            rejected, share = 0, share - 0.01
    return chosen


def test_the_page_says_the_least_distances_of_118_words_of_48_bits():
    people, bits, rng = 118, 48, np.random.default_rng(0)
    balanced = np.tile(np.repeat([1, -1], bits // 2), (people, 1))
    random = [least_distance(rng.permuted(balanced, axis=1)) for _ in range(10_000)]
    coins = [least_distance(rng.choice([-1, 1], (people, bits))) for _ in range(1000)]
    drawn = [
        np.median([least_distance(code_centers(people, bits, seed).numpy()) for seed in range(5)]),
        np.median(random),
        max(random),
        np.median(coins),
        least_distance(orthohash_search(people, bits, rng)),
    ]
    [table] = re.findall(r"^\| 118 words .*\n\| ---.*\n((?:\|.*\n)+)", PAGE.read_text("utf-8"), re.M)
    assert [int(row.strip("| ").split(" | ")[-1]) for row in table.splitlines()] == drawn


@given(st.integers(2, 40), st.integers(6, 20), SEEDS)
@settings(max_examples=30, deadline=None)
def test_everyone_has_a_centre_of_their_own_that_the_seed_decides(people, bits, seed):
    centers = code_centers(people, bits, seed)
    assert len(np.unique(centers.numpy(), axis=0)) == people
    assert torch.equal(centers, code_centers(people, bits, seed))


def test_as_many_people_as_words_still_fit():
    assert len(np.unique(code_centers(64, 6, seed=1).numpy(), axis=0)) == 64


def test_more_people_than_words_is_an_error():
    with pytest.raises(ValueError, match="65 people need a code centre each, but 6 bits have only 64 words"):
        code_centers(65, 6, seed=0)


@pytest.mark.parametrize(("bits", "most"), [(1, 2), (2, 4), (5, 32), (12, 4096)])
@pytest.mark.parametrize("objective", [CSQObjective, OrthoHashObjective])
def test_so_many_people_can_be_served_as_there_are_words(objective, bits, most):
    objective.check_people(most, bits)
    with pytest.raises(ValueError, match=f"{bits} bits have only {most} words"):
        objective.check_people(most + 1, bits)


@pytest.mark.parametrize(("people", "bits"), [(2, 1), (4, 2), (8, 3), (4096, 12), (8192, 13)])
def test_all_words_are_found_where_all_are_needed(people, bits):
    assert len(np.unique(code_centers(people, bits, 0), axis=0)) == people


@pytest.mark.parametrize("objective", [SoftmaxObjective, DCDHObjective, DCBHObjective])
def test_objectives_without_words_serve_any_number_of_people(objective):
    objective.check_people(10**6, 1)
