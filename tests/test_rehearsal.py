"""The dry run of methods of one's own: what works passes, and what is broken is one sentence with the right line."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import ablations
from dcbh_core import Config
from dcbh_core.heads import HEADS
from dcbh_core.losses import OBJECTIVES
from dcbh_core.peers import PEERS
from dcbh_core.rehearsal import rehearse

ALL = {**OBJECTIVES, **PEERS}
EXAMPLES = Path(ablations.__file__).with_name("suites") / "methods"

OWN = """import torch

from dcbh_core import Head, Objective


class MyHead(Head):
    relu = False

    def __init__(self, bits, size):
        super().__init__(bits, size)
        self.linear = torch.nn.Linear(bits * size, bits)

    def forward(self, f):
        z = self.linear(f)
        return z


class MyLoss(Objective):
    terms = ("near", "far")
    constants = {"far_weight": 0.5}
    classifiers = ("code",)

    def __init__(self, sizes, **constants):
        super().__init__(sizes, **constants)
        self.scale = 2.0

    def compute(self, outputs, labels):
        near = torch.nn.functional.cross_entropy(outputs.code_logits, labels)
        far = outputs.relaxed.square().mean()
        return {"near": near, "far": self.scale * far}

    def after_backward(self, outputs, labels):
        self.scale *= 0.9
