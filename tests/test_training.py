import dataclasses
import itertools
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dcbh_core import Config, Faces, evaluate, train
from dcbh_core.losses import OBJECTIVES
from dcbh_core.peers import PEERS
from dcbh_core.training import (
    TRAININGS,
    DamagedCheckpoint,
    Training,
    TrainingDiverged,
    augmented,
    progress_bar,
)
from tests.conftest import resumed, synthetic_faces

FAST = Config(width=0.05, bits=8, epochs=3, batch_size=8, device="cpu", dtype="float32")
PUBLISHED = dataclasses.replace(FAST, recipe="published")
RECIPES = pytest.mark.parametrize("config", [FAST, PUBLISHED], ids=["modern", "published"])


OWN = """
import torch

from dcbh_core import Head, Objective


class MeanHead(Head):
    relu = False

    def forward(self, f):
        return f.unflatten(1, (self.bits, self.size)).mean(2)


class Pull(Objective):
    head = "direct"
    terms = ("pull",)
    constants = {"scale": 4.0}

    def __init__(self, sizes, **constants):
        super().__init__(sizes, **constants)
        self.weight = torch.nn.Parameter(torch.randn(sizes.num_identities, sizes.bits))

    def compute(self, outputs, labels):
        return {"pull": torch.nn.functional.cross_entropy(self.scale * outputs.relaxed @ self.weight.T, labels)}
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    """The path of a file with a head and an objective of one's own."""
    (tmp_path / "own.py").write_text(OWN)
    return str(tmp_path / "own.py")


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


def retrieval_map(config: Config) -> float:
    """MAP of a network trained on eight photographs each of five people, for four more of each."""
    faces = synthetic_faces(people=5, each=12)
    held = np.arange(len(faces)) % 12 >= 8
    gallery, queries = faces.select(~held), faces.select(held)
    model, _ = train(dataclasses.replace(config, bits=12, epochs=60, width=0.125), gallery)
    return evaluate(model.encode(queries.images), queries.labels, model.encode(gallery.images), gallery.labels).map


@pytest.mark.parametrize("head", ["fc", "divide_encode"])
def test_training_learns_to_retrieve_with_every_head(head):
    assert retrieval_map(dataclasses.replace(FAST, head=head)) > 0.9


@pytest.mark.parametrize("objective", [*OBJECTIVES, *PEERS])
def test_training_learns_to_retrieve_with_every_objective(objective):
    assert retrieval_map(dataclasses.replace(FAST, objective=objective)) > 0.9


@pytest.mark.parametrize("method", [{"head": "MeanHead"}, {"objective": "Pull"}], ids=["head", "objective"])
def test_training_learns_to_retrieve_with_a_method_of_ones_own(own, method):
    named = {kind: f"{own}:{name}" for kind, name in method.items()}
    assert retrieval_map(dataclasses.replace(FAST, **named)) > 0.9


def test_head_and_objective_of_ones_own_go_together(tiny, own):
    config = dataclasses.replace(FAST, head=f"{own}:MeanHead", objective=f"{own}:Pull", epochs=1)
    model, history = train(config, tiny)
    assert type(model.head).__name__ == "MeanHead"
    assert list(history[0]) == ["pull", "total"]


@pytest.mark.parametrize("objective", [*OBJECTIVES, *PEERS])
def test_the_history_names_the_terms_of_the_objective(tiny, objective):
    _, history = train(dataclasses.replace(FAST, objective=objective, epochs=1), tiny)
    assert list(history[0]) == [*{**OBJECTIVES, **PEERS}[objective].terms, "total"]


def test_constants_of_ones_own_reach_the_objective(tiny, own):
    config = dataclasses.replace(FAST, objective=f"{own}:Pull", epochs=1)
    one, other = (train(dataclasses.replace(config, scale=scale), tiny)[1] for scale in (4.0, 0.5))
    assert list(one[0]) == ["pull", "total"]
    assert one == train(config, tiny)[1]
    assert one != other


