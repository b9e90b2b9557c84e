"""A cell's identity changes with all that its figures depend on, and with nothing else."""

import dataclasses

import nbformat
import pytest

from ablations import identity
from ablations.identity import identify
from dcbh_core import Config


def test_equal_resolved_configs_have_one_identity(small: str) -> None:
    written_out = Config(center_weight=1e-4, epochs=60, device=Config().resolved().device)
    first, second = identify([Config(), written_out])
    assert first.whole == second.whole


@pytest.mark.parametrize(
    "change", [{"bits": 12}, {"seed": 1}, {"center_weight": 0}, {"epochs": 1}, {"dtype": "bfloat16"}]
)
def test_a_config_field_changes_the_identity(small: str, change: dict) -> None:
    first, second = identify([Config(dtype="float32"), Config(**{"dtype": "float32", **change})])
    assert first.whole != second.whole


def test_faces_change_the_identity(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = identify([Config()])
    monkeypatch.setattr(identity, "faces_hash", lambda config: "other faces")
    assert identify([Config()])[0].whole != before[0].whole


def test_the_place_of_the_faces_does_not_change_the_identity(small: str) -> None:
    here, there = identify([Config(dataset="folder", root="here"), Config(dataset="folder", root="there")])
    assert here.whole == there.whole


def test_every_part_of_a_split_changes_the_hash_of_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclasses.dataclass
    class Part:
        name: str

        def fingerprint(self) -> str:
            return self.name

    @dataclasses.dataclass
    class Split:
        training: Part
        gallery: Part
        queries: Part
        new_gallery: Part | None
        new_queries: Part | None

    parts = [Part("a"), Part("b"), Part("c"), None, Part("d")]
    hashes = set()
    for place in (None, 0, 1, 2, 3, 4):
        changed = [Part("x") if i == place else part for i, part in enumerate(parts)]
        monkeypatch.setattr(identity, "load_split", lambda config, changed=changed: Split(*changed))
        hashes.add(identity.faces_hash(Config()))
    assert len(hashes) == 6


def test_each_distinct_split_is_loaded_once(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    monkeypatch.setattr(identity, "faces_hash", lambda config: loaded.append(config.split_seed) or "faces")
    identify([Config(bits=bits, split_seed=split) for bits in (12, 48) for split in (None, 0, 1)])
    assert loaded == [0, 1]


@pytest.mark.parametrize(("name", "matters"), [("losses.py", True), ("figures.py", False), ("new.py", True)])
def test_sources_of_the_core_change_the_identity(small: str, name: str, matters: bool) -> None:
    before = identify([Config()])[0]
    (identity.CORE / name).write_text("a = 2")
    assert (identify([Config()])[0].whole != before.whole) == matters


@pytest.mark.parametrize(("kind", "matters"), [("code", True), ("markdown", False)])
def test_only_the_code_of_the_notebook_changes_the_identity(small: str, kind: str, matters: bool) -> None:
    path = identity.notebook(identity.TRAINING_NOTEBOOK)
    before = identify([Config()])[0]
    content = nbformat.read(path, as_version=4)
    content.cells.append(getattr(nbformat.v4, f"new_{kind}_cell")("one more"))
    nbformat.write(content, path)
    assert (identify([Config()])[0].whole != before.whole) == matters


def test_the_identity_of_the_real_faces_is_stable() -> None:
    assert identity.faces_hash(Config()) == identity.faces_hash(Config(bits=12, queries_per_identity=3))