"""


def methods(directory: Path, source: str, **fields: object) -> Config:
    """A config with the head and the objective that the source defines."""
    (directory / "own.py").write_text(source)
    return Config(head=f"{directory}/own.py:MyHead", objective=f"{directory}/own.py:MyLoss", bits=5, **fields)


def line(source: str, text: str) -> int:
    """The number of the first line that holds the text."""
    return next(number for number, one in enumerate(source.splitlines(), 1) if text in one)


def test_what_works_passes(tmp_path):
    rehearse(methods(tmp_path, OWN))


@given(st.integers(1, 64), st.sampled_from([1.0, 0.01, 8.0]), st.booleans(), st.sampled_from(["modern", "published"]))
@settings(max_examples=15, deadline=None)
def test_what_works_passes_at_any_size(tmp_path_factory, bits, width, multi_scale, recipe):
    config = methods(tmp_path_factory.mktemp("own"), OWN).to_dict()
    rehearse(Config(**config | {"bits": bits, "width": width, "multi_scale": multi_scale, "recipe": recipe}))


@pytest.mark.parametrize("method", [*({"head": head} for head in HEADS), *({"objective": one} for one in ALL)])
def test_nothing_of_the_kits_own_is_rehearsed(method, monkeypatch):
    monkeypatch.setattr("dcbh_core.rehearsal.DCBH", lambda *_: pytest.fail("rehearsed"))
    rehearse(Config(**method))


@pytest.mark.parametrize("objective", ALL)
def test_a_head_of_ones_own_goes_with_every_objective_of_the_kit(tmp_path, objective):
    (tmp_path / "own.py").write_text(OWN)
    rehearse(Config(head=f"{tmp_path}/own.py:MyHead", objective=objective))


@pytest.mark.parametrize("head", HEADS)
def test_an_objective_of_ones_own_goes_with_every_head_of_the_kit(tmp_path, head):
    (tmp_path / "own.py").write_text(OWN)
    rehearse(Config(objective=f"{tmp_path}/own.py:MyLoss", head=head))


def test_the_examples_pass():
    rehearse(Config(head=f"{EXAMPLES}/mean_head.py:MeanHead"))
    rehearse(Config(objective=f"{EXAMPLES}/arcface.py:ArcFace"))


def test_the_example_of_a_library_passes():
    pytest.importorskip("pytorch_metric_learning")
    rehearse(Config(objective=f"{EXAMPLES}/metric_learning.py:SupervisedContrastive"))


def test_it_asks_for_no_device_and_leaves_the_callers_random_numbers_alone(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    rehearse(methods(tmp_path, OWN, dtype="bfloat16"))
    assert torch.rand(1) == expected


# --- What is broken ---------------------------------------------------------------------------------------------------

GIVES_Z = r"forward: it must give z, float32 \(8, 5\), not "
IN_PLACE = "RuntimeError: one of the variables needed for gradient computation has been modified by an inplace"


@pytest.mark.parametrize(
    ("old", "new", "at", "message"),
    [
        ("return z", "return f", "def forward", GIVES_Z + r"float32 \(8, 30\)"),
        ("return z", "return z.mean()", "def forward", GIVES_Z + r"float32 \(\)"),
        ("return z", "return z.double()", "def forward", GIVES_Z + r"float64 \(8, 5\)"),
        ("return z", "return z > 0", "def forward", GIVES_Z + r"bool \(8, 5\)"),
        ("return z", "pass", "def forward", GIVES_Z + "NoneType"),
        ("return z", "return z * torch.nan", "def forward", "forward: it gives NaN or infinite numbers"),
        ("return z", "return z / 0", "def forward", "forward: it gives NaN or infinite numbers"),
        ("return z", "return zz", "return zz", "forward: NameError: name 'zz' is not defined"),
        ("(bits * size, bits)", "(size, bits)", "z = self", "forward: RuntimeError: mat1 and mat2 shapes cannot"),
        ("return z", "return z + f.mul_(2)[:, :5]", "def forward", "forward: " + IN_PLACE),
        ("def forward", "def forwards", "class MyHead", "forward: NotImplementedError: Module .MyHead. is"),
        ("torch.nn.Linear", "torch.nn.Linaer", "Linaer", "__init__: AttributeError: module 'torch.nn' has no"),
        ("super().__init__(bits, size)", "pass", "Linear", "__init__: AttributeError: cannot assign module"),
        ("(self, bits, size)", "(self, bits)", "def __init__(self, bits)", "__init__: TypeError: MyHead.__init__"),
    ],
)
def test_a_broken_head_is_one_sentence_with_file_and_line(tmp_path, old, new, at, message):
    source = OWN.replace(old, new, 1)
    methods(tmp_path, source)
    expected = rf"^{tmp_path}/own\.py, line {line(source, at)}, MyHead\.{message}[^\n]*$"
    with pytest.raises(ValueError, match=expected):
        rehearse(Config(head=f"{tmp_path}/own.py:MyHead", bits=5))


GIVES = '{"near": near, "far": self.scale * far}'
GIVES_TERMS = r"compute: it must give the terms \['near', 'far'\] as a dict, not "
ONE_NUMBER = "compute: the term 'far' must be a tensor of one number, not "


@pytest.mark.parametrize(
    ("old", "new", "at", "message"),
    [
        ('"far": self', '"fear": self', "def compute", GIVES_TERMS + r"\['near', 'fear'\]"),
        ('"near": near, ', "", "def compute", GIVES_TERMS + r"\['far'\]"),
        ('{"near": near, "far"', '{"far": far, "near"', "def compute", GIVES_TERMS + r"\['far', 'near'\]"),
        (GIVES, "near", "def compute", GIVES_TERMS + r"float32 \(\)"),
        (GIVES, "None", "def compute", GIVES_TERMS + "NoneType"),
        (".mean()", "", "def compute", ONE_NUMBER + r"float32 \(8, 5\)"),
        (".mean()", ".mean(0).mean(0, True)", "def compute", ONE_NUMBER + r"float32 \(1,\)"),
        ("self.scale * far", "2.0", "def compute", ONE_NUMBER + "float"),
        ("self.scale * far", "far.long()", "def compute", ONE_NUMBER + r"int64 \(\)"),
        ("self.scale * far", "far * torch.nan", "def compute", "compute: the term 'far' is nan"),
        ("self.scale * far", "far / 0", "def compute", "compute: the term 'far' is inf"),
        ("self.scale * far", "self.scael * far", "self.scael", "compute: AttributeError: 'MyLoss' object has no"),
        ("outputs.code_logits", "outputs.feature_logits", "feature_logits", "compute: TypeError: cross_entropy_loss"),
        (".square()", ".mul_(2)", "def compute", "compute: " + IN_PLACE),
        ("def compute", "def computes", "class MyLoss", "compute: NotImplementedError"),
        ("self.scale = 2.0", "self.scale = [][1]", "[][1]", "__init__: IndexError: list index out of range"),
        ("(self, sizes, **constants)", "(self)", "def __init__(self):", "__init__: TypeError: MyLoss.__init__"),
        ("self.scale *= 0.9", "labels.nothing", "labels.nothing", "after_backward: AttributeError: 'Tensor' object"),
        (
            "after_backward(self, outputs, labels)",
            "after_backward(self)",
            "def after",
            "after_backward: TypeError: MyLoss.after",
        ),
    ],
)
def test_a_broken_objective_is_one_sentence_with_file_and_line(tmp_path, old, new, at, message):
    source = OWN.replace(old, new, 1)
    methods(tmp_path, source)
    expected = rf"^{tmp_path}/own\.py, line {line(source, at)}, MyLoss\.{message}[^\n]*$"
    with pytest.raises(ValueError, match=expected):
        rehearse(Config(objective=f"{tmp_path}/own.py:MyLoss", bits=5))


def test_terms_that_depend_on_nothing_that_is_trained_are_refused(tmp_path):
    source = OWN.replace('{"near": near, "far": self.scale * far}', '{"near": near.detach(), "far": far.detach()}')
    with pytest.raises(ValueError, match=rf"line {line(source, 'def compute')}, .*: its terms depend on nothing"):
        rehearse(methods(tmp_path, source))


@pytest.mark.parametrize(
    ("old", "new", "culprit"),
    [
        ("return z", "return f", r"MyHead\.forward"),
        (".mean()", "", r"MyLoss\.compute"),
        (".square()", ".mul_(2)", r"MyLoss\.compute"),
        ("super().__init__(bits, size)", "pass", r"MyHead\.__init__"),
    ],
)
def test_of_two_methods_in_one_file_the_one_at_fault_is_named(tmp_path, old, new, culprit):
    with pytest.raises(ValueError, match=rf"^{tmp_path}/own\.py, line \d+, {culprit}: (?!.*own\.py)"):
        rehearse(methods(tmp_path, OWN.replace(old, new, 1)))


def test_an_error_deep_below_is_told_by_the_last_line_of_the_file_itself(tmp_path):
    source = OWN.replace("z = self.linear(f)", "z = halved(self.linear, f)")
    source += "\n\ndef halved(layer, f):\n    return layer(f.T)\n"
    with pytest.raises(ValueError, match=rf"line {line(source, 'f.T')}, MyHead\.forward: RuntimeError"):
        rehearse(methods(tmp_path, source))


def test_what_is_inherited_is_told_by_the_line_of_the_class(tmp_path):
    source = "from dcbh_core.losses import DCBHObjective\n\n\nclass Mine(DCBHObjective):\n    terms = ('code',)\n"
    (tmp_path / "own.py").write_text(source)
    with pytest.raises(ValueError, match=r"own\.py, line 4, Mine\.compute: it must give the terms \['code'\]"):
        rehearse(Config(objective=f"{tmp_path}/own.py:Mine"))


def test_a_decorated_function_is_told_by_its_own_line(tmp_path):
    source = OWN.replace("    def forward", "    @torch.no_grad()\n    def forward").replace("return z", "return f")
    with pytest.raises(ValueError, match=rf"own\.py, line {line(source, 'def forward')}, MyHead\.forward"):
        rehearse(methods(tmp_path, source))


def test_an_error_of_the_kits_own_is_not_blamed_on_the_file(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    with pytest.raises(ValueError, match=r"^4 people need a code centre each, but 1 bits have only 2 words"):
        rehearse(Config(head=f"{tmp_path}/own.py:MyHead", objective="csq", bits=1))