def test_a_broken_method_of_ones_own_is_found_before_training_begins(tiny, own, monkeypatch):
    Path(own).write_text(OWN.replace("mean(2)", "mean(1)"))
    monkeypatch.setattr(Training, "__init__", lambda *_: pytest.fail("began"))
    with pytest.raises(ValueError, match=r"own\.py, line 10, MeanHead\.forward: it must give z"):
        train(dataclasses.replace(FAST, head=f"{own}:MeanHead"), tiny)


@pytest.mark.parametrize("objective", ["csq", "dcdh"])
@pytest.mark.parametrize("recipe", ["modern", "published"])
def test_peers_move_their_learnable_centres_alone(tiny, objective, recipe):
    training = TRAININGS[recipe](dataclasses.replace(FAST, objective=objective, recipe=recipe).resolved(), tiny)
    before = training.objective.centers.detach().clone()
    training.run_epoch()
    assert torch.equal(training.objective.centers.detach(), before) == (objective == "csq")


# --- Checkpoints ------------------------------------------------------------------------------------------------------


@RECIPES
@pytest.mark.parametrize("stop", [1, 2])
def test_an_interrupted_training_ends_at_the_same_weights(tiny, tmp_path, config, stop):
    whole, history = train(config, tiny)
    again, again_history = resumed(config, tiny, tmp_path / "checkpoint.pt", stop)
    assert again_history == history
    np.testing.assert_array_equal(weights(again), weights(whole))


def test_a_checkpoint_saves_the_epochs_that_were_run(tiny, tmp_path, monkeypatch):
    train(FAST, tiny, tmp_path / "checkpoint.pt", checkpoint_seconds=0)
    monkeypatch.setattr(Training, "run_epoch", lambda self: pytest.fail("trained again"))
    _, history = train(FAST, tiny, tmp_path / "checkpoint.pt")
    assert len(history) == 3


@pytest.fixture(scope="module")
def checkpoint(tiny, tmp_path_factory) -> bytes:
    """The content of the checkpoint after the last but one epoch."""
    path = tmp_path_factory.mktemp("whole") / "checkpoint.pt"
    training = started(FAST, tiny)
    training.run_epoch()
    training.run_epoch()
    training.save(path)
    return path.read_bytes()


@RECIPES
@pytest.mark.parametrize("damage", [lambda whole: b"", lambda whole: b"no checkpoint", lambda whole: whole[:1000]])
def test_a_damaged_checkpoint_is_a_warning_and_changes_no_result(tiny, tmp_path, config, damage):
    undisturbed, history = train(config, tiny)
    path = tmp_path / "checkpoint.pt"
    train(config, tiny, path, checkpoint_seconds=0)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(UserWarning, match=r"checkpoint\.pt is damaged; training starts again"):
        model, again = train(config, tiny, path)
    assert again == history
    np.testing.assert_array_equal(weights(model), weights(undisturbed))


@given(st.data())
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_damage_goes_unnoticed(tiny, tmp_path, checkpoint, data):
    """Weights in which a bit has flipped are weights, too."""
    damaged = bytearray(checkpoint)
    if data.draw(st.booleans()):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    else:
        del damaged[data.draw(st.integers(0, len(damaged) - 1)) :]
    (tmp_path / "checkpoint.pt").write_bytes(damaged)
    with pytest.raises(DamagedCheckpoint, match=r"checkpoint\.pt is damaged"):
        Training(FAST.resolved(), tiny).load(tmp_path / "checkpoint.pt")


def test_a_whole_checkpoint_gives_no_warning(tiny, tmp_path, checkpoint):
    (tmp_path / "checkpoint.pt").write_bytes(checkpoint)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert train(FAST, tiny, tmp_path / "checkpoint.pt")[1] == train(FAST, tiny)[1]


