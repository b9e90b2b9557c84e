import dataclasses
import itertools
import sys

import numpy as np
import pytest
import torch

from dcbh_core import Config, evaluate, train
from dcbh_core.peers import OBJECTIVES
from dcbh_core.training import Training, TrainingDiverged, augmented, progress_bar
from tests.conftest import synthetic_faces

FAST = Config(width=0.05, bits=8, epochs=3, batch_size=8, device="cpu", dtype="float32")
PUBLISHED = dataclasses.replace(FAST, recipe="published")
RECIPES = pytest.mark.parametrize("config", [FAST, PUBLISHED], ids=["modern", "published"])


def weights(model: torch.nn.Module) -> np.ndarray:
    return torch.cat([tensor.flatten().double() for tensor in model.state_dict().values()]).numpy()


@RECIPES
def test_a_seed_gives_identical_histories_and_weights(tiny, config):
    (one, first), (other, second) = train(config, tiny), train(config, tiny)
    assert first == second
    np.testing.assert_array_equal(weights(one), weights(other))


def test_another_seed_gives_another_history(tiny):
    assert train(FAST, tiny)[1] != train(dataclasses.replace(FAST, seed=1), tiny)[1]


def test_training_leaves_the_callers_random_numbers_alone(tiny):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    train(FAST, tiny)
    assert torch.rand(1) == expected


@RECIPES
def test_the_history_has_one_row_of_terms_for_each_epoch(tiny, config):
    _, history = train(config, tiny)
    assert len(history) == 3
    for means in history:
        assert list(means) == ["code", "feature", "quantization", "center", "total"]
        weighted = means["code"] + means["feature"] + 0.1 * means["quantization"] + 1e-4 * means["center"]
        assert means["total"] == pytest.approx(weighted, rel=1e-5)


@pytest.mark.parametrize("head", ["block", "fc", "divide_encode"])
def test_training_learns_to_retrieve(head):
    faces = synthetic_faces(people=5, each=12)
    known, queries = faces.labels.argsort(kind="stable").reshape(5, 12)[:, :8], slice(8, None)
    gallery = dataclasses.replace(faces, images=faces.images[known.ravel()], labels=faces.labels[known.ravel()])
    held = faces.labels.argsort(kind="stable").reshape(5, 12)[:, queries].ravel()
    model, _ = train(dataclasses.replace(FAST, head=head, bits=12, epochs=60, width=0.125), gallery)
    codes = model.encode(faces.images[held]), faces.labels[held], model.encode(gallery.images), gallery.labels
    assert evaluate(*codes).map > 0.9


@pytest.mark.parametrize("objective", [name for name in OBJECTIVES if name != "dcbh"])
def test_every_objective_learns_to_retrieve(objective):
    faces = synthetic_faces(people=5, each=12)
    held = np.arange(len(faces)) % 12 >= 8
    gallery, queries = faces.select(~held), faces.select(held)
    config = dataclasses.replace(FAST, objective=objective, bits=12, epochs=60, width=0.125)
    model, history = train(config, gallery)
    report = evaluate(model.encode(queries.images), queries.labels, model.encode(gallery.images), gallery.labels)
    assert report.map > 0.9
    assert list(history[0]) == [*OBJECTIVES[objective](config.resolved(), 5).weights, "total"]


@pytest.mark.parametrize("objective", ["csq", "dcdh"])
@pytest.mark.parametrize("recipe", ["modern", "published"])
def test_peers_move_their_learnable_centres_alone(tiny, objective, recipe):
    training = Training(dataclasses.replace(FAST, objective=objective, recipe=recipe).resolved(), tiny)
    before = training.objective.centers.detach().clone()
    training.run_epoch()
    assert torch.equal(training.objective.centers.detach(), before) == (objective == "csq")


class Interrupted(Exception):
    pass


