"""A recipe of one's own: found, rehearsed, trained, interrupted; and the examples do what they say."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

import ablations
from ablations.identity import identify
from ablations.suite import load_suite
from dcbh_core import DCBH, Config, Faces, Training, train
from dcbh_core.rehearsal import rehearse
from dcbh_core.shallow import lda_itq
from tests.conftest import resumed, synthetic_faces
from tests.stub_suite import write_suite

EXAMPLES = Path(ablations.__file__).with_name("suites") / "methods" / "recipes.py"
NAMES = ("Averaged", "Mixed", "Refitted")
FAST = Config(width=0.05, bits=8, epochs=4, batch_size=8, device="cpu", dtype="float32", objective="softmax")
OWN = """import torch

from dcbh_core import Training


class Lazy(Training):
    def __init__(self, config, faces):
        super().__init__(config, faces)
        self.steps = torch.zeros(())

    def step(self, images, labels):
        self.steps += 1
        losses = super().step(images, labels)
        if self.steps % 2:
            with torch.no_grad():
                self.model.head.linear.weight.mul_(0.9)
        return losses

    def state(self):
        return {**super().state(), "steps": self.steps}

    def restore(self, state):
        super().restore(state)
        self.steps = state["steps"]
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    """The name of a recipe in a file of one's own."""
    (tmp_path / "own.py").write_text(OWN)
    return f"{tmp_path}/own.py:Lazy"


@pytest.fixture
def faces() -> Faces:
    return synthetic_faces(people=6, each=10)


def example(name: str, config: Config = FAST) -> Config:
    return dataclasses.replace(config, recipe=f"{EXAMPLES}:{name}")


def started(config: Config, faces: Faces) -> Training:
    return config.recipe_class(config.resolved(), faces)


def weights(model: DCBH) -> torch.Tensor:
    return torch.cat([tensor.flatten().double() for tensor in model.state_dict().values()])


# --- Any recipe of one's own ------------------------------------------------------------------------------------------


def test_it_begins_with_what_modern_decides(own):
    modern, mine = Config().resolved(), Config(recipe=own).resolved()
    assert dataclasses.replace(mine, recipe="modern") == modern


def test_its_file_goes_with_the_config(own, tmp_path):
    assert Config(recipe=own).own_files() == {"own.py": tmp_path / "own.py"}
    assert Config(recipe=own).portable()["recipe"] == "own.py:Lazy"


def test_its_file_is_in_the_identity_of_those_who_use_it(own, tmp_path):
    def wholes() -> list[str]:
        return [one.whole for one in identify([Config(recipe=own), Config()])]

    before = wholes()
    (tmp_path / "own.py").write_text(OWN.replace("0.9", "0.8"))
    after = wholes()
    assert before[0] != after[0]
    assert before[1] == after[1]


def test_its_path_in_a_suite_is_relative_to_the_suite(own, tmp_path):
    suite = load_suite(write_suite(tmp_path / "s.yaml", variants={"full": {}, "lazy": {"recipe": "own.py:Lazy"}}))
    assert suite.runs()[-1].config.recipe == own


def test_it_is_what_trains(own, faces):
    mine, modern = (weights(train(dataclasses.replace(FAST, recipe=one), faces)[0]) for one in (own, "modern"))
    assert not torch.equal(mine, modern)


def test_a_class_that_is_no_recipe_is_refused(own, tmp_path):
    (tmp_path / "own.py").write_text(OWN.replace("Lazy(Training)", "Lazy"))
    with pytest.raises(ValueError, match=r"own\.py, line 6: Lazy must be a subclass of dcbh_core\.Training"):
        Config(recipe=own)


def test_what_works_passes_the_rehearsal(own):
    rehearse(dataclasses.replace(FAST, recipe=own))


FORGETS = r"interrupted and begun again it ends at other weights; state\(\) must give all"


@pytest.mark.parametrize(
    ("old", "new", "at", "message"),
    [
        ('{**super().state(), "steps": self.steps}', "super().state()", 24, "KeyError: 'steps'"),
        ('self.steps = state["steps"]', "self.steps.zero_()", 6, FORGETS),
        ("% 2", "% 2 and torch.seed()", 6, FORGETS),
        ("self.steps += 1", "self.stesp += 1", 12, "AttributeError: 'Lazy' object has no attribute 'stesp'"),
        ("return losses", "return None", 6, "TypeError: can't assign a NoneType"),
        ("def state(self):", "def trained(self):\n        return 3\n\n    def state(self):", 6, "must give the model"),
        ("return {**", "return [1] + {**", 20, "TypeError: can only concatenate list"),
    ],
)
def test_a_broken_recipe_is_one_sentence_with_file_and_line(own, tmp_path, old, new, at, message):
    source = OWN.replace(old, new)
    if "torch.seed" in new:
        source = source.replace("mul_(0.9)", "mul_(torch.rand(()))")
    assert source != OWN
    (tmp_path / "own.py").write_text(source)
    with pytest.raises(ValueError, match=rf"^{tmp_path}/own\.py, line {at}, Lazy: [^\n]*{message}[^\n]*$"):
        rehearse(dataclasses.replace(FAST, recipe=own))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stop", [1, 3])
