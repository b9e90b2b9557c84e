"""The recipe ``published`` against what the authors' own code computes; ``data/README.md`` says what lies there."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dcbh_core import Config, load_split
from dcbh_core.training import PublishedTraining

AUTHORS = np.load(Path(__file__).with_name("data") / "authors_steps.npz")
FIRST_STEPS = 20


def started() -> PublishedTraining:
    """A training from the authors' own first weights."""
    config = Config(dataset="orl", recipe="published", width=1 / 8, device="cpu").resolved()
    training = PublishedTraining(config, load_split(config).training)
    with torch.no_grad():
        for module in (training.model, training.objective):
            for name, weight in module.named_parameters():
                given = AUTHORS.get(f"start/{name}")
                # Without a key: the scale of a batch normalisation, or a shift or bias.
                weight.copy_(torch.tensor(given) if given is not None else float(name.endswith("weight")))
    return training


@pytest.fixture(scope="module")
def steps() -> dict[str, np.ndarray]:
    """What the kit computes over the same steps: terms, and of the first step gradients, centers, codes."""
    training = started()
    training.model.train()
    terms, first = [], {}
    while len(terms) < FIRST_STEPS:
        for images, labels in training.batches(torch.Generator()):
            terms.append(training.step(images, labels).numpy())
            if len(terms) == 1:
                weights = {**dict(training.model.named_parameters()), **dict(training.objective.named_parameters())}
                first = {name: weight.grad.clone().numpy() for name, weight in weights.items()}
                model = training.trained()
                queries = load_split(training.config).queries.images
                first |= {"codes": model.encode(queries)}
                with torch.inference_mode():
                    first["relaxed"] = model(torch.as_tensor(queries[:20])).relaxed.numpy()
    return {"terms": np.array(terms), **first}


def test_the_faces_are_those_that_the_authors_code_was_given():
    split = load_split(Config(dataset="orl"))
    assert split.training.fingerprint() == str(AUTHORS["training_fingerprint"])
    assert split.queries.fingerprint() == str(AUTHORS["queries_fingerprint"])


def test_published_computes_in_float32_as_theirs():
    assert Config(recipe="published").resolved().dtype == "float32"


def test_the_terms_of_the_first_step_are_theirs(steps):
    assert list(AUTHORS["term_names"]) == ["code", "feature", "quantization", "center", "total"]
    np.testing.assert_allclose(steps["terms"][0], AUTHORS["terms"][0], rtol=1e-6)


def test_the_gradients_of_the_first_step_are_as_long_as_theirs(steps):
    names = [key.removeprefix("gradient_norm/") for key in AUTHORS if key.startswith("gradient_norm/")]
    names.remove("descriptor.0.bias")  # noise, as batch normalisation takes the bias out again
    ours = np.array([np.linalg.norm(steps[name]) for name in names])
    theirs = np.array([AUTHORS[f"gradient_norm/{name}"] for name in names])
    np.testing.assert_allclose(ours, theirs, rtol=7e-3)  # float32 through ReLU and max pooling
    assert len(names) == len(ours) > 30


def test_the_gradient_of_the_centers_is_theirs(steps):
    np.testing.assert_allclose(steps["centers"], AUTHORS["gradient_centers_step_1"], rtol=1e-4, atol=1e-7)


def test_every_bit_of_the_queries_is_theirs_after_the_first_step(steps):
    theirs = np.unpackbits(AUTHORS["query_codes_after_step_1"], axis=1)[:, :48].astype(bool)
    assert steps["codes"].shape == theirs.shape == (120, 48)
    assert (steps["codes"] != theirs).sum() == 0


def test_the_relaxed_codes_after_the_first_step_are_theirs(steps):
    np.testing.assert_allclose(steps["relaxed"], AUTHORS["relaxed_after_step_1"], atol=2e-3)


def test_without_unbiased_means_bits_differ():
    training = started()
    training.model.train()
    training.step(*training.batches(torch.Generator())[0])
    codes = training.model.eval().encode(load_split(training.config).queries.images)
    theirs = np.unpackbits(AUTHORS["query_codes_after_step_1"], axis=1)[:, :48].astype(bool)
    assert (codes != theirs).sum() > 100


def test_later_steps_stay_near_theirs(steps):
    """Rounding grows from step to step, in the kit against itself as much as against theirs."""
    np.testing.assert_allclose(steps["terms"][:, -1], AUTHORS["terms"][:, -1], rtol=0.05)
