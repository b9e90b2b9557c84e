"""Figures used by more than one notebook, all in one style: seaborn, colour-blind safe, axes with units.

Imported by name (``from dcbh_core import figures``): the core itself needs no plotting library.
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .faces import Faces
from .training import History

RIGHT, WRONG, QUERY = (sns.color_palette("colorblind")[i] for i in (2, 3, 7))

TERM_TITLES = {
    "code": "classifier on codes\n(cross-entropy, nats)",
    "feature": "classifier on descriptors\n(cross-entropy, nats)",
    "quantization": "quantisation\n(mean distance to target)",
    "center": "centre loss\n(sum over the batch)",
    "total": "total\n(weighted sum)",
}


def set_style() -> None:
    """One look for every figure."""
    sns.set_theme(context="notebook", style="whitegrid", palette="colorblind", font_scale=0.9)
    plt.rcParams.update({"figure.dpi": 80, "savefig.dpi": 80, "axes.titlesize": "medium"})


def show_face(ax: Axes, image: np.ndarray, title: str = "", frame: object = None) -> None:
    """One face (3, 32, 32) on its own axes, with a coloured frame if one is given."""
    ax.imshow(np.moveaxis(image, 0, -1), interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.set_title(title, fontsize="small")
    for spine in ax.spines.values():
        spine.set(visible=frame is not None, linewidth=3, **({"color": frame} if frame is not None else {}))


def people(faces: Faces, count: int = 6, photographs: int = 7) -> Figure:
    """The first people of a data set, one row each."""
    count = min(count, faces.num_identities)
    fig, axes = plt.subplots(count, photographs, figsize=(0.95 * photographs, 1.05 * count), squeeze=False)
    for label, row in enumerate(axes):
        images = faces.images[faces.labels == label]
        for column, ax in enumerate(row):
            if column < len(images):
                show_face(ax, images[column])
            else:
                ax.axis("off")
        row[0].set_ylabel(faces.names[label], rotation=0, ha="right", va="center")
    fig.tight_layout(pad=0.3)
    return fig


def loss_curves(history: History) -> Figure:
    """One panel for each term of the loss, over epochs."""
    fig, axes = plt.subplots(1, len(TERM_TITLES), figsize=(14, 2.8))
    epochs = np.arange(1, len(history) + 1)
    for ax, (name, title) in zip(axes, TERM_TITLES.items(), strict=True):
        sns.lineplot(x=epochs, y=[means[name] for means in history], ax=ax)
        ax.set(title=title, xlabel="epoch", ylabel="", ylim=(0, None))
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
