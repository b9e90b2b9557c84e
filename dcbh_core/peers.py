"""The methods that DCBH is compared with, on the same backbone and in the same training.

Each is one class: its formula and where it is from. Where it differs from its paper and from its authors' code is in
``docs/peers.md``. n is the batch, C the number of people, z (n, bits) what the head gives, q = tanh(z). The shallow
methods, which are not trained by gradients, are in ``shallow``.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .losses import Objective, Outputs, Sizes, quantization_loss

CANDIDATES = 4096  # words among which code centres are sought
FADING = 0.9  # what a step leaves of the codes that a person had before
SPREADING = 500  # steps in which proxies move apart
TURNING = 50  # iterations that turn them towards binary words


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
        return {"cosine": cosine_loss(outputs.continuous, labels, self.centers, self.scale, self.margin)}


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


class CRHObjective(Objective):
    """OrthoHash's loss with binary targets o that people choose anew in each step, after what their codes are now:

        - mean_i log [ e^(s (cos_{i y_i} - m)) / (e^(s (cos_{i y_i} - m)) + sum_{c != y_i} e^(s cos_{ic})) ]
        + w_q mean_ik (|q_ik| - 1)^2,   s = sqrt(2) log(C - 1)

    A target is put together of words, one of each head; each head has 2 C words of its own, drawn once
    (``word_heads``), of which no two people have the same. A person takes a free word that is nearer to their codes of
    late than the own one (``chosen_anew``). So people whom the network takes for similar come to have near targets.

    Source: Yin et al., Codebook-Centric Deep Hashing: End-to-End Joint Learning of Semantic Hash Centers and Neural
    Hash Function, AAAI 2026, where all choose anew after an epoch; see ``docs/peers.md``.
    """

    head = "direct"
    terms = ("cosine", "quantization")
    constants: ClassVar = {"margin": 0.2, "quantization_weight": 0.1}
    margin: float
    words: Tensor
    chosen: Tensor
    codes: Tensor

    def __init__(self, sizes: Sizes, **constants: float):
        super().__init__(sizes, **constants)
        self.scale = math.sqrt(2) * math.log(max(sizes.num_identities - 1, 2))
        words = word_heads(sizes.num_identities, sizes.bits, sizes.seed)
        self.register_buffer("words", words)
        self.register_buffer("chosen", torch.arange(sizes.num_identities).repeat(len(words), 1))
        self.register_buffer("codes", torch.zeros(sizes.num_identities, sizes.bits))

    @classmethod
    def check_people(cls, num_identities: int, bits: int) -> None:
        check_words(num_identities, bits)

    @property
    def centers(self) -> Tensor:
        """The targets o, +-1 (C, bits)."""
        return self.words.take_along_dim(self.chosen[:, :, None], 1).transpose(0, 1).flatten(1)

    def compute(self, outputs: Outputs, labels: Tensor) -> dict[str, Tensor]:
        return {
            "cosine": cosine_loss(outputs.continuous, labels, self.centers, self.scale, self.margin),
            "quantization": (outputs.relaxed.abs() - 1).square().mean(),
        }

    @torch.no_grad()
    def after_backward(self, outputs: Outputs, labels: Tensor) -> None:
        """Let everyone choose anew; in place, and without waiting for the device."""
        self.codes.mul_(FADING).index_put_((labels,), outputs.continuous.sign().to(self.codes), accumulate=True)
        self.chosen.copy_(chosen_anew(self.codes, self.words, self.chosen))


class HCLMObjective(Objective):
    """A softmax whose weights are no weights: proxies W (C, bits) that lie far apart and are nearly binary, fixed:

        - mean_i log [ e^(s q_i W_{y_i}) / sum_c e^(s q_i W_c) ],   |W_c| = 1 / sqrt(bits)

    so that a product is a cosine where q is binary. It is largest at signs, so there is no quantisation term. Proxies
    that are trained with the network could be turned at will, towards no bits in particular; these cannot.

    Source: Morgado et al., Deep Hashing with Hash-Consistent Large Margin Proxy Embeddings, IJCV 2021. Our reading of
    its abstract; how the proxies are found (``large_margin_proxies``) and s are our own, see ``docs/peers.md``.
    """

    head = "direct"
    terms = ("code",)
    constants: ClassVar = {"scale": 8.0}
    positive = frozenset({"scale"})
    scale: float
    proxies: Tensor

    def __init__(self, sizes: Sizes, **constants: float):
        super().__init__(sizes, **constants)
        self.register_buffer("proxies", large_margin_proxies(sizes.num_identities, sizes.bits, sizes.seed))

    def compute(self, outputs: Outputs, labels: Tensor) -> dict[str, Tensor]:
        return {"code": F.cross_entropy(self.scale * outputs.relaxed @ self.proxies.T, labels)}


PEERS: dict[str, type[Objective]] = {
    "softmax": SoftmaxObjective,
    "csq": CSQObjective,
    "orthohash": OrthoHashObjective,
    "dcdh": DCDHObjective,
    "crh": CRHObjective,
    "hclm": HCLMObjective,
}


def central_loss(continuous: Tensor, labels: Tensor, centers: Tensor) -> Tensor:
    """Binary cross-entropy of z (n, bits) to the code centres (C, bits), +-1, of labels (n,); the mean, a scalar."""
    # h = (1 + tanh z) / 2 is the logistic function of 2 z; from logits the logarithm is exact where h rounds to 0 or 1.
    return F.binary_cross_entropy_with_logits(2 * continuous, (centers[labels] + 1) / 2)


def cosine_loss(continuous: Tensor, labels: Tensor, centers: Tensor, scale: float, margin: float) -> Tensor:
    """Cross-entropy of the scaled cosines between z (n, bits) and centres (C, bits), the own one less by the margin.

    Args:
        continuous: z, (n, bits).
        labels: The person on each, (n,).
        centers: One of each person, (C, bits).
        scale: Of all cosines.
        margin: What is taken from the cosine with the own centre.

    Returns:
        The mean, a scalar.
    """
    cosine = F.normalize(continuous) @ F.normalize(centers).T
    own = F.one_hot(labels, len(centers))
    return F.cross_entropy(scale * (cosine - margin * own), labels)


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


def word_heads(num_identities: int, bits: int, seed: int) -> Tensor:
    """Words of +-1 from which targets are put together, float32 (heads, words, bits / heads); drawn by ``seed``.

    Within a head no two are the same. There are twice as many as people, or all if that is more, and as many heads as
    let words be so many.

    Raises:
        ValueError: There are more people than words of so few bits.
    """
    check_words(num_identities, bits)
    count = min(2 * num_identities, 2**bits)
    length = next(d for d in range(1, bits + 1) if bits % d == 0 and 2**d >= count)
    rng = np.random.default_rng(seed)
    distinct = min(length, 62)  # bits that make a word of int64 unlike all others
    numbers = np.stack([rng.choice(2**distinct, count, replace=False) for _ in range(bits // length)])
    more = rng.integers(0, 2, (*numbers.shape, length - distinct))
    words = np.concatenate([numbers[:, :, None] >> np.arange(distinct) & 1, more], 2)
    return torch.tensor(2 * words - 1, dtype=torch.float32)


def chosen_anew(codes: Tensor, words: Tensor, chosen: Tensor) -> Tensor:
    """Which word of each head each person has after all have looked for a nearer one, int64 (heads, C).

    Each wants the free word that is nearest to their codes. If it is nearer than the own one they get it; of several
    who want the same one only the one who gains most.

    Args:
        codes: The sum of each person's codes of +-1, (C, bits).
        words: +-1, (heads, words, bits / heads).
        chosen: Which of them each person has, int64 (heads, C), in no head the same twice.
    """
    near = codes.unflatten(1, (len(words), -1)).transpose(0, 1) @ words.mT  # (heads, C, words); the larger the nearer
    gains = near - near.gather(2, chosen[:, :, None])
    taken = torch.zeros_like(words[:, :, 0], dtype=torch.bool).scatter(1, chosen, True)
    gain, wanted = gains.masked_fill(taken[:, None], -math.inf).max(2)
    bids = torch.full_like(gains, -math.inf).scatter(2, wanted[:, :, None], gain[:, :, None])
    winner = bids.argmax(1).gather(1, wanted)
    wins = (winner == torch.arange(len(codes), device=codes.device)) & (gain > 0)
    return wanted.where(wins, chosen)


def large_margin_proxies(num_identities: int, bits: int, seed: int) -> Tensor:
    """Directions far apart and nearly binary, of length 1 / sqrt(bits), float32 (num_identities, bits).

    First points on the sphere, drawn by ``seed``, move away from each other: each step lessens a soft maximum of their
    cosines, sharper in each step. Then all are turned together so that signs lose little, as in ``shallow.itq``.
    """
    points = np.random.default_rng(seed).standard_normal((num_identities, bits), np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    for sharpness in np.geomspace(2, 100, SPREADING, dtype=np.float32):
        cosine = points @ points.T
        np.fill_diagonal(cosine, -np.inf)
        push = np.exp(sharpness * (cosine - cosine.max(1, keepdims=True)))
        push /= push.sum(1, keepdims=True)
        points -= (push @ points + push.T @ points) / sharpness
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    for _ in range(TURNING):
        left, _, right = np.linalg.svd(points.T @ np.where(points >= 0, np.float32(1), np.float32(-1)))
        points = points @ (left @ right)
    return torch.tensor(points / math.sqrt(bits))


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
