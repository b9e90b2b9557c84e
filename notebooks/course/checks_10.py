"""Checks of notebook 10, a method of one's own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from dcbh_core import Head

from . import Unanswered, Verdict, ended

BITS, SIZE = 12, 6


def _descriptors(n: int, seed: int) -> Tensor:
    """Descriptors (n, BITS * SIZE) whose blocks lie at different levels, most of them far from 0."""
    random = torch.Generator().manual_seed(seed)
    level = torch.linspace(-3, 3, BITS).repeat_interleave(SIZE)
    return level + torch.randn(n, BITS * SIZE, generator=random)


def _z(head: Head, f: Tensor) -> Tensor:
    """What a head gives.

    Raises:
        Unanswered: Nothing.
    """
    z = head(f)
    if z is None or z is ...:
        raise Unanswered
    return z


def _made(answer: Callable[..., Any]) -> Iterator[Verdict]:
    """Whether the answer is a head, and gives z of the right shape, through which gradients pass."""
    head = answer(BITS, SIZE)
    yield (
        isinstance(head, Head),
        "Made for 12 bits and blocks of 6 it is a Head."
        if isinstance(head, Head)
        else f"A class with `class ...(Head)` is wanted; this makes a thing of type {type(head).__name__}.",
    )
    f = _descriptors(64, 0).requires_grad_()
    z = _z(head.train(), f)
    shape = tuple(z.shape) if isinstance(z, Tensor) else type(z).__name__
    yield shape == (64, BITS), f"From 64 descriptors come z (64, 12): you give {shape}."
    yield z.is_floating_point(), f"z is made of floating-point numbers, of which training needs the slope: {z.dtype}."
    passes = z.requires_grad
    if passes:
        (gradient,) = torch.autograd.grad((z * torch.arange(z.numel()).reshape(z.shape)).sum(), f)
        passes = bool((gradient != 0).any())
    yield passes, "Gradients pass through it." if passes else "No gradient passes: what tells the network to change?"


def check_1(answer: Callable[..., Any]) -> Iterator[Verdict]:
    """A head on the mean of each block that balances its bits, and whose codes do not depend on the batch."""
    yield from _made(answer)
    head = answer(BITS, SIZE).train()
    with torch.no_grad():
        for seed in range(2, 102):
            _z(head, _descriptors(64, seed))
        z = head(_descriptors(256, 1))
        ones = (z >= 0).float().mean(0)
        worst = int((ones - 0.5).abs().argmax())
        balanced = bool(((ones - 0.5).abs() < 0.15).all())
        within_faces = not balanced and bool((z.mean(1).abs() < 1e-3 * z.abs().mean()).all())
        hint = ": you balance the bits of each face; each bit is to be balanced over the faces" if within_faces else ""
        yield (
            balanced,
            "In training, of faces whose blocks lie at different levels, "
            + ended(f"bit {worst + 1} is 1 for {ones[worst]:.0%}{hint}"),
        )
        head.eval()
        f = _descriptors(256, 500)
        together = head(f)
        same, hint = False, ": its code would change with whoever stands beside it"
        try:
            alone = torch.cat([head(face[None]) for face in f[:20]])
        except ValueError as error:  # what a layer that normalises says about a batch of one
            hint = f": of one face alone it has no mean, it says {str(error)!r}. What of training does it remember"
        else:
            same = bool(alone.isfinite().all()) and bool(torch.allclose(together[:20], alone, atol=1e-4))
        hint = "" if same else f"{hint}?" if hint.endswith("remember") else hint
        yield same, ended(f"After training, a face encoded alone has the z that it has among 256{hint}")
        loaded = answer(BITS, SIZE).eval()
        loaded.load_state_dict(head.state_dict())
        kept = bool(torch.allclose(loaded(f), together, atol=1e-4))
        hint = (
            ""
            if kept
            else (
                ": what it remembers of training is not in its `state_dict`, which is what is saved. "
                "`self.register_buffer(name, tensor)` puts a tensor there"
            )
        )
        yield kept, ended(f"Saved and loaded, it gives the same z{hint}")
        ones = (together >= 0).float().mean(0)
        worst = int((ones - 0.5).abs().argmax())
        yield (
            bool(((ones - 0.5).abs() < 0.15).all()),
            f"After training, of faces that it has not seen: bit {worst + 1} is 1 for {ones[worst]:.0%}.",
        )
        means = f.unflatten(1, (BITS, SIZE)).mean(2)
        order = torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(together.T, means.T, strict=True)])
        yield bool((order > 0.95).all()), "Within each bit, z rises with the mean of the block."


def _with_gradient(answer: Callable[..., Any]) -> Callable[[Tensor], Any]:
    """The function as it was written, whose tensors have gradients; other checks see plain arrays."""
    function = getattr(answer, "function", answer)

    def called(q: Tensor) -> Any:
        term = function(q)
        if term is None or term is ...:
            raise Unanswered
        return term

    return called


def check_2(answer: Callable[..., Any]) -> Iterator[Verdict]:
    """The term whose gradient is -1 from 0 to 0.3, 1 from -0.3 to 0, and 0 elsewhere: mean max(0, 0.3 - |q|)."""
    answer = _with_gradient(answer)
    q = torch.tensor([[0.7], [-0.7], [0.15], [-0.15], [0.29], [-0.31]], dtype=torch.float64)
    wanted = torch.tensor([0.0, 0.0, -1.0, 1.0, -1.0, 0.0], dtype=torch.float64)
    term = answer(q[:1].clone().requires_grad_())
    single = isinstance(term, Tensor) and term.shape == ()
    yield single, "For one face and one bit you return a tensor of one number" + ("." if single else ", all in all.")
    yield term.requires_grad, "The term depends on q." if term.requires_grad else "The term does not depend on q."
    picture = bool(torch.allclose(torch.stack([answer(value[None]).detach() for value in q]), wanted, atol=1e-6))
    for value, right in zip(q, wanted, strict=True):
        one = value[None].clone().requires_grad_()
        (found,) = torch.autograd.grad(answer(one), one)
        slope = found.item() + 0.0  # no -0
        good = math.isclose(slope, right.item(), abs_tol=1e-6)
        hint = ""
        if not good and picture:
            hint = ": you return what the picture shows, and the term is what has it as its gradient"
        elif not good and right and math.isclose(slope, -right.item(), abs_tol=1e-6):
            hint = ": the picture pushes the other way"
        elif not good:
            hint = f": the picture has {right.item():g}"
        yield good, ended(f"At q = {value.item():+.2f} the gradient is {slope:.3g}{hint}")
    for edge in (0.3, -0.3, 0.0):
        below, above = (answer(q.new_full((1, 1), edge + step)).item() for step in (-1e-9, 1e-9))
        smooth = math.isclose(below, above, abs_tol=1e-6)
        hint = "" if smooth else f": it jumps from {below:.3g} to {above:.3g}, which no gradient knows of"
        yield smooth, ended(f"The term goes on without a jump at q = {edge:g}{hint}")
    q = torch.empty(20, 8, dtype=torch.float64).uniform_(-1, 1, generator=torch.Generator().manual_seed(0))
    q.requires_grad_()
    (found,) = torch.autograd.grad(answer(q), q)
    right = torch.where(q.abs() < 0.3, -q.detach().sign(), 0.0) / q.numel()
    hint = ": that is the sum; the mean was asked for" if torch.allclose(found, right * q.numel(), atol=1e-9) else ""
    if not hint and not torch.allclose(found, right, atol=1e-9):
        hint = ": each of the 160 entries has a say of one in 160"
    yield bool(torch.allclose(found, right, atol=1e-9)), ended(f"A batch of 20 faces and 8 bits{hint}")


def check_3(answer: Callable[..., Any]) -> Iterator[Verdict]:
    """The mean of each block, with noise in training alone."""
    yield from _made(answer)
    head, f = answer(BITS, SIZE), _descriptors(1000, 1)
    means = f.unflatten(1, (BITS, SIZE)).mean(2)
    with torch.no_grad():
        head.eval()
        once, again = _z(head, f), head(f)
        yield (
            bool(torch.equal(once, again)),
            "In use, a face encoded twice has one code"
            + ("." if torch.equal(once, again) else ": yours has two. Is the noise still there?"),
        )
        right = bool(torch.allclose(once, means, atol=1e-5))
        yield right, ended("In use, z is the mean of the block" + ("" if right else ": yours is something else"))
        head.train()
        noise = head(f) - means
        spread = noise.std(0)  # of each bit, over faces
        there = spread.max().item() > 1e-3
        with torch.enable_grad():
            asks_for_gradients = not there and bool((head(f) - means).std(0).max() > 1e-3)
        yield (
            there,
            "In training there is noise."
            if there
            else "In training mode there is noise only while gradients are recorded, which is another question: ask"
            " `self.training`."
            if asks_for_gradients
            else "In training no noise differs from face to face: the idea is gone.",
        )
        # NaN, where a bit has no noise, is not above 0.5: the spread tells
        shared = bool((torch.corrcoef(noise.T).triu(1).abs() > 0.5).any())
        hint = ": yours moves several bits of a face together. Has it the shape of z" if shared else ""
        yield not shared, f"Each bit of a face has a noise of its own{hint}{'?' if shared else '.'}"
        good = bool(((spread - 1).abs() < 0.2).all() and noise.mean().abs() < 0.1)
        low, high = spread.min().item(), spread.max().item()
        hint = "" if good else ": the friend's is 1 for each bit"
        yield good, ended(f"Its standard deviation lies between {low:.2f} and {high:.2f}{hint}")
        differs = not torch.equal(head(f), head(f))
        yield differs, ended("It is drawn anew in each step" + ("" if differs else ": yours is the same each time"))