def test_an_interrupted_training_ends_at_the_same_weights(faces, tmp_path, name, stop):
    config = example(name)
    whole, history = train(config, faces)
    again, again_history = resumed(config, faces, tmp_path / "checkpoint.pt", stop)
    assert torch.equal(weights(again), weights(whole))
    assert again_history == history


# --- The examples -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", ["dcbh", "soft_block", "softmax", "csq", "orthohash", "dcdh", "crh", "hclm"])
@pytest.mark.parametrize("name", ["Averaged", "Mixed"])
def test_the_examples_go_with_every_objective(name, objective):
    rehearse(Config(recipe=f"{EXAMPLES}:{name}", objective=objective, width=0.05))


def test_a_head_without_a_last_layer_cannot_be_refitted():
    with pytest.raises(ValueError, match=r"recipes\.py, line \d+, Refitted: only the head direct has a last layer"):
        rehearse(Config(recipe=f"{EXAMPLES}:Refitted"))


def test_averaged_weights_are_a_moving_mean(faces):
    config = example("Averaged", dataclasses.replace(FAST, epochs=1))
    plain = started(dataclasses.replace(config, recipe="modern"), faces)
    step, after = plain.step, []

    def noting(images, labels):
        losses = step(images, labels)
        after.append(weights(plain.model))
        return losses

    plain.step = noting
    plain.run_epoch()
    decay = np.exp(-1 / max(1, 0.1 * len(after)))
    mean = after[0]
    for one in after[1:]:
        mean = decay * mean + (1 - decay) * one
    averaged, _ = train(config, faces)
    floats = torch.cat([torch.full((t.numel(),), t.is_floating_point()) for t in averaged.state_dict().values()])
    torch.testing.assert_close(weights(averaged)[floats], mean[floats], rtol=1e-5, atol=1e-6)


def test_faces_that_are_not_blended_train_as_modern_does(faces, monkeypatch):
    config = example("Mixed")
    monkeypatch.setattr(torch.distributions.Beta, "sample", lambda self: torch.tensor(1.0))
    mixed, modern = (train(one, faces)[0] for one in (config, dataclasses.replace(config, recipe="modern")))
    torch.testing.assert_close(weights(mixed), weights(modern), rtol=1e-4, atol=1e-5)


def test_blended_faces_are_what_the_network_sees_and_both_people_count(faces, monkeypatch):
    monkeypatch.setattr(torch.distributions.Beta, "sample", lambda self: torch.tensor(0.25))
    monkeypatch.setattr(torch, "randperm", lambda n, **_: torch.arange(n).flip(0))
    training = started(example("Mixed"), faces)
    images, labels = training.images[:8], training.labels[:8]
    seen = (0.75 * images.float() + 0.25 * images.flip(0).float()).round().to(torch.uint8)
    training.model.train()
    with torch.no_grad():
        outputs = training.model(seen)
        totals = [training.objective(outputs, people)[0] for people in (labels, labels.flip(0))]
    training = started(example("Mixed"), faces)
    training.model.train()
    assert training.step(images, labels)[-1].item() == pytest.approx(float(0.75 * totals[0] + 0.25 * totals[1]))


def test_a_refitted_layer_gives_the_codes_of_lda_itq(faces):
    training = started(example("Refitted", dataclasses.replace(FAST, bits=5)), faces)
    training.run_epoch()
    descriptors = training.model.describe(faces.images)
    training.refit()
    expected = lda_itq(descriptors, faces.labels, 5, FAST.seed).encode(descriptors)
    same = training.model.binarize(training.model.describe(faces.images)) == expected
    assert same.mean() > 0.99  # but for what lies on a hyperplane


def test_a_refitted_classifier_is_that_of_the_nearest_mean(faces):
    training = started(example("Refitted", dataclasses.replace(FAST, bits=5)), faces)
    training.run_epoch()
    training.refit()
    descriptors = training.model.describe(faces.images)
    q = training.model.relax(descriptors)
    means = np.stack([q[faces.labels == one].mean(0) for one in range(6)])
    nearest = ((q[:, None] - means) ** 2).sum(2).argmin(1)
    np.testing.assert_array_equal(training.model.classify(descriptors), nearest)