@RECIPES
@pytest.mark.parametrize("stop", [1, 2])
def test_an_interrupted_training_ends_at_the_same_weights(tiny, tmp_path, monkeypatch, config, stop):
    whole, history = train(config, tiny)
    original, count = Training.run_epoch, itertools.count()

    def interrupted(self):
        if next(count) == stop:
            raise Interrupted
        return original(self)

    monkeypatch.setattr(Training, "run_epoch", interrupted)
    with pytest.raises(Interrupted):
        train(config, tiny, tmp_path / "checkpoint.pt", checkpoint_seconds=0)
    monkeypatch.setattr(Training, "run_epoch", original)
    resumed, resumed_history = train(config, tiny, tmp_path / "checkpoint.pt", checkpoint_seconds=0)
    assert resumed_history == history
    np.testing.assert_array_equal(weights(resumed), weights(whole))


def test_a_checkpoint_saves_the_epochs_that_were_run(tiny, tmp_path, monkeypatch):
    train(FAST, tiny, tmp_path / "checkpoint.pt", checkpoint_seconds=0)
    monkeypatch.setattr(Training, "run_epoch", lambda self: pytest.fail("trained again"))
    _, history = train(FAST, tiny, tmp_path / "checkpoint.pt")
    assert len(history) == 3


@pytest.mark.parametrize("damage", [b"", b"no checkpoint", None])
def test_a_damaged_checkpoint_is_named(tiny, tmp_path, damage):
    path = tmp_path / "checkpoint.pt"
    train(FAST, tiny, path, checkpoint_seconds=0)
    path.write_bytes(path.read_bytes()[:1000] if damage is None else damage)
    with pytest.raises(ValueError, match=r"checkpoint\.pt cannot be read; delete it"):
        train(FAST, tiny, path)


def test_a_checkpoint_of_another_config_is_refused(tiny, tmp_path):
    train(FAST, tiny, tmp_path / "checkpoint.pt", checkpoint_seconds=0)
    with pytest.raises(ValueError, match="has another center_weight, seed"):
        train(dataclasses.replace(FAST, center_weight=0, seed=4), tiny, tmp_path / "checkpoint.pt")


def test_a_checkpoint_of_other_faces_is_refused(tiny, tmp_path):
    train(FAST, tiny, tmp_path / "checkpoint.pt", checkpoint_seconds=0)
    with pytest.raises(ValueError, match="other faces"):
        train(FAST, synthetic_faces(4, 6, seed=1), tmp_path / "checkpoint.pt")


@pytest.mark.parametrize(("term", "field"), [("code", None), ("center", "center_weight")])
def test_a_term_that_diverges_is_named_and_the_last_good_state_kept(tiny, tmp_path, monkeypatch, term, field):
    path = tmp_path / "checkpoint.pt"
    original, count = Training.run_epoch, itertools.count(1)

    def poisoned(self):
        if next(count) == 3:
            objective = self.objective.forward

            def forward(outputs, labels):
                total, terms = objective(outputs, labels)
                return total * torch.nan, terms | {term: terms[term] * torch.nan}

            monkeypatch.setattr(self.objective, "forward", forward)
        return original(self)

    monkeypatch.setattr(Training, "run_epoch", poisoned)
    with pytest.raises(TrainingDiverged, match=f"epoch 3, step 1 of 3, term '{term}'"):
        train(FAST, tiny, path, checkpoint_seconds=0)
    assert torch.load(path, weights_only=True)["epoch"] == 2


def test_a_learning_rate_beyond_reason_is_reported(tiny):
    with pytest.raises(TrainingDiverged, match=r"smaller learning_rate \(now 1e\+30\)"):
        train(dataclasses.replace(FAST, learning_rate=1e30, epochs=20), tiny)


def test_one_person_cannot_be_trained_on():
    with pytest.raises(ValueError, match="at least two people, not 1"):
        train(FAST, synthetic_faces(1, 4))


def test_a_last_batch_of_one_face_is_refused_before_training(tiny):
    with pytest.raises(ValueError, match="batch_size=23 leaves a last batch of one of 24 faces"):
        train(dataclasses.replace(PUBLISHED, batch_size=23), tiny)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@RECIPES
