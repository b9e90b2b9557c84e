"""The methods that DCBH is compared with, on the same backbone and in the same training.

Each is one class: its formula and where it is from. Where it differs from its paper and from its authors' code is in
``docs/peers.md``. n is the batch, C the number of people, z (n, bits) what the head gives, q = tanh(z). The shallow
methods, which are not trained by gradients, are in ``shallow``.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .losses import Objective, Outputs, Sizes, quantization_loss

CANDIDATES = 4096  # words among which code centres are sought


class SoftmaxObjective(Objective):
    """A classifier on tanh codes: CE(W q + b) + w_q mean | target - |q| |, with target 1.

    The plain baseline of every method here: what a softmax gives when its features are pressed into [-1, 1].
    """

    head = "direct"
    terms = ("code", "quantization")
    constants: ClassVar = {"quantization_weight": 0.1, "quantization_target": 1.0}
    classifiers = ("code",)
    shallow = True
    quantization_target: float

    def compute(self, outputs: Outputs, labels: Tensor) -> dict[str, Tensor]:
        assert outputs.code_logits is not None
        return {
            "code": F.cross_entropy(outputs.code_logits, labels),
            "quantization": quantization_loss(outputs.relaxed, self.quantization_target),
        }


class CSQObjective(Objective):
    """Central similarity: each bit is classified by the bit of its person's code centre c in {0, 1}.

        - mean_ik [ c_k log h_ik + (1 - c_k) log(1 - h_ik) ] + w_q mean_ik log cosh(|q_ik| - 1),   h = (1 + q) / 2

    Source: Yuan et al., Central Similarity Quantization for Efficient Image and Video Retrieval, CVPR 2020, section 3.
    The authors' code has (|q| - 1)^2 in place of log cosh and w_q = 0.05; see ``docs/peers.md``.
    """

    head = "direct"
    terms = ("central", "quantization")
    constants: ClassVar = {"quantization_weight": 1e-4}
    centers: Tensor

    def __init__(self, sizes: Sizes, **constants: float):
        super().__init__(sizes, **constants)
        self.register_buffer("centers", code_centers(sizes.num_identities, sizes.bits, sizes.seed))

    @classmethod
    def check_people(cls, num_identities: int, bits: int) -> None:
        check_words(num_identities, bits)

    def compute(self, outputs: Outputs, labels: Tensor) -> dict[str, Tensor]:
        return {
            "central": central_loss(outputs.continuous, labels, self.centers),
            "quantization": log_cosh(outputs.relaxed.abs() - 1).mean(),
        }


class OrthoHashObjective(Objective):
    """One cosine softmax with margin against fixed binary targets o, orthogonal to each other where they can be:

        - mean_i log [ e^(s (cos_{i y_i} - m)) / (e^(s (cos_{i y_i} - m)) + sum_{c != y_i} e^(s cos_{ic})) ],
        cos_{ic} = cos(z_i, o_c)

    There is no tanh and no quantisation term: a code that points at its target is binary up to its length.

    Source: Hoe et al., One Loss for All: Deep Hashing with a Single Cosine Similarity based Learning Objective,
    NeurIPS 2021, section 3; s = 8 and m = 0.2 as in the authors' code. The targets are not theirs: ``docs/peers.md``.
    """

    head = "direct"
    terms = ("cosine",)
    constants: ClassVar = {"scale": 8.0, "margin": 0.2}
    positive = frozenset({"scale"})
    scale: float
    margin: float
    centers: Tensor

    def __init__(self, sizes: Sizes, **constants: float):
        super().__init__(sizes, **constants)
        self.register_buffer("centers", code_centers(sizes.num_identities, sizes.bits, sizes.seed))

    @classmethod
    def check_people(cls, num_identities: int, bits: int) -> None:
        check_words(num_identities, bits)

    def compute(self, outputs: Outputs, labels: Tensor) -> dict[str, Tensor]:
        cosine = F.normalize(outputs.continuous) @ F.normalize(self.centers).T
        own = F.one_hot(labels, len(self.centers))
        return {"cosine": F.cross_entropy(self.scale * (cosine - self.margin * own), labels)}


class DCDHObjective(Objective):
    """Learnable class centres M (C, bits), under two constraints, and codes B that a regression from the labels gives:

        - mean_i log [ e^(-s/2 |z_i - M_{y_i}|^2) / sum_c e^(-s/2 |z_i - M_c|^2) ]    ("center")
        + w_s mean_{c != c'} log(1 + e^(bits/2 cos(M_c, M_c')))                      ("spread")
        + w_q mean_i |z_i - b_i|^2,   b_i = sign(w_{y_i} + w_q z_i)                  ("quantization")

    where w_y, the least-squares regression of the batch's sign(z) on its labels, is the mean of sign(z) over person y.

    Source: Zhang, Zhe, Chen and Yan, Deep center-based dual-constrained hashing for discriminative face image
    retrieval, Pattern Recognition 117, 2021. The formulas are our reading of its abstract and of the authors' published
    code, with the constants of that code: s = 0.25 (their sigma), w_s = 0.1, w_q = 0.01 (their eta). Not taken over are
    their network, ridge regression, weight decay on M and added 1e-6 in the logarithm, nor their ranking, which is of
    nearest centres and not of codes; see ``docs/peers.md``.
    """

    head = "direct"
    terms = ("center", "spread", "quantization")
    constants: ClassVar = {"scale": 0.25, "spread_weight": 0.1, "quantization_weight": 0.01}
    positive = frozenset({"scale"})
    scale: float

    def __init__(self, sizes: Sizes, **constants: float):
        super().__init__(sizes, **constants)
        self.centers = nn.Parameter(torch.randn(sizes.num_identities, sizes.bits))

    def compute(self, outputs: Outputs, labels: Tensor) -> dict[str, Tensor]:
        z, centers = outputs.continuous, self.centers
        # |z - M|^2 without |z|^2, which a softmax over people does not see.
        logits = self.scale * (z @ centers.T - 0.5 * centers.square().sum(1))
        return {
            "center": F.cross_entropy(logits, labels),
            "spread": off_diagonal_mean(F.softplus(0.5 * centers.shape[1] * cosines(centers))),
            "quantization": (z - self._codes(z.detach(), labels)).square().sum(1).mean(),
        }

    def _codes(self, z: Tensor, labels: Tensor) -> Tensor:
        """b (n, bits): the batch's codes of +-1."""
        same = (labels[:, None] == labels).to(z.dtype)
        regressed = same @ z.sign() / same.sum(1, keepdim=True)
        return torch.where(regressed + self.weights["quantization"] * z >= 0, 1.0, -1.0).to(z.dtype)


