"""Figures that more than one notebook shows, all in one style: seaborn, colour-blind safe, axes with units.

Imported by name (``from dcbh_core import figures``): the core itself needs no plotting library.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from .faces import Faces
from .training import History, progress_bar

if TYPE_CHECKING:
    from IPython.display import Image

RIGHT, WRONG, QUERY = (sns.color_palette("colorblind")[i] for i in (2, 3, 7))

MOST_TAGS = 80  # on one map

TERM_TITLES = {
    "code": "classifier on codes\n(cross-entropy, nats)",
    "feature": "classifier on descriptors\n(cross-entropy, nats)",
    "quantization": "quantisation\n(mean distance to target)",
    "center": "centre loss",
    "central": "central similarity\n(cross-entropy, nats)",
    "cosine": "cosine softmax\n(cross-entropy, nats)",
    "spread": "spread of the centres",
    "total": "total\n(weighted sum)",
}


def set_style() -> None:
    """One look for every figure."""
    sns.set_theme(context="notebook", style="whitegrid", palette="colorblind", font_scale=0.9)
    plt.rcParams.update({"figure.dpi": 80, "savefig.dpi": 80, "axes.titlesize": "medium"})


def compact(fig: Figure) -> Image:
    """The figure as a picture of at most 256 colours, to end a cell with: a fraction of what it takes up otherwise.

    The figure is closed.
    """
    from IPython.display import Image
    from PIL import Image as pillow

    full, small = io.BytesIO(), io.BytesIO()
    fig.savefig(full, format="png", bbox_inches="tight")
    plt.close(fig)
    dither = pillow.Dither.NONE
    pillow.open(full).convert("RGB").quantize(256, dither=dither).save(small, "PNG", optimize=True)
    return Image(small.getvalue())


def show_face(ax: Axes, image: np.ndarray, title: str = "", frame: object = None) -> None:
    """One face (3, 32, 32) on its own axes, with a coloured frame if one is given."""
    ax.imshow(np.moveaxis(image, 0, -1), interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.set_title(title, fontsize="small", parse_math=False)  # a name may hold a $
    for spine in ax.spines.values():
        spine.set(visible=frame is not None, linewidth=3, **({"color": frame} if frame is not None else {}))


def people(faces: Faces, count: int = 6, photographs: int = 7) -> Figure:
    """The first people of a data set, one row each.

    Args:
        faces: The data set.
        count: Rows, as far as there are so many people.
        photographs: Faces in a row, as far as the person has so many.
    """
    count = min(count, faces.num_identities)
    fig, axes = plt.subplots(count, photographs, figsize=(0.95 * photographs, 1.05 * count), squeeze=False)
    for label, row in enumerate(axes):
        images = faces.images[faces.labels == label]
        for column, ax in enumerate(row):
            if column < len(images):
                show_face(ax, images[column])
            else:
                ax.axis("off")
        row[0].set_ylabel(faces.names[label], rotation=0, ha="right", va="center", parse_math=False)
    fig.tight_layout(pad=0.3)
    return fig


def loss_curves(history: History) -> Figure:
    """One panel for each term of the loss, over epochs."""
    names = list(history[0])
    fig, axes = plt.subplots(1, len(names), figsize=(2.8 * len(names), 2.8))
    epochs = np.arange(1, len(history) + 1)
    for ax, name in zip(axes, names, strict=True):
        values = [means[name] for means in history]
        sns.lineplot(x=epochs, y=values, ax=ax)
        ax.set(xlabel="epoch", ylabel="", ylim=(min(0, *values), None))
        ax.set_title(TERM_TITLES.get(name, name), parse_math=False)
    fig.tight_layout()
    return fig


def scale(values: dict[str, float], ax: Axes | None = None) -> Axes:
    """Named MAPs as bars between 0 and 1, in the order given."""
    ax = ax or plt.subplots(figsize=(7, 0.42 * len(values) + 0.8))[1]
    names: Sequence[str] = list(values)
    sns.barplot(x=list(values.values()), y=names, hue=names, palette="colorblind", legend=False, ax=ax)
    for container in ax.containers:
        ax.bar_label(container, fmt="%.3f", padding=3)  # type: ignore[arg-type]
    ax.set(xlim=(0, 1.08), xlabel="MAP", ylabel="")
    return ax


def neighbors(
    queries: Faces, which: np.ndarray, gallery: Faces, distances: np.ndarray, indices: np.ndarray, ap: np.ndarray
) -> Figure:
    """One row for each query in ``which``: the query, then what ``search`` found for it, nearest first.

    Right and wrong people differ by colour and by mark; above each face stands its Hamming distance.

    Args:
        queries: All queries.
        which: Positions of those to be shown, (rows,).
        gallery: The gallery.
        distances: Of ``search``, (queries, k).
        indices: Of ``search``, (queries, k): positions in the gallery.
        ap: Average precision of each query, (queries,).
    """
    k = indices.shape[1]
    fig, axes = plt.subplots(len(which), k + 1, figsize=(1.02 * (k + 1) + 0.9, 1.32 * len(which)), squeeze=False)
    for row, query in zip(axes, which, strict=True):
        person = queries.labels[query]
        show_face(row[0], queries.images[query], "query", QUERY)
        side = {"rotation": 0, "ha": "right", "va": "center", "parse_math": False}
        row[0].set_ylabel(f"{queries.names[person]}\nAP {ap[query]:.2f}", **side)
        for ax, distance, index in zip(row[1:], distances[query], indices[query], strict=True):
            right = gallery.labels[index] == person
            title = f"✓ {distance}" if right else f"✗ {distance}  {gallery.names[gallery.labels[index]]}"
            show_face(ax, gallery.images[index], title, RIGHT if right else WRONG)
    fig.tight_layout(pad=0.4)
    return fig


def code_strips(images: np.ndarray, codes: np.ndarray, titles: Sequence[str]) -> Figure:
    """Faces with their codes as strips: a dark field is a 1, a light one a 0.

    Bits in which a face differs from the first one are coloured and crossed.

    Args:
        images: Uint8 (n, 3, 32, 32).
        codes: Bool (n, bits).
        titles: A line above each strip, n of them.
    """
    n, bits = codes.shape
    fig, axes = plt.subplots(
        n, 2, figsize=(12, 1.15 * n + 0.5), width_ratios=(1, 12), squeeze=False, layout="constrained"
    )
    for (left, right), image, code, title in zip(axes, images, codes, titles, strict=True):
        show_face(left, image)
        differs = code != codes[0]
        shades = np.where(code[:, None], to_rgb("0.25"), to_rgb("0.92"))
        shades[differs] = np.where(code[differs, None], WRONG, 0.55 + 0.45 * np.array(WRONG))
        right.imshow(shades[None], aspect="auto", extent=(0.5, bits + 0.5, 0, 1))
        for bit in np.flatnonzero(differs) + 1:
            right.text(bit, 0.47, "×", ha="center", va="center", color="white" if code[bit - 1] else "black")
        right.set_xticks(np.arange(1.5, bits), minor=True)
        right.grid(False)
        right.grid(True, axis="x", which="minor", color="white", linewidth=2)
        right.set(yticks=[], xticks=[])
        right.set_title(title, fontsize="small", loc="left", parse_math=False)
    right.set(xticks=np.unique([1, *range(8, bits + 1, 8)]), xlabel="bit")
    return fig


def tsne(vectors: np.ndarray, perplexity: float = 30) -> np.ndarray:
    """A map of vectors in the plane by t-SNE, begun at the first two principal components, with a progress bar.

    It runs in one thread, so that the map does not depend on how many there are. Where all vectors are the same
    (training has failed), so are their places.

    Args:
        vectors: Codes or descriptors, (n, d).
        perplexity: About how many neighbours a point heeds; at most n / 4 is taken.

    Returns:
        Places in the plane, float64 (n, 2).

    Source: van der Maaten and Hinton, Visualizing Data using t-SNE, JMLR 2008; by openTSNE (Poličar et al., 2019).
    """
    from openTSNE import TSNE

    if (vectors == vectors[0]).all():
        return np.zeros((len(vectors), 2))
    early, late, every = 250, 500, 50  # iterations
    with progress_bar(total=early + late, desc=f"t-SNE of {len(vectors):,}", unit="step") as progress:
        method = TSNE(
            perplexity=min(perplexity, len(vectors) / 4),
            initialization="pca",
            early_exaggeration_iter=early,
            n_iter=late,
            n_jobs=1,
            random_state=0,
            callbacks=lambda iteration, error, embedding: progress.update(every) and None,
            callbacks_every_iters=every,
        )
        return np.asarray(method.fit(vectors.astype(np.float32)))


def sample(labels: np.ndarray, limit: int) -> np.ndarray:
    """Positions, in order, of at most ``limit`` of the labels (n,), of each person as many as of any other.

    A person who has fewer is there with all photographs, and everybody at least once, even if there are more people
    than ``limit``.
    """
    order = np.argsort(labels, kind="stable")
    people, first, counts = np.unique(labels[order], return_index=True, return_counts=True)
    turn = np.arange(len(labels)) - np.repeat(first, counts)  # the how-manieth of its person
    return np.sort(order[np.argsort(turn, kind="stable")][: max(limit, len(people))])


def people_map(ax: Axes, points: np.ndarray, faces: Faces, is_query: np.ndarray, ringed: np.ndarray) -> None:
    """Faces as points in the plane: colour and tag for the person, shape for gallery or query.

    There are more people than colours that an eye can tell apart, so a tag (see ``tags``) stands above the gallery
    faces of each person, as long as there is room for all.

    Args:
        ax: Where to draw.
        points: Places of the faces, (n, 2).
        faces: All n of them, gallery and queries.
        is_query: Bool (n,).
        ringed: Faces to be pointed out, bool (n,).
    """
    colors = np.array(sns.color_palette("colorblind", 10))[faces.labels % 10]
    x, y = points.T
    for part, look in (
        (~is_query, {"marker": "o", "s": 26, "alpha": 0.65, "linewidths": 0}),
        (is_query, {"marker": "^", "s": 40, "edgecolors": "black", "linewidths": 0.7}),
    ):
        ax.scatter(x[part], y[part], c=colors[part], **look)  # type: ignore[arg-type]
    ax.scatter(x[ringed], y[ringed], facecolors="none", edgecolors=WRONG, linewidths=2, s=190)
    halo = [patheffects.withStroke(linewidth=2.5, foreground="white")]
    look = {"ha": "center", "fontsize": 8, "textcoords": "offset points", "path_effects": halo, "parse_math": False}
    for person in np.unique(faces.labels) if faces.num_identities <= MOST_TAGS else ():
        own = (faces.labels == person) & ~is_query
        # A stray photograph must not carry the tag away from the others: medians, not extremes.
        middle, top = np.median(x[own]), np.quantile(y[own], 0.75)
        ax.annotate(tags(faces)[person], (middle, top), xytext=(0, 6), **look)  # type: ignore[arg-type]
    ax.set(xticks=[], yticks=[], xlabel="t-SNE axis 1 (no unit)", ylabel="t-SNE axis 2 (no unit)")


def tags(faces: Faces) -> list[str]:
    """A short text for each person: the names themselves if all are short, else numbers from 0, in order of labels."""
    short = all(len(name) <= 4 for name in faces.names)
    return faces.names if short else [str(label) for label in range(faces.num_identities)]


def pairs_of_people(
    gallery: Faces, queries: Faces, distances: np.ndarray, pairs: np.ndarray, titles: Sequence[str]
) -> Figure:
    """One row for each pair of a person and another who takes places of theirs.

    On the left up to three queries of the person, last the one that loses most places to the other; a coloured frame
    and a mark where a nearest gallery face is somebody else. Then, for that last query, the nearest gallery faces of
    the person, and those of the other, each with its distance, and framed if it is among the nearest R of the whole
    gallery, where R is the number of the person's photographs in it.

    Args:
        gallery: The gallery.
        queries: The queries, with the labels of the gallery.
        distances: Hamming distances, (queries, gallery).
        pairs: Labels of the person and of the other, (rows, 2).
        titles: A line above each row.
    """
    fig, axes = plt.subplots(len(pairs), 11, figsize=(9.6, 1.45 * len(pairs)), squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    small = {"fontsize": "x-small", "labelpad": 1}
    for row, (person, other), title in zip(axes, pairs, titles, strict=True):
        own, others = gallery.labels == person, gallery.labels == other
        asked = np.flatnonzero(queries.labels == person)
        last_place = np.sort(distances[asked], axis=1)[:, [own.sum() - 1]]
        lost = ((distances[asked] <= last_place) & others).sum(1)
        asked = asked[np.argsort(lost, kind="stable")][-3:]
        for ax, query in zip(row[3 - len(asked) :], asked, strict=False):
            ax.axis("on")
            wrong = distances[query, ~own].min() <= distances[query, own].min()
            show_face(ax, queries.images[query], frame=WRONG if wrong else QUERY)
            ax.set_xlabel("✗ query" if wrong else "query", **small)
        apart, limit = distances[asked[-1]], np.sort(distances[asked[-1]])[own.sum() - 1]
        for start, count, whose, mark, color in ((4, 2, own, "✓", RIGHT), (7, 4, others, "✗", WRONG)):
            nearest = np.flatnonzero(whose)[np.argsort(apart[whose], kind="stable")][:count]
            for ax, index in zip(row[start:], nearest, strict=False):
                ax.axis("on")
                show_face(ax, gallery.images[index], frame=color if apart[index] <= limit else None)
                ax.set_xlabel(f"{mark} {apart[index]} bits", **small)
        row[0].set_title(title, fontsize="small", loc="left", parse_math=False)
    fig.subplots_adjust(0, 0.06, 1, 0.93, wspace=0.06, hspace=0.55)
    return fig
