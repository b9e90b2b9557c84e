"""A memory leans codes towards known people, by the formula, and lives and is saved with its model."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ablations.memory_weights import memory_weights, weigh, weights_table
from ablations.run_directory import MEMORY, measure
from ablations.suite import load_suite
from dcbh_core import DCBH, Config, Faces, Split, train
from dcbh_core.memory import NOBODY, Memory

CONFIG = Config(width=0.05, bits=8, epochs=2, batch_size=8, device="cpu", dtype="float32", memory=0.5)
PEOPLE, BITS = 3, 5


def learnt(seed: int, weight: float) -> tuple[Memory, np.ndarray, np.ndarray]:
    """A memory, and the q and labels of the nine faces that it was filled from."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(9) % PEOPLE)
    relaxed = np.tanh(rng.normal(size=(PEOPLE, BITS))[labels] + rng.normal(0, 0.3, (9, BITS))).astype(np.float32)
    memory = Memory(PEOPLE, BITS, weight)
    memory.learn(torch.from_numpy(relaxed), torch.from_numpy(labels))
    return memory, relaxed, labels


@given(st.integers(0, 2**32 - 1), st.floats(0, 4))
@settings(max_examples=25, deadline=None)
def test_a_memory_equals_its_formula(seed: int, weight: float) -> None:
    memory, relaxed, labels = learnt(seed, weight)
    centers = [np.mean([q for q, label in zip(relaxed, labels, strict=True) if label == c], 0) for c in range(PEOPLE)]
    scale = np.mean([abs(x) for q in relaxed for x in q])
    scatter = np.mean([((q - centers[label]) ** 2).sum() for q, label in zip(relaxed, labels, strict=True)])
    asked = np.tanh(np.random.default_rng(seed + 1).normal(size=(4, BITS))).astype(np.float32)
    for q, given_back in zip(asked, memory(torch.from_numpy(asked)).numpy(), strict=True):
        likely = [math.exp(-((q - center) ** 2).sum() / (2 * scatter)) for center in centers]
        everybody = sum(likely) + math.exp(-2)  # and nobody, at twice the square root of the scatter
        pull = sum(one * np.sign(center) for one, center in zip(likely, centers, strict=True)) / everybody
        np.testing.assert_allclose(given_back, q / scale + weight * pull, atol=2e-4)


def test_a_person_without_a_photograph_is_never_recognised_and_changes_nothing() -> None:
    memory, relaxed, labels = learnt(0, 1.0)
    more = Memory(PEOPLE + 1, BITS, 1.0)
    more.learn(torch.from_numpy(relaxed), torch.from_numpy(labels))
    asked = torch.from_numpy(np.tanh(np.random.default_rng(1).normal(size=(4, BITS))).astype(np.float32))
    assert more.recognize(asked)[:, -1].tolist() == [0.0] * 4
    torch.testing.assert_close(more(asked), memory(asked))


def test_without_weight_bits_are_ones_own() -> None:
    memory, relaxed, _ = learnt(0, 0.0)
    np.testing.assert_array_equal(memory(torch.from_numpy(relaxed)).numpy() >= 0, relaxed >= 0)


def test_with_much_weight_a_known_face_gets_its_persons_bits() -> None:
    memory, relaxed, labels = learnt(0, 1e6)
    memory.scatter.fill_(1.0)  # so wide that each of them is somebody's
    wanted = memory.centers.numpy()[labels] >= 0
    np.testing.assert_array_equal(memory(torch.from_numpy(relaxed)).numpy() >= 0, wanted)


def test_a_face_that_is_far_from_everybody_is_nobodys_and_keeps_its_bits() -> None:
    memory = Memory(2, BITS, 10.0)
    memory.learn(torch.tensor([[0.9] * 5, [0.8] * 5, [-0.9] * 5, [-0.8] * 5]), torch.tensor([0, 0, 1, 1]))
    asked = torch.tensor([[0.5, -0.5, 0.5, -0.5, 0.5]])
    assert memory.recognize(asked).sum() < 1e-3
    np.testing.assert_array_equal(memory(asked) >= 0, asked >= 0)
    assert memory.recognize(memory.centers).diagonal().min() > 0.85  # 1 / (1 + e^-2), where the other is far


