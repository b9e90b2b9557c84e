"""Every peer against its formula, written out as slow loops in float64, and the code centres."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dcbh_core import Config, Objective, Outputs, Sizes
from dcbh_core.losses import DCBHObjective
from dcbh_core.peers import (
    PEERS,
    CRHObjective,
    CSQObjective,
    DCDHObjective,
    HCLMObjective,
    OrthoHashObjective,
    SoftmaxObjective,
    chosen_anew,
    code_centers,
    hadamard,
    large_margin_proxies,
    log_cosh,
    word_heads,
)
from dcbh_core.training import Training

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


def slow_cosine(z: np.ndarray, y: np.ndarray, targets: np.ndarray, scale: float, margin: float) -> float:
    slow = 0.0
    for i in range(N):
        own = math.exp(scale * (cosine(z[i], targets[y[i]]) - margin))
        others = sum(math.exp(scale * cosine(z[i], targets[c])) for c in range(PEOPLE) if c != y[i])
        slow -= math.log(own / (own + others)) / N
    return slow


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
    check(objective, outputs, labels, {"cosine": slow_cosine(z, y, objective.centers.numpy(), 5.0, 0.3)})


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


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_crh_equals_a_slow_loop(seed):
    objective, outputs, labels = case("crh", seed, margin=0.3, quantization_weight=0.2)
    for _ in range(3):
        objective.after_backward(outputs, labels)
    z, q, _, y = arrays(outputs, labels)
    targets = np.array(
        [[b for h, w in enumerate(objective.words) for b in w[objective.chosen[h, c]]] for c in range(4)]
    )
    slow = slow_cosine(z, y, targets, math.sqrt(2) * math.log(PEOPLE - 1), 0.3)
    quantization = sum((abs(value) - 1) ** 2 for value in q.ravel()) / q.size
    check(objective, outputs, labels, {"cosine": slow, "quantization": quantization})


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_hclm_equals_a_slow_loop(seed):
    objective, outputs, labels = case("hclm", seed, scale=5.0)
    _, q, _, y = arrays(outputs, labels)
    proxies = objective.proxies.numpy()
    logits = [[5.0 * sum(a * b for a, b in zip(one, proxy, strict=True)) for proxy in proxies] for one in q]
    check(objective, outputs, labels, {"code": sum(cross_entropy(logits[i], y[i]) for i in range(N)) / N})


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
    inner = words.astype(np.float32) @ words.T.astype(np.float32)
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
@pytest.mark.parametrize("objective", [CSQObjective, OrthoHashObjective, CRHObjective])
def test_so_many_people_can_be_served_as_there_are_words(objective, bits, most):
    objective.check_people(most, bits)
    with pytest.raises(ValueError, match=f"{bits} bits have only {most} words"):
        objective.check_people(most + 1, bits)


@pytest.mark.parametrize(("people", "bits"), [(2, 1), (4, 2), (8, 3), (4096, 12), (8192, 13)])
def test_all_words_are_found_where_all_are_needed(people, bits):
    assert len(np.unique(code_centers(people, bits, 0), axis=0)) == people


@pytest.mark.parametrize("objective", [SoftmaxObjective, DCDHObjective, HCLMObjective, DCBHObjective])
def test_objectives_without_words_serve_any_number_of_people(objective):
    objective.check_people(10**6, 1)


# Words that people choose


def slow_choice(codes: np.ndarray, words: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """``chosen_anew`` in loops, by distances."""
    heads, count, length = words.shape
    result = chosen.copy()
    for h in range(heads):
        part = codes[:, h * length : (h + 1) * length]
        best: dict[int, tuple[float, int]] = {}  # word -> its best bid so far
        for person in range(len(codes)):
            distance = [sum((part[person] - words[h, w]) ** 2) for w in range(count)]
            free = [w for w in range(count) if w not in chosen[h]]
            if free:
                word = min(free, key=lambda w: distance[w])
                gain = distance[chosen[h, person]] - distance[word]
                if gain > 0 and (word not in best or gain > best[word][0]):
                    best[word] = gain, person
        for word, (_, person) in best.items():
            result[h, person] = word
    return result


CHOICES = st.tuples(st.sampled_from([(3, 4), (4, 6), (10, 8), (20, 12), (32, 5)]), SEEDS)


def choice(people: int, bits: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Codes, words and which of them people have. The codes are small whole numbers, so that gains are often equal."""
    words = word_heads(people, bits, seed)
    codes = np.random.default_rng(seed).integers(-2, 3, (people, bits))
    return torch.tensor(codes, dtype=torch.float32), words, torch.arange(people).repeat(len(words), 1)


