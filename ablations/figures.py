"""Pictures of reports: what a suite's table looks like. Imported by name, as the plotting library is."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from .tables import SHALLOW


def seen_against_unseen(statistics: pd.DataFrame) -> Figure:
    """MAP among people of the training set against MAP among unseen ones, with the half-widths of 95 % intervals.

    Args:
        statistics: From ``report.seen_and_unseen``; there is a panel for each ``point``, and in it a cross for each
            ``variant``.
    """
    points = list(dict.fromkeys(statistics["point"]))
    fig, axes = plt.subplots(1, len(points), figsize=(3.4 * len(points) + 2.6, 3.6), squeeze=False, sharey=True)
    variants = list(dict.fromkeys(statistics["variant"]))
    # All eyes tell only ten colors apart: shallow methods are grey, and from the eleventh on markers are hollow.
    shallow = [variant for variant in variants if variant in SHALLOW]
    deep = [variant for variant in variants if variant not in SHALLOW]
    colors = dict(zip(shallow, sns.color_palette("Greys_d", len(shallow)), strict=True))
    colors |= dict(zip(deep, sns.color_palette("colorblind", 10) * 4, strict=False))
    hollow = set(deep[10:20] + deep[30:])
    markers = dict(zip(shallow + deep, "osD^vP*Xp<>hHd8" * 3, strict=False))
    for ax, point in zip(axes[0], points, strict=True):
        here = statistics[statistics["point"] == point].set_index("variant")
        for variant in variants:
            row = here.loc[variant]
            look = {"color": colors[variant], "marker": markers[variant], "linestyle": "", "elinewidth": 1}
            look |= {"fillstyle": "none"} if variant in hollow else {}
            arms = {"xerr": [row["seen_half_width"]], "yerr": [row["unseen_half_width"]]}
            ax.errorbar([row["seen"]], [row["unseen"]], **arms, **look, label=variant)
        ax.set(xlabel="MAP, seen people")
        ax.set_title(point, parse_math=False)
    axes[0][0].set_ylabel("MAP, unseen people")
    legend = axes[0][-1].legend(bbox_to_anchor=(1.02, 1), loc="upper left", fontsize="small")
    for text in legend.get_texts():
        text.set_parse_math(False)  # a variant's name may hold a $
    fig.tight_layout()
    return fig