def test_a_checkpoint_is_replaced_as_a_whole_or_not_at_all(tiny, tmp_path, checkpoint, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(checkpoint)
    monkeypatch.setattr("os.replace", lambda *_: pytest.fail("interrupted"))
    with pytest.raises(BaseException, match="interrupted"):
        Training(FAST.resolved(), tiny).save(path)
    assert path.read_bytes() == checkpoint


def test_a_training_goes_on_where_its_faces_were_moved_to(tiny, tmp_path):
    """What lies there is what counts: a checkpoint knows the faces by their fingerprint."""
    old, new = (dataclasses.replace(FAST, dataset="folder", root=root) for root in ("old", "new"))
    _, history = train(old, tiny, tmp_path / "checkpoint.pt", checkpoint_seconds=0)
    training = Training(new.resolved(), tiny)
    training.load(tmp_path / "checkpoint.pt")
    assert training.history == history


def test_a_checkpoint_of_another_torch_is_a_warning_and_training_starts_again(tiny, tmp_path, monkeypatch):
    with monkeypatch.context() as other:
        other.setattr(torch, "__version__", "1.0")
        train(FAST, tiny, tmp_path / "checkpoint.pt", checkpoint_seconds=0)
    with pytest.warns(UserWarning, match=r"checkpoint\.pt is of another version of torch; training starts again"):
        _, history = train(FAST, tiny, tmp_path / "checkpoint.pt")
    assert history == train(FAST, tiny)[1]


def test_a_checkpoint_of_another_config_is_refused(tiny, tmp_path):
    train(FAST, tiny, tmp_path / "checkpoint.pt", checkpoint_seconds=0)
    with pytest.raises(ValueError, match="has another seed, center_weight"):
        train(dataclasses.replace(FAST, center_weight=0, seed=4), tiny, tmp_path / "checkpoint.pt")


@pytest.mark.parametrize("method", ["head", "objective"])
def test_a_checkpoint_of_a_method_of_ones_own_that_has_changed_since_is_refused(tiny, tmp_path, own, method):
    name = {"head": "MeanHead", "objective": "Pull"}[method]
    config = dataclasses.replace(FAST, **{method: f"{own}:{name}"})
    train(config, tiny, tmp_path / "checkpoint.pt", checkpoint_seconds=0)
    Path(own).write_text(OWN + "# edited")
    with pytest.raises(ValueError, match=r"checkpoint\.pt has another own\.py; delete it to start again"):
        train(config, tiny, tmp_path / "checkpoint.pt")


def test_a_checkpoint_of_a_method_of_ones_own_goes_with_its_file(tiny, tmp_path, own, monkeypatch):
    config = dataclasses.replace(FAST, objective=f"{own}:Pull")
    _, history = train(config, tiny, tmp_path / "checkpoint.pt", checkpoint_seconds=0)
    (tmp_path / "else").mkdir()
    Path(own).rename(tmp_path / "else/own.py")
    moved = dataclasses.replace(config, objective=f"{tmp_path}/else/own.py:Pull")
    monkeypatch.setattr(Training, "run_epoch", lambda self: pytest.fail("trained again"))
    assert train(moved, tiny, tmp_path / "checkpoint.pt")[1] == history


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
    kept = Training(FAST.resolved(), tiny)
    kept.load(path)
    assert kept.epoch == len(kept.history) == 2


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
def test_captured_steps_on_cuda_train_as_single_ones_do(tiny, monkeypatch, config):
    config = dataclasses.replace(config, device="cuda", epochs=8)
    captured, history = train(config, tiny)
    again, same_history = train(config, tiny)
    monkeypatch.setattr("dcbh_core.captured.STEPS_BEFORE_CAPTURE", 10**9)
    single, single_history = train(config, tiny)
    assert history == same_history == single_history
    for model in (again, single):
        np.testing.assert_array_equal(weights(model.cpu()), weights(captured.cpu()))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_method_of_ones_own_may_wait_for_the_device(tiny, own):
    Path(own).write_text(OWN.replace("self.scale *", "float(outputs.relaxed.abs().max()) *"))
    _, history = train(dataclasses.replace(FAST, objective=f"{own}:Pull", device="cuda", epochs=8), tiny)
    assert len(history) == 8


# --- The two recipes, step by step ------------------------------------------------------------------------------------


def started(config: Config, faces: Faces) -> Training:
    """The training of a config, before its first epoch."""
    return TRAININGS[config.recipe](config.resolved(), faces)


def positions(batches, faces) -> list[list[int]]:
    """Where each batch's images stand in ``faces``; their labels must stand there too."""
    where = {image.tobytes(): i for i, image in enumerate(faces.images)}
    found = [[where[np.ascontiguousarray(image).tobytes()] for image in images.numpy()] for images, _ in batches]
    for batch, (_, labels) in zip(found, batches, strict=True):
        assert labels.tolist() == faces.labels[batch].tolist()
    return found


def test_modern_batches_are_a_new_permutation_of_nearly_equal_parts_each_epoch(tiny):
    training = started(dataclasses.replace(FAST, batch_size=7, augment=False), tiny)
    epochs = [positions(training.batches(torch.Generator().manual_seed(epoch)), tiny) for epoch in range(2)]
    for batches in epochs:
        assert [len(batch) for batch in batches] == [6, 6, 6, 6]
        assert sorted(itertools.chain(*batches)) == list(range(24))
    assert epochs[0] != epochs[1]


@RECIPES
def test_what_is_augmented_is_what_is_trained_on(tiny, config):
    plain, moved = (
        started(dataclasses.replace(config, augment=augment), tiny).batches(torch.Generator().manual_seed(0))
        for augment in (False, True)
    )
    assert [labels.tolist() for _, labels in plain] == [labels.tolist() for _, labels in moved]
    assert not torch.equal(torch.cat([images for images, _ in plain]), torch.cat([images for images, _ in moved]))


def test_published_batches_are_in_file_order_with_a_partial_last(tiny):
    training = started(dataclasses.replace(PUBLISHED, batch_size=10), tiny)
    batches = positions(training.batches(torch.Generator()), tiny)
    assert batches == [[*range(10)], [*range(10, 20)], [*range(20, 24)]]


def test_modern_learning_rate_warms_up_and_falls_along_a_cosine(tiny):
    training = started(FAST, tiny)
    rates = []
    for step in range(100):
        training.set_learning_rate(step, 100)
        rates.append(float(training.optimizer.param_groups[0]["lr"]))
    assert rates[:10] == pytest.approx([1e-4 * i for i in range(1, 11)])
    assert rates[55] == pytest.approx(0.5e-3)
    assert rates == sorted(rates[:10]) + sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 1e-6


def test_published_learning_rate_is_constant(tiny):
    training = started(PUBLISHED, tiny)
    training.set_learning_rate(99, 100)
    assert float(training.optimizer.param_groups[0]["lr"]) == pytest.approx(1e-3)


def test_weight_decay_falls_on_kernels_alone(tiny):
    training = started(FAST, tiny)
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
    images, labels = twin.batches(torch.Generator().manual_seed(0))[0]
    twin.model.train()
    total, _ = twin.objective(twin.model(images), labels)
    kernels = [p for p in twin.model.parameters() if p.ndim > 1]
    (total + 0.5 * 0.3 * sum(kernel.square().sum() for kernel in kernels)).backward()
    for kernel, same in zip(kernels, [p for p in training.model.parameters() if p.ndim > 1], strict=True):
        moment = training.optimizer.state[same]["exp_avg"]
        torch.testing.assert_close(moment, 0.1 * kernel.grad, rtol=1e-3, atol=1e-6)


def test_adam_moves_the_centres_in_published_alone(tiny):
    modern, published = started(FAST, tiny), started(PUBLISHED, tiny)
    assert not modern.objective.centers.requires_grad
    groups = published.optimizer.param_groups
    assert any(p is published.objective.centers for p in groups[1]["params"])
    assert not any(p is published.objective.centers for p in groups[0]["params"])


@pytest.mark.parametrize(("config", "passes"), [(FAST, 3), (PUBLISHED, 6)], ids=["modern", "published"])
def test_published_moves_the_batch_statistics_twice_a_batch(tiny, config, passes):
    training = started(config, tiny)
    training.run_epoch()
    norm = next(m for m in training.model.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert norm.num_batches_tracked == passes


def test_published_computes_in_float32_on_any_hardware(tiny):
    training = started(dataclasses.replace(PUBLISHED, dtype="auto"), tiny)
    found = []
    for module in training.model.modules():
        module.register_forward_hook(lambda module, inputs, output: found.append(output))
    training.run_epoch()
    assert {output.dtype for output in found if isinstance(output, torch.Tensor)} == {torch.float32}


def first_means(training: Training) -> list[torch.Tensor]:
    """Filled with the batch means that the first batch normalisation sees, one for each pass in training mode."""
    norm = next(m for m in training.model.modules() if isinstance(m, torch.nn.BatchNorm2d))
    seen: list[torch.Tensor] = []
    norm.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach().mean((0, 2, 3))))
    return seen