def test_recorded_steps_on_cuda_train_as_single_ones_do(tiny, monkeypatch, config):
    config = dataclasses.replace(config, device="cuda", epochs=8)
    recorded, history = train(config, tiny)
    again, same_history = train(config, tiny)
    monkeypatch.setattr("dcbh_core.training.STEPS_BEFORE_RECORDING", 10**9)
    single, single_history = train(config, tiny)
    assert history == same_history == single_history
    for model in (again, single):
        np.testing.assert_array_equal(weights(model.cpu()), weights(recorded.cpu()))


# The two recipes, step by step


def positions(batches, faces) -> list[list[int]]:
    """Where each batch's images stand in ``faces``; their labels must stand there too."""
    where = {image.tobytes(): i for i, image in enumerate(faces.images)}
    found = [[where[np.ascontiguousarray(image).tobytes()] for image in images.numpy()] for images, _ in batches]
    for batch, (_, labels) in zip(found, batches, strict=True):
        assert labels.tolist() == faces.labels[batch].tolist()
    return found


def test_modern_batches_are_a_new_permutation_of_nearly_equal_parts_each_epoch(tiny):
    training = Training(dataclasses.replace(FAST, batch_size=7, augment=False).resolved(), tiny)
    epochs = [positions(training._batches(torch.Generator().manual_seed(epoch)), tiny) for epoch in range(2)]
    for batches in epochs:
        assert [len(batch) for batch in batches] == [6, 6, 6, 6]
        assert sorted(itertools.chain(*batches)) == list(range(24))
    assert epochs[0] != epochs[1]


@RECIPES
def test_what_is_augmented_is_what_is_trained_on(tiny, config):
    plain, moved = (
        Training(dataclasses.replace(config, augment=augment).resolved(), tiny)._batches(
            torch.Generator().manual_seed(0)
        )
        for augment in (False, True)
    )
    assert [labels.tolist() for _, labels in plain] == [labels.tolist() for _, labels in moved]
    assert not torch.equal(torch.cat([images for images, _ in plain]), torch.cat([images for images, _ in moved]))


def test_published_batches_are_in_file_order_with_a_partial_last(tiny):
    training = Training(dataclasses.replace(PUBLISHED, batch_size=10).resolved(), tiny)
    batches = positions(training._batches(torch.Generator()), tiny)
    assert batches == [[*range(10)], [*range(10, 20)], [*range(20, 24)]]


def test_modern_learning_rate_warms_up_and_falls_along_a_cosine(tiny):
    training = Training(FAST.resolved(), tiny)
    rates = []
    for step in range(100):
        training._set_learning_rate(step, 100)
        rates.append(float(training.optimizer.param_groups[0]["lr"]))
    assert rates[:10] == pytest.approx([1e-4 * i for i in range(1, 11)])
    assert rates[55] == pytest.approx(0.5e-3)
    assert rates == sorted(rates[:10]) + sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 1e-6


def test_published_learning_rate_is_constant(tiny):
    training = Training(PUBLISHED.resolved(), tiny)
    training._set_learning_rate(99, 100)
    assert float(training.optimizer.param_groups[0]["lr"]) == pytest.approx(1e-3)


def test_weight_decay_falls_on_kernels_alone(tiny):
    training = Training(FAST.resolved(), tiny)
    decayed, rest = training.optimizer.param_groups
    kernels = {id(p) for name, p in training.model.named_parameters() if p.ndim > 1}
    assert {id(p) for p in decayed["params"]} == kernels
    assert decayed["weight_decay"] == 2e-4
    assert rest["weight_decay"] == 0
    assert len(rest["params"]) + len(kernels) == len(list(training.model.parameters()))


def test_one_step_of_adam_with_weight_decay_is_the_papers_term(tiny):
    """Against autograd of the loss with 1/2 weight_decay ||W||^2 written out: Adam keeps 0.1 of its gradient."""
    config = dataclasses.replace(FAST, batch_size=24, epochs=1, augment=False, weight_decay=0.3).resolved()
    training, twin = Training(config, tiny), Training(config, tiny)
    training.run_epoch()
    images, labels = twin._batches(torch.Generator().manual_seed(0))[0]
    twin.model.train()
    total, _ = twin.objective(twin.model(images), labels)
    kernels = [p for p in twin.model.parameters() if p.ndim > 1]
    (total + 0.5 * 0.3 * sum(kernel.square().sum() for kernel in kernels)).backward()
    for kernel, same in zip(kernels, [p for p in training.model.parameters() if p.ndim > 1], strict=True):
        moment = training.optimizer.state[same]["exp_avg"]
        torch.testing.assert_close(moment, 0.1 * kernel.grad, rtol=1e-3, atol=1e-6)