def distance_to_targets(codes: torch.Tensor, words: torch.Tensor, chosen: torch.Tensor) -> float:
    return (codes - words.take_along_dim(chosen[:, :, None], 1).transpose(0, 1).flatten(1)).square().sum().item()


@given(CHOICES)
@settings(max_examples=50, deadline=None)
def test_a_choice_equals_a_slow_loop(drawn):
    codes, words, chosen = choice(*drawn[0], drawn[1])
    for _ in range(3):
        slow = slow_choice(codes.numpy(), words.numpy(), chosen.numpy())
        chosen = chosen_anew(codes, words, chosen)
        np.testing.assert_array_equal(chosen.numpy(), slow)


@given(CHOICES)
@settings(max_examples=50, deadline=None)
def test_choices_come_nearer_until_nobody_gains_and_no_word_is_taken_twice(drawn):
    codes, words, chosen = choice(*drawn[0], drawn[1])
    while True:
        after = chosen_anew(codes, words, chosen)
        assert all(len(set(head.tolist())) == len(codes) for head in after)
        if torch.equal(after, chosen):
            break
        assert distance_to_targets(codes, words, after) < distance_to_targets(codes, words, chosen)
        chosen = after
    near = codes.unflatten(1, (len(words), -1)).transpose(0, 1) @ words.mT
    for head, has in enumerate(chosen):
        free = [word for word in range(words.shape[1]) if word not in has]
        own = near[head].gather(1, has[:, None])
        assert not free or (near[head][:, free] <= own).all()


def test_similar_people_come_to_have_near_targets():
    codes, words, chosen = choice(16, 12, seed=0)
    pairs = torch.tensor(np.random.default_rng(0).choice([-1.0, 1.0], (8, 12)), dtype=torch.float32)
    codes = pairs.repeat_interleave(2, 0)
    for _ in range(50):
        chosen = chosen_anew(codes, words, chosen)
    targets = words.take_along_dim(chosen[:, :, None], 1).transpose(0, 1).flatten(1)
    apart = (12 - targets @ targets.T) / 2
    within = apart[torch.arange(0, 16, 2), torch.arange(1, 16, 2)].mean()
    assert within < 0.6 * apart.sum() / (16 * 15)


@pytest.mark.parametrize(
    ("people", "bits", "shape"),
    [
        (30, 24, (4, 60, 6)),
        (118, 12, (1, 236, 12)),
        (118, 36, (4, 236, 9)),
        (118, 48, (6, 236, 8)),
        (32, 5, (1, 32, 5)),
        (4, 64, (16, 8, 4)),
        (4, 67, (1, 8, 67)),
    ],
)
def test_each_head_has_as_many_words_as_it_should_and_no_word_twice(people, bits, shape):
    words = word_heads(people, bits, seed=3)
    assert words.shape == shape
    assert set(words.unique().tolist()) == {-1, 1}
    assert all(len(head.unique(dim=0)) == len(head) for head in words)
    assert torch.equal(words, word_heads(people, bits, seed=3))
    assert shape[1] == 2 ** shape[2] or not torch.equal(words, word_heads(people, bits, seed=4))


@given(SEEDS)
@settings(max_examples=10, deadline=None)
def test_crh_remembers_a_persons_codes_less_the_older_they_are(seed):
    objective, outputs, labels = case("crh", seed)
    steps = 4
    slow = np.zeros((PEOPLE, BITS))
    for age in reversed(range(steps)):
        z = outputs.continuous.detach() * (-1) ** age
        objective.after_backward(outputs._replace(continuous=z), labels)
        for i, person in enumerate(labels):
            slow[person] += 0.9**age * np.sign(z[i].numpy())
    np.testing.assert_allclose(objective.codes.numpy(), slow)