def test_published_models_have_running_means_without_bias(tiny):
    training = started(PUBLISHED, tiny)
    seen = first_means(training)
    training.run_epoch()
    t = len(seen)
    expected = sum(0.1 * 0.9 ** (t - 1 - i) * mean for i, mean in enumerate(seen)) / (1 - 0.9**t)
    norm = next(m for m in training.trained().modules() if isinstance(m, torch.nn.BatchNorm2d))
    torch.testing.assert_close(norm.running_mean, expected)


def test_modern_models_have_running_means_as_torch_keeps_them(tiny):
    training = started(FAST, tiny)
    seen = first_means(training)
    training.run_epoch()
    t = len(seen)
    expected = sum(0.1 * 0.9 ** (t - 1 - i) * mean for i, mean in enumerate(seen))
    norm = next(m for m in training.trained().modules() if isinstance(m, torch.nn.BatchNorm2d))
    torch.testing.assert_close(norm.running_mean, expected)


def test_only_the_means_of_what_is_handed_out_are_without_bias(tiny):
    training = started(PUBLISHED, tiny)
    training.run_epoch()
    before = {name: value.clone() for name, value in training.model.state_dict().items()}
    handed_out = training.trained().state_dict()
    for name, value in training.model.state_dict().items():
        assert torch.equal(value, before[name]), name
        assert torch.equal(value, handed_out[name]) != name.endswith("running_mean"), name