def test_faces_that_do_not_scatter_are_no_division_by_zero() -> None:
    memory = Memory(2, BITS, 1.0)
    memory.learn(torch.tensor([[0.5] * BITS, [-0.5] * BITS]), torch.tensor([0, 1]))
    assert memory(torch.zeros(1, BITS)).isfinite().all()


OBJECTIVES = ["dcbh", "soft_block", "softmax", "csq", "orthohash", "dcdh"]


@pytest.mark.parametrize("changes", [{"recipe": "published"}, *({"objective": name} for name in OBJECTIVES)], ids=str)
def test_training_fills_the_memory_and_is_the_same_without_one(tiny: Faces, changes: dict) -> None:
    config = dataclasses.replace(CONFIG, **changes)
    (model, history), (plain, other) = train(config, tiny), train(dataclasses.replace(config, memory=0.0), tiny)
    assert history == other
    relaxed = torch.from_numpy(plain.relax(plain.describe(tiny.images)))
    memory = Memory(tiny.num_identities, 8, 0.5)
    memory.learn(relaxed, torch.from_numpy(tiny.labels))
    assert model.memory is not None and plain.memory is None
    np.testing.assert_allclose(model.memory.centers, memory.centers, atol=1e-6)
    np.testing.assert_allclose(model.relax(model.describe(tiny.images)), memory(relaxed), atol=1e-5)
    np.testing.assert_array_equal(model.encode(tiny.images), memory(relaxed) >= 0)


def test_it_is_saved_with_the_model(tiny: Faces, tmp_path: Path) -> None:
    model, _ = train(CONFIG, tiny)
    model.save(tmp_path)
    loaded = DCBH.load(tmp_path, device="cpu")
    np.testing.assert_array_equal(loaded.encode(tiny.images), model.encode(tiny.images))
    assert loaded.memory is not None and model.memory is not None
    np.testing.assert_array_equal(loaded.memory.centers, model.memory.centers)


@pytest.mark.parametrize("weight", [-0.5, math.inf, math.nan])
def test_an_impossible_weight_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="memory must be"):
        Config(memory=weight)


def test_weighing_memories_gives_what_a_run_measures_and_what_training_with_one_gives(tiny: Faces) -> None:
    split = Split(tiny, tiny, tiny, tiny, tiny)
    plain, _ = train(dataclasses.replace(CONFIG, memory=0.0), tiny)
    found = weigh(plain, split, [0.0, MEMORY], [1.5, NOBODY]).set_index(["weight", "nobody"])
    assert found.index.tolist() == [(0.0, 1.5), (MEMORY, 1.5), (MEMORY, NOBODY)]
    measured = measure(plain, split).metrics
    for metric in found:
        assert found.loc[(0.0, 1.5), metric] == measured[metric]
        assert found.loc[(MEMORY, NOBODY), metric] == measured[f"{metric.removesuffix('map')}memory"]


def test_no_memory_is_chosen_on_queries(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'methods_lfw' is scored on queries"):
        memory_weights(load_suite("methods_lfw"), tmp_path)


def test_the_table_of_weights_takes_means_over_seeds_and_each_split_apart() -> None:
    rows = [
        ("a", split, seed, weight, nobody, 0.1 * seed + weight + nobody, 0.4 + 0.1 * seed)
        for split, seed in ((0, 0), (0, 1), (1, 0))
        for weight, nobody in ((0.0, 1.5), (1.0, 1.5), (1.0, 2.0))
    ]
    columns = ["variant", "split_seed", "seed", "weight", "nobody", "held_out_map", "unseen_map"]
    text = weights_table(pd.DataFrame(rows, columns=columns), [(0.0, 2.0), (1.0, 2.0)])
    assert text.to_numpy().tolist() == [
        ["a", "0", "2", "0", "1.550", "0.450", "1.000"],
        ["a", "0", "2", "1", "3.050", "0.450", "1.750"],
        ["a", "1", "1", "0", "1.500", "0.400", "0.950"],
        ["a", "1", "1", "1", "3.000", "0.400", "1.700"],
    ]
    assert list(text) == ["variant", "split", "seeds", "memory", "held out", "unseen", "criterion"]