PEERS: dict[str, type[Objective]] = {
    "softmax": SoftmaxObjective,
    "csq": CSQObjective,
    "orthohash": OrthoHashObjective,
    "dcdh": DCDHObjective,
}


def central_loss(continuous: Tensor, labels: Tensor, centers: Tensor) -> Tensor:
    """Binary cross-entropy of z (n, bits) to the code centres (C, bits), +-1, of labels (n,); the mean, a scalar."""
    # h = (1 + tanh z) / 2 is the logistic function of 2 z; from logits the logarithm is exact where h rounds to 0 or 1.
    return F.binary_cross_entropy_with_logits(2 * continuous, (centers[labels] + 1) / 2)


def log_cosh(x: Tensor) -> Tensor:
    """log cosh x, entry by entry, without overflow: |x| + log(1 + e^(-2|x|)) - log 2."""
    return x.abs() + F.softplus(-2 * x.abs()) - np.log(2)


def cosines(x: Tensor) -> Tensor:
    """The cosine between each two rows of x (n, d), (n, n)."""
    unit = F.normalize(x)
    return unit @ unit.T


def off_diagonal_mean(x: Tensor) -> Tensor:
    """The mean of x (n, n) without its diagonal, a scalar."""
    n = len(x)
    return (x.sum() - x.diagonal().sum()) / (n * (n - 1))


def check_words(num_identities: int, bits: int) -> None:
    """Refuse more people than there are words of ``bits`` bits.

    Raises:
        ValueError: So many there are.
    """
    if num_identities > 2 ** min(bits, 63):
        raise ValueError(f"{num_identities} people need a code centre each, but {bits} bits have only {2**bits} words")