@RECIPES
def test_what_is_handed_out_is_in_evaluation_mode(tiny, config):
    training = started(config, tiny)
    training.run_epoch()
    assert not training.trained().training


def with_totals(training: Training, totals: list[float], monkeypatch: pytest.MonkeyPatch) -> Training:
    """A training whose epochs have these mean losses, whatever it computes."""
    given_totals = iter(totals)
    monkeypatch.setattr(training, "means", lambda losses: {"total": next(given_totals)})
    return training


def test_published_rolls_back_to_its_best_epoch(tiny, monkeypatch):
    monkeypatch.setattr("dcbh_core.training.ROLLBACK_EVERY", 3)
    training = with_totals(started(dataclasses.replace(PUBLISHED, epochs=9), tiny), [5.0, 1.0, 2.0], monkeypatch)
    after = []
    for _ in range(3):
        training.run_epoch()
        after.append((weights(training.model), training.objective.centers.detach().clone()))
    np.testing.assert_array_equal(after[2][0], after[1][0])
    assert torch.equal(after[2][1], after[1][1])
    assert not np.array_equal(after[0][0], after[1][0])
    assert {int(s["step"]) for s in training.optimizer.state_dict()["state"].values()} == {6}  # two epochs of three


def test_published_rolls_back_at_the_end(tiny, monkeypatch):
    training = with_totals(started(dataclasses.replace(PUBLISHED, epochs=2), tiny), [1.0, 2.0], monkeypatch)
    training.run_epoch()
    best = weights(training.model)
    training.run_epoch()
    np.testing.assert_array_equal(weights(training.model), best)