def test_adam_moves_the_centres_in_published_alone(tiny):
    modern, published = Training(FAST.resolved(), tiny), Training(PUBLISHED.resolved(), tiny)
    assert not modern.objective.centers.requires_grad
    groups = published.optimizer.param_groups
    assert any(p is published.objective.centers for p in groups[1]["params"])
    assert not any(p is published.objective.centers for p in groups[0]["params"])


@pytest.mark.parametrize(("config", "passes"), [(FAST, 3), (PUBLISHED, 6)], ids=["modern", "published"])
def test_published_moves_the_batch_statistics_twice_a_batch(tiny, config, passes):
    training = Training(config.resolved(), tiny)
    training.run_epoch()
    norm = next(m for m in training.model.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert norm.num_batches_tracked == passes


def test_published_rolls_back_to_its_best_epoch(tiny, monkeypatch):
    monkeypatch.setattr("dcbh_core.training.ROLLBACK_EVERY", 3)
    training = Training(dataclasses.replace(PUBLISHED, epochs=9).resolved(), tiny)
    totals = iter([5.0, 1.0, 2.0])
    monkeypatch.setattr(training, "_means", lambda losses: {"total": next(totals)})
    snapshots = []
    for _ in range(3):
        steps_before = training.optimizer.state_dict()["state"]
        training.run_epoch()
        snapshots.append((weights(training.model), training.objective.centers.detach().clone()))
    assert steps_before
    training_best = training.best
    assert training_best is not None
    best = torch.cat([t.flatten().double() for t in training_best["model"].values()]).numpy()
    np.testing.assert_array_equal(snapshots[2][0], best)
    np.testing.assert_array_equal(snapshots[2][0], snapshots[1][0])
    assert torch.equal(snapshots[2][1], snapshots[1][1])
    assert not np.array_equal(snapshots[0][0], snapshots[1][0])
    assert {int(s["step"]) for s in training.optimizer.state_dict()["state"].values()} == {6}  # two epochs of three


def test_modern_keeps_its_last_weights(tiny):
    training = Training(FAST.resolved(), tiny)
    for _ in range(3):
        training.run_epoch()
    assert training.best is None


# Augmentation


def shifted(image: np.ndarray, down: int, right: int, flip: bool) -> np.ndarray:
    """The obvious way: pad by repeating the border, cut out, flip."""
    padded = np.pad(image, ((0, 0), (2, 2), (2, 2)), mode="edge")
    cut = padded[:, 2 + down : 34 + down, 2 + right : 34 + right]
    return cut[:, :, ::-1] if flip else cut


def test_augmentation_is_a_flip_and_a_shift_of_each_image():
    images = np.random.default_rng(0).integers(0, 256, (200, 3, 32, 32), dtype=np.uint8)
    results = augmented(torch.as_tensor(images), torch.Generator().manual_seed(0)).numpy()
    seen = set()
    moves = list(itertools.product(range(-2, 3), range(-2, 3), [False, True]))
    for image, result in zip(images, results, strict=True):
        found = [move for move in moves if np.array_equal(shifted(image, *move), result)]
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) > 40  # of 50; images of one batch differ in their moves


def test_augmentation_leaves_channels_last():
    images = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    assert augmented(images, torch.Generator()).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("notebook", [True, False])
def test_progress_bars_can_be_silenced_in_terminals_and_notebooks(notebook, monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    if notebook:
        monkeypatch.setitem(sys.modules, "ipykernel", sys)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    assert progress_bar(total=1).disable
    monkeypatch.delenv("TQDM_DISABLE")
    assert progress_bar(total=1).disable != notebook  # pytest has no terminal to draw in
