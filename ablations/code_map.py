"""A map of codes as one interactive page: bokeh, and nothing from the network."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import seaborn as sns

from dcbh_core import Faces

if TYPE_CHECKING:
    from bokeh.models import Row


def hover_maps(maps: dict[str, np.ndarray], faces: Faces, is_query: np.ndarray, notes: Sequence[str]) -> Row:
    """Maps of the same faces side by side, interactive: hovering a point shows its face, name and note.

    A face that is tapped, or caught with the lasso, is marked in every map.

    Args:
        maps: Title -> places (n, 2) of the n faces.
        faces: The faces.
        is_query: Which of them are queries, bool (n,).
        notes: What is said of each.
    """
    from bokeh.layouts import row
    from bokeh.models import ColumnDataSource, HoverTool
    from bokeh.plotting import figure

    palette = sns.color_palette("colorblind", 10).as_hex()
    columns: dict[str, Any] = {
        "face": [_data_uri(image) for image in faces.images],
        "name": [faces.names[label] for label in faces.labels],
        "note": list(notes),
        "color": [palette[label % 10] for label in faces.labels],
        "edge": np.where(is_query, "black", "white"),
        "marker": np.where(is_query, "triangle", "circle"),
        "size": np.where(is_query, 11, 8),
        "role": np.where(is_query, "query", "gallery"),
    }
    for index, points in enumerate(maps.values()):
        columns |= {f"x{index}": points[:, 0].astype(np.float32), f"y{index}": points[:, 1].astype(np.float32)}
    source = ColumnDataSource(columns)
    tooltip = """<div style="text-align: center; padding: 2px">
        <img src="@face{safe}" alt="" style="width: 96px; height: 96px; image-rendering: pixelated; display: block">
        <b>@name</b><br>@note</div>"""
    plots = []
    for index, title in enumerate(maps):
        # Equal codes lie on one point: show at most three of their faces, which fit below each other.
        hover = HoverTool(tooltips=tooltip, limit=3)
        tools: list[Any] = [hover, "tap", "lasso_select", "pan", "wheel_zoom", "reset"]
        plot = figure(title=title, tools=tools, height=430, sizing_mode="stretch_width")
        look: Any = {"marker": "marker", "size": "size", "fill_color": "color", "line_color": "edge"}
        plot.scatter(f"x{index}", f"y{index}", source=source, legend_group="role", nonselection_alpha=0.15, **look)
        plot.axis.visible = False
        plots.append(plot)
    return row(plots, sizing_mode="stretch_width")


def _data_uri(image: np.ndarray) -> str:
    """A face (3, 32, 32) as a data URI. WebP, as hundreds of faces in PNG would make a large page."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.moveaxis(image, 0, -1)).save(file, "WEBP", quality=65, method=6)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
