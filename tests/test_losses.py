import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dcbh_core import Objective, Outputs, Sizes
from dcbh_core.losses import (
    OBJECTIVES,
    DCBHObjective,
    SoftBlockObjective,
    center_loss,
    moved_centers,
    quantization_loss,
)
from dcbh_core.peers import PEERS

SEEDS = st.integers(0, 2**32 - 1)


def batch(seed: int, n: int = 7, people: int = 4, d: int = 6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Descriptors, labels (repeated: 7 faces of 4 people) and centres in float64."""
    rng = np.random.default_rng(seed)
    return (
        torch.tensor(rng.normal(size=(n, d))),
        torch.tensor(rng.integers(0, people, n)),
        torch.tensor(rng.normal(size=(people, d))),
    )


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_center_loss_equals_a_slow_loop(seed):
    f, labels, centers = batch(seed)
    slow = 0.0
    for i in range(len(f)):
        for j in range(f.shape[1]):
            slow += 0.5 * float(f[i, j] - centers[labels[i], j]) ** 2
    assert center_loss(f, labels, centers).item() == pytest.approx(slow)


def test_center_loss_is_a_sum_over_the_batch():
    f, labels, centers = batch(0)
    twice = center_loss(f.repeat(2, 1), labels.repeat(2), centers)
    torch.testing.assert_close(twice, 2 * center_loss(f, labels, centers))


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_moved_centers_equal_a_slow_loop_with_repeated_labels(seed):
    f, labels, centers = batch(seed)
    slow = centers.clone()
    for person in range(len(centers)):
        total, count = centers[person].clone(), 1
        for i in range(len(f)):
            if labels[i] == person:
                total, count = total + f[i], count + 1
        slow[person] = total / count
    torch.testing.assert_close(moved_centers(f, labels, centers), slow)


def test_people_absent_from_the_batch_keep_their_centre():
    f, _, centers = batch(0)
    moved = moved_centers(f, torch.zeros(len(f), dtype=torch.int64), centers)
    torch.testing.assert_close(moved[1:], centers[1:])
    assert not torch.equal(moved[0], centers[0])


@given(SEEDS, st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_quantization_loss_equals_a_slow_loop(seed, target):
    q = np.random.default_rng(seed).uniform(-1, 1, (3, 5))
    slow = sum(abs(target - abs(q[i, b])) for i in range(3) for b in range(5)) / 15
    assert quantization_loss(torch.tensor(q), target).item() == pytest.approx(slow)


@pytest.mark.parametrize(("q", "least"), [(np.tanh(1 / 6 - 0.5), 0.178), (np.tanh(0.5), 0.038)])
def test_the_block_head_cannot_reach_the_papers_target(q, least):
    assert quantization_loss(torch.tensor([[q]]), 0.5).item() == pytest.approx(least, abs=5e-4)


def test_quantization_pushes_away_from_zero_on_its_own_side():
    q = torch.tensor([[-0.1, 0.1]], requires_grad=True)
    quantization_loss(q, 0.5).backward()
    assert q.grad is not None
    assert q.grad[0, 0] > 0  # a descent step makes the negative one more negative
    assert q.grad[0, 1] < 0


def outputs_and_labels(seed: int = 3) -> tuple[Outputs, torch.Tensor]:
    rng = np.random.default_rng(seed)
    sizes = ((7, 6), (7, 2), (7, 2), (7, 4), (7, 4))
    values = [torch.tensor(rng.normal(size=size), requires_grad=True) for size in sizes]
    return Outputs(*values), torch.tensor(rng.integers(0, 4, 7))


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean([np.log(np.exp(row).sum()) - row[y] for row, y in zip(logits, labels, strict=True)]))


SIZES = Sizes(num_identities=4, bits=2, descriptor_size=6)


def objective(**constants: float) -> DCBHObjective:
    return DCBHObjective(SIZES, **constants).double()


def test_total_is_the_papers_weighted_sum():
    dcbh, (outputs, labels) = objective(), outputs_and_labels()
    total, terms = dcbh(outputs, labels)
    code = cross_entropy(outputs.code_logits.detach().numpy(), labels.numpy())
    feature = cross_entropy(outputs.feature_logits.detach().numpy(), labels.numpy())
    q, f, c = outputs.relaxed.detach(), outputs.descriptor.detach(), dcbh.centers.detach()
    quantization = float((0.5 - q.abs()).abs().mean())
    center = 0.5 * float(((f - c[labels]) ** 2).sum())
    slow = {"code": code, "feature": feature, "quantization": quantization, "center": center}
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(slow)
    assert total.item() == pytest.approx(code + feature + 0.1 * quantization + 1e-4 * center)


@given(SEEDS, st.floats(0.1, 1), st.floats(0, 3), st.floats(0, 3))
@settings(max_examples=20, deadline=None)
def test_soft_block_equals_a_slow_loop(seed, target, quantization_weight, center_weight):
    constants = {"quantization_target": target, "quantization_weight": quantization_weight}
    soft = SoftBlockObjective(SIZES, **constants, center_weight=center_weight).double()
    outputs, labels = outputs_and_labels(seed)
    f, q, centers = outputs.descriptor.detach(), outputs.relaxed.detach(), soft.centers.detach()
    slow = {
        "code": cross_entropy(outputs.code_logits.detach().numpy(), labels.numpy()),
        "quantization": sum(abs(target - abs(float(value))) for value in q.flatten()) / q.numel(),
        "center": 0.0,
    }
    for i in range(len(f)):
        own = centers[labels[i]]
        cosine = float(f[i] @ own) / (float(f[i] @ f[i]) * float(own @ own)) ** 0.5
        slow["center"] += (1 - cosine) / len(f)
    total, terms = soft(outputs, labels)
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(slow)
    weighted = slow["code"] + quantization_weight * slow["quantization"] + center_weight * slow["center"]
    assert total.item() == pytest.approx(weighted)


@given(st.floats(0.01, 100))
@settings(max_examples=20, deadline=None)
def test_the_centre_loss_of_soft_blocks_grows_neither_with_the_descriptor_nor_with_the_batch(scale):
    soft, (outputs, labels) = SoftBlockObjective(SIZES).double(), outputs_and_labels()
    once = soft.compute(outputs, labels)["center"]
    longer = outputs._replace(descriptor=scale * outputs.descriptor)
    twice = Outputs(*(value.repeat(2, 1) for value in outputs))
    torch.testing.assert_close(soft.compute(longer, labels)["center"], once)
    torch.testing.assert_close(soft.compute(twice, labels.repeat(2))["center"], once)


@pytest.mark.parametrize(
    ("field", "output"), [("feature_weight", "feature_logits"), ("quantization_weight", "relaxed")]
)
def test_a_term_of_weight_0_has_no_gradient_and_is_still_shown(field, output):
    outputs, labels = outputs_and_labels()
    total, terms = objective(**{field: 0.0})(outputs, labels)
    total.backward()
    assert getattr(outputs, output).grad is None
    assert terms[field.removesuffix("_weight")] > 0


def test_a_center_weight_of_0_leaves_the_descriptor_alone():
    outputs, labels = outputs_and_labels()
    total, _ = objective(center_weight=0.0)(outputs, labels)
    total.backward()
    assert outputs.descriptor.grad is None


def test_an_infinite_term_of_weight_0_does_not_reach_the_total():
    outputs, labels = outputs_and_labels()
    outputs = outputs._replace(descriptor=torch.full((7, 6), torch.inf, dtype=torch.float64))
    total, _ = objective(center_weight=0.0)(outputs, labels)
    assert total.isfinite()


def test_gradients_are_taken_with_the_old_centres_which_then_move():
    dcbh, (outputs, labels) = objective(center_weight=1.0), outputs_and_labels()
    old = dcbh.centers.detach().clone()
    total, _ = dcbh(outputs, labels)
    total.backward()
    dcbh.after_backward(outputs, labels)
    torch.testing.assert_close(outputs.descriptor.grad, outputs.descriptor.detach() - old[labels])
    torch.testing.assert_close(dcbh.centers.detach(), moved_centers(outputs.descriptor.detach(), labels, old))


# --- What every objective states of itself ----------------------------------------------------------------------------

ALL = {**OBJECTIVES, **PEERS}


@pytest.mark.parametrize("name", ALL)
def test_an_objective_gives_the_terms_that_it_states_from_the_classifiers_that_it_asks_for(name):
    outputs, labels = outputs_and_labels()
    logits = {f"{one}_logits": None for one in ("code", "feature") if one not in ALL[name].classifiers}
    made = ALL[name](SIZES).double()
    _, terms = made(outputs._replace(**logits), labels)
    assert tuple(terms) == ALL[name].terms == tuple(made.weights)
    assert all(term.shape == () for term in terms.values())


@pytest.mark.parametrize("name", ALL)
def test_constants_are_attributes_and_weights_those_of_their_terms(name):
    for constant, default in ALL[name].constants.items():
        made = ALL[name](SIZES, **{constant: default + 1})
        assert getattr(made, constant) == default + 1
        expected = {term: ALL[name].constants.get(f"{term}_weight", 1) for term in ALL[name].terms}
        if constant.endswith("_weight"):
            expected[constant.removesuffix("_weight")] += 1
        assert made.weights == expected


class TwoTerms(Objective):
    terms = ("one", "two")
    constants = {"two_weight": 3.0, "sharpness": 1.0}  # noqa: RUF012
    positive = frozenset({"sharpness"})

    def compute(self, outputs, labels):
        return {"one": outputs.relaxed.sum(), "two": outputs.relaxed.square().sum()}


@given(SEEDS, st.floats(0, 5))
@settings(max_examples=20, deadline=None)
def test_the_total_of_any_objective_is_the_weighted_sum_of_its_terms(seed, weight):
    outputs, labels = outputs_and_labels(seed)
    total, terms = TwoTerms(SIZES, two_weight=weight)(outputs, labels)
    assert total.item() == pytest.approx(terms["one"].item() + weight * terms["two"].item())


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({"two_weight": -1}, "two_weight must be 0 or more, not -1"),
        ({"sharpness": 0}, "sharpness must be above 0, not 0"),
        ({"sharpness": -1}, "sharpness must be above 0, not -1"),
    ],
)
def test_impossible_constants_are_named(constants, message):
    TwoTerms.check({"two_weight": 0, "sharpness": 0.1})
    with pytest.raises(ValueError, match=message):
        TwoTerms.check(constants)
