import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dcbh_core import Config
from dcbh_core.losses import DCBHObjective, center_loss, moved_centers, quantization_loss
from dcbh_core.model import Outputs

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


def outputs_and_labels() -> tuple[Outputs, torch.Tensor]:
    rng = np.random.default_rng(3)
    sizes = ((7, 6), (7, 2), (7, 2), (7, 4), (7, 4))
    values = [torch.tensor(rng.normal(size=size), requires_grad=True) for size in sizes]
    return Outputs(*values), torch.tensor(rng.integers(0, 4, 7))


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean([np.log(np.exp(row).sum()) - row[y] for row, y in zip(logits, labels, strict=True)]))


def objective(**fields: float) -> DCBHObjective:
    return DCBHObjective(Config(bits=2, block_size=3, **fields).resolved(), 4).double()


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