def test_published_trains_on_from_where_it_rolled_back_to(tiny, monkeypatch):
    monkeypatch.setattr("dcbh_core.training.ROLLBACK_EVERY", 2)
    config = dataclasses.replace(PUBLISHED, epochs=9)
    rolled = with_totals(started(config, tiny), [1.0, 2.0, 3.0], monkeypatch)
    straight = with_totals(started(config, tiny), [1.0, 0.5], monkeypatch)
    for _ in range(3):
        rolled.run_epoch()
    for _ in range(2):
        straight.run_epoch()
    # Without augmentation all epochs see the same batches, so the third from the first's weights is the second.
    np.testing.assert_array_equal(weights(rolled.model), weights(straight.model))


def test_the_best_epoch_before_an_interruption_is_not_forgotten(tiny, tmp_path, monkeypatch):
    config = dataclasses.replace(PUBLISHED, epochs=2)
    training = with_totals(started(config, tiny), [1.0], monkeypatch)
    training.run_epoch()
    training.save(tmp_path / "checkpoint.pt")
    resumed = with_totals(started(config, tiny), [2.0], monkeypatch)
    resumed.load(tmp_path / "checkpoint.pt")
    resumed.run_epoch()
    np.testing.assert_array_equal(weights(resumed.model), weights(training.model))


def test_modern_keeps_its_last_weights_however_the_loss_goes(tiny, monkeypatch):
    monkeypatch.setattr("dcbh_core.training.ROLLBACK_EVERY", 1)
    plain = started(FAST, tiny)
    rising = with_totals(started(FAST, tiny), [1.0, 2.0, 3.0], monkeypatch)
    for training in (plain, rising):
        for _ in range(3):
            training.run_epoch()
    np.testing.assert_array_equal(weights(rising.trained()), weights(plain.trained()))


# --- Augmentation -----------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("batch_size", [2, 3])
@pytest.mark.parametrize("each", [3, 5])
def test_no_batch_of_modern_is_one_face_alone(batch_size, each):
    faces = synthetic_faces(people=3, each=each)
    training = Training(Config(batch_size=batch_size, width=0.05, bits=8, device="cpu").resolved(), faces)
    sizes = [len(labels) for _, labels in training.batches(torch.Generator())]
    assert min(sizes) >= 2
    assert sum(sizes) == len(faces)


@pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without CUDA")
def test_training_on_a_device_that_is_not_there_is_one_sentence(tiny):
    with pytest.raises(ValueError, match="finds no CUDA on this machine"):
        train(Config(device="cuda", dtype="float32", width=0.05), tiny)


def test_mirrored_views_are_trained_on_as_their_copies_are(tiny):
    views = Faces(tiny.images[..., ::-1], tiny.labels[::-1], tiny.names)
    copies = Faces(views.images.copy(), views.labels.copy(), tiny.names)
    assert train(FAST, views)[1] == train(FAST, copies)[1]


@pytest.mark.parametrize("objective", ["csq", "orthohash"])
@RECIPES
def test_more_people_than_words_are_refused_before_a_network_is_built(tiny, config, objective, monkeypatch):
    monkeypatch.setattr("dcbh_core.training.DCBH", lambda *_: pytest.fail("built"))
    config = dataclasses.replace(config, objective=objective, bits=1)
    with pytest.raises(ValueError, match="4 people need a code centre each, but 1 bits have only 2 words"):
        train(config, tiny)