def test_crh_is_moved_by_choices_alone_and_all_of_it_is_saved(tiny):
    training = Training(Config(objective="crh", width=0.05, bits=8, epochs=2, device="cpu").resolved(), tiny)
    assert not list(training.objective.parameters())
    assert set(training.objective.state_dict()) == {"words", "chosen", "codes"}
    before = {name: value.clone() for name, value in training.objective.state_dict().items()}
    training.run_epoch()
    moved = [name for name, value in training.objective.state_dict().items() if not torch.equal(value, before[name])]
    assert moved == ["chosen", "codes"]


def test_crh_goes_on_from_a_checkpoint_to_the_same_weights_and_targets(tiny, tmp_path):
    config = Config(objective="crh", width=0.05, bits=8, epochs=4, batch_size=8, device="cpu").resolved()
    whole, cut = Training(config, tiny), Training(config, tiny)
    for _ in range(2):
        cut.run_epoch()
    cut.save(tmp_path / "checkpoint.pt")
    resumed = Training(config, tiny)
    resumed.load(tmp_path / "checkpoint.pt")
    for training, epochs in ((whole, 4), (resumed, 2)):
        for _ in range(epochs):
            training.run_epoch()
    for part in ("model", "objective"):
        for name, value in whole.state()[part].items():
            assert torch.equal(value, resumed.state()[part][name]), name
    assert not torch.equal(whole.objective.chosen, Training(config, tiny).objective.chosen)


# Proxies


def proxy_cosines(proxies: torch.Tensor) -> np.ndarray:
    """Of each two different ones."""
    unit = proxies.double().numpy() * math.sqrt(proxies.shape[1])
    return (unit @ unit.T)[~np.eye(len(unit), dtype=bool)]


@pytest.mark.parametrize(("people", "bits"), [(2, 1), (2, 5), (4, 6), (7, 6), (13, 12), (30, 48)])
def test_so_few_proxies_form_a_regular_simplex(people, bits):
    np.testing.assert_allclose(proxy_cosines(large_margin_proxies(people, bits, 0)), -1 / (people - 1), atol=2e-3)


@pytest.mark.parametrize("bits", [6, 12, 24])
def test_twice_as_many_proxies_as_bits_form_a_cross_polytope(bits):
    cosines = proxy_cosines(large_margin_proxies(2 * bits, bits, 0))
    assert cosines.max() == pytest.approx(0, abs=2e-3)
    assert cosines.min() == pytest.approx(-1, abs=2e-3)


@pytest.mark.parametrize(("people", "bits"), [(60, 24), (118, 12), (118, 48)])
def test_proxies_are_farther_apart_than_words_and_as_near_to_bits_as_a_turn_brings_them(people, bits, monkeypatch):
    proxies = large_margin_proxies(people, bits, 0)
    torch.testing.assert_close(proxies.norm(dim=1), torch.full((people,), bits**-0.5))
    words = code_centers(people, bits, 0)
    assert proxy_cosines(proxies).max() < proxy_cosines(words / bits**0.5).max()
    monkeypatch.setattr("dcbh_core.peers.TURNING", 0)
    unturned = large_margin_proxies(people, bits, 0)
    np.testing.assert_allclose(proxy_cosines(proxies), proxy_cosines(unturned), atol=1e-5)
    assert proxies.abs().sum(1).mean() > unturned.abs().sum(1).mean() + 0.02  # at most 1, of a word


def test_proxies_are_drawn_by_the_seed_and_are_no_weights():
    one, again, other = (case("hclm", seed)[0] for seed in (1, 1, 2))
    assert torch.equal(one.proxies, again.proxies)
    assert not torch.equal(one.proxies, other.proxies)
    assert not list(one.parameters())
    assert set(one.state_dict()) == {"proxies"}


def test_hclms_loss_falls_all_the_way_to_the_signs_of_the_own_proxy():
    objective, outputs, _ = case("hclm", 0)
    labels = torch.arange(PEOPLE)
    losses = []
    for size in (0.0, 0.25, 0.5, 0.75, 1.0):
        relaxed = size * objective.proxies.sign()
        losses.append(objective(outputs._replace(relaxed=relaxed), labels)[0].item())
    assert losses == sorted(losses, reverse=True)
    assert losses[0] == pytest.approx(math.log(PEOPLE))