def code_centers(num_identities: int, bits: int, seed: int) -> Tensor:
    """A code centre of +-1 for each person, float32 (num_identities, bits), far apart; drawn by ``seed``.

    Where a Hadamard matrix of this size exists and has rows enough, they are its rows and negated rows: any two differ
    in half of their bits, or in all. Otherwise words are picked greedily, those with as many ones as zeros first, at
    the largest mutual distance at which enough are found.

    Raises:
        ValueError: There are more people than words of so few bits.

    Source: Yuan et al., CVPR 2020, section 3.1. In the second case these words are farther apart than the authors' own,
    drawn at random; ``docs/peers.md`` has the distances.
    """
    check_words(num_identities, bits)
    rng = np.random.default_rng(seed)
    matrix = hadamard(bits)
    if matrix is not None and num_identities <= 2 * bits:
        # Each row with a sign of its own, or the first bit would be 1 for everybody; then the same rows negated.
        rows = rng.permutation(matrix) * rng.choice([-1, 1], (bits, 1))
        return torch.tensor(np.concatenate([rows, -rows])[:num_identities], dtype=torch.float32)
    if 2**bits <= max(CANDIDATES, 2 * num_identities):  # where many are needed, none must be missed
        words = (np.arange(2**bits)[:, None] >> np.arange(bits) & 1).astype(np.int64) * 2 - 1
        words = rng.permutation(words)
    else:
        words = rng.integers(0, 2, (max(CANDIDATES, 8 * num_identities), bits)) * 2 - 1
    words = words[np.abs(words.sum(1)).argsort(kind="stable")].astype(np.float32)
    for distance in range(bits // 2, 0, -1):
        free = np.ones(len(words), bool)
        chosen: list[np.ndarray] = []
        while len(chosen) < num_identities and free.any():
            chosen.append(words[free.argmax()])
            free &= words @ chosen[-1] <= bits - 2 * distance  # the inner product of words at this distance
        if len(chosen) == num_identities:
            return torch.tensor(np.stack(chosen))
    raise AssertionError("at distance 1 there are words enough")


def hadamard(n: int) -> np.ndarray | None:
    """A matrix of +-1 (n, n) int64 with orthogonal rows, or None where none of the three constructions gives one.

    Sylvester: twice the size of a smaller one. Paley I and II: from the squares modulo a prime q, for n = q + 1 with
    q = 3 mod 4 (12, 20, 24, 44, 48), and for n = 2 (q + 1) with q = 1 mod 4 (12, 28, 36).

    Source: Paley, On Orthogonal Matrices, Journal of Mathematics and Physics, 1933.
    """
    if n == 1:
        return np.ones((1, 1), np.int64)
    if _is_prime(n - 1) and n % 4 == 0:
        conference = _conference(n - 1)
        return conference + np.eye(n, dtype=np.int64)
    if n % 4 == 0 and _is_prime(n // 2 - 1) and n // 2 % 4 == 2:
        conference = _conference(n // 2 - 1)
        return np.kron(conference, [[1, 1], [1, -1]]) + np.kron(np.eye(n // 2, dtype=np.int64), [[1, -1], [-1, -1]])
    smaller = hadamard(n // 2) if n % 2 == 0 else None
    return None if smaller is None else np.kron([[1, 1], [1, -1]], smaller)


def _conference(q: int) -> np.ndarray:
    """A conference matrix int64 (q + 1, q + 1): zero diagonal, +-1 elsewhere, orthogonal rows.

    It is symmetric for q = 1 mod 4, else antisymmetric.
    """
    squares = np.zeros(q, np.int64) - 1
    squares[np.arange(1, q) ** 2 % q] = 1
    squares[0] = 0
    matrix = np.ones((q + 1, q + 1), np.int64)
    matrix[0, 0] = 0
    matrix[1:, 0] = 1 if q % 4 == 1 else -1
    matrix[1:, 1:] = squares[(np.arange(q)[:, None] - np.arange(q)) % q]
    return matrix


def _is_prime(n: int) -> bool:
    return n > 1 and all(n % divisor for divisor in range(2, int(n**0.5) + 1))
