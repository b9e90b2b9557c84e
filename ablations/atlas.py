"""The atlas: all faces of one run, or of two, as one page: two linked maps, and a click answers why.

bokeh draws the maps; ``atlas.html``, ``atlas.css`` and ``atlas.js`` beside this file are the page around them. It asks
for nothing from the network.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dcbh_core import DCBH, Faces, Split, evaluate, load_split, search
from dcbh_core.figures import sample, tsne
from dcbh_core.metrics import evaluate_vectors
from dcbh_core.notes import Note

from .run_directory import PARTS, read_arrays

if TYPE_CHECKING:
    from bokeh.document import Document
    from bokeh.models import Range1d

MOST = 20_000  # faces on a page
NEIGHBORS = 8  # that a click shows
FEW = 2_000  # on a map that draws each with an edge, which takes as long again
KINDS = ("query", "gallery", "unseen query", "unseen gallery")  # in the order of PARTS
MARKERS = ("triangle", "circle", "diamond", "square")
# Without white and black, which are paper and outlines, and grey, which has no value.
# Source: Kelly, Twenty-two colors of maximum contrast, Color Engineering 1965; as hexadecimal numbers by Judd.
PALETTE = (
    *("#f3c300", "#875692", "#f38400", "#a1caf1", "#be0032", "#c2b280", "#008856", "#e68fac", "#0067a5", "#f99379"),
    *("#604e97", "#f6a600", "#b3446c", "#dcd300", "#882d17", "#8db600", "#654522", "#e25822", "#2b3d26"),
)


class Run(NamedTuple):
    """A run directory as the atlas needs it.

    Attributes:
        directory: Where it lies.
        model: The trained model.
        recorded: The arrays of its ``evaluation.npz``; none of a run that only has a model.
        result: What its ``result.json`` says; nothing of a run that only has a model.
    """

    directory: Path
    model: DCBH
    recorded: dict[str, np.ndarray]
    result: dict[str, Any]


class Shown(NamedTuple):
    """The n faces of an atlas.

    Attributes:
        faces: All of them; the labels of unseen people come after those of known ones.
        kind: Of each, its place in ``KINDS``, uint8 (n,).
        files: The file of each, where the data set says so, else none.
        rows: Of each part of the split, by name, which of its faces are shown.
    """

    faces: Faces
    kind: np.ndarray
    files: list[str]
    rows: dict[str, np.ndarray]


class Found(NamedTuple):
    """What n faces find in the gallery. A known person is sought among known people, an unseen one among unseen ones.

    Attributes:
        neighbors: The faces of the gallery that are nearest to each, nearest first, int32 (n, k); -1 where the gallery
            has no more. No face is its own neighbour.
        distances: Their distances, float32 (n, k).
        ap: Average precision of each query, float32 (n,); NaN of the gallery.
        wrong: Queries to which somebody else is nearest, or as near as their own person, bool (n,).
        to_center: Distance of each from the mean of its person's gallery faces, float32 (n,): of codes the sum of the
            bits' differences, which is the mean number of bits in which it differs from them; else Euclidean.
    """

    neighbors: np.ndarray
    distances: np.ndarray
    ap: np.ndarray
    wrong: np.ndarray
    to_center: np.ndarray


class Map(NamedTuple):
    """One of the two maps: its title, codes bool (n, bits), the places of the faces (n, 2), and what they find."""

    title: str
    unit: str
    codes: np.ndarray
    points: np.ndarray
    found: Found


def atlas(
    runs: Sequence[str | os.PathLike[str]],
    *,
    most: int = MOST,
    neighbors: int = NEIGHBORS,
    perplexity: float = 30,
    own_code: bool = False,
) -> str:
    """The atlas of one run (its codes and its descriptors) or of two on the same faces (the codes of both).

    Codes are those that a run has recorded; descriptors, which no run keeps, are computed anew by its saved model, as
    are the codes where there is nothing but a model. The faces are read from the data set.

    Args:
        runs: One or two run directories.
        most: Faces on the page; of a larger data set it shows a sample, and retrieves in that sample.
        neighbors: How many gallery faces a click shows for a face.
        perplexity: As in ``figures.tsne``.
        own_code: As in ``DCBH.load``.

    Returns:
        A page in HTML.

    Raises:
        ValueError: Two runs are one, or not of the same faces, or what a run has recorded is not of the faces that the
            data set holds now.
        OSError: A file is missing, or a reason of ``DCBH.load``.
    """
    read = [read_run(run, own_code) for run in runs]
    if len({run.directory.resolve() for run in read}) < len(read):
        raise ValueError(f"an atlas compares two runs, but both are {read[0].directory}; give one of them alone")
    split = _same_split(read)
    shown = choose(split, most)
    codes = [_codes(run, split, shown) for run in read]
    if len(read) == 1:
        described = read[0].model.describe(shown.faces.images)
        _compare(read[0], described, codes[0])
        bits, numbers = codes[0].shape[1], described.shape[1]
        spaces = [(f"Codes: {bits} bits", codes[0]), (f"Descriptors: {numbers} numbers", described)]
        codes *= 2
    else:
        spaces = [(f"{title}: {c.shape[1]} bits", c) for title, c in zip(_titles(read), codes, strict=True)]
    maps = []
    for (title, vectors), own in zip(spaces, codes, strict=True):
        unit = "bits" if vectors.dtype == bool else ""
        maps.append(Map(title, unit, own, tsne(vectors, perplexity), find(vectors, shown, neighbors)))
    sampled = len(shown.faces) < sum(len(part) for part in _parts(split).values())
    return page(read, shown, maps, sampled)


def read_run(directory: str | os.PathLike[str], own_code: bool = False) -> Run:
    """Model, codes and result of a run directory; of one that notebook 4 has not finished, the model alone.

    Raises:
        ValueError: A file is damaged.
        OSError: There is no saved model, or a reason of ``DCBH.load``.
    """
    directory = Path(directory)
    model = DCBH.load(directory / "model", own_code=own_code)
    recorded: dict[str, np.ndarray] = {}
    result: dict[str, Any] = {}
    try:
        if (directory / "result.json").exists():
            result = json.loads((directory / "result.json").read_text("utf-8"))
            recorded = read_arrays(directory)
            if not {"faces", "metrics"} <= set(result):
                raise ValueError("result.json does not tell faces and metrics")
    except (TypeError, ValueError) as error:
        raise ValueError(f"unusable result in {directory}: {error}") from None
    return Run(directory, model, recorded, result)


def choose(split: Split, most: int = MOST) -> Shown:
    """The faces of a split, at most about ``most``: of a larger one all queries, or half as many, and of the gallery
    what is left. Everybody is among them."""
    parts = _parts(split)
    queries, total = sum(len(parts[name]) for name in parts if name.endswith("queries")), sum(map(len, parts.values()))
    places = min(queries, most // 2) if total > most else queries  # for queries; the gallery has the others
    room = {True: places / queries, False: min(1.0, (most - places) / (total - queries))}
    rows = {
        name: sample(part.labels, round(room[name.endswith("queries")] * len(part))) for name, part in parts.items()
    }
    known = split.gallery.num_identities
    files: list[str] = []
    for name, part in parts.items():
        files += [] if part.files is None else part.files[rows[name]].tolist()
    names = split.gallery.names + ([] if split.new_gallery is None else split.new_gallery.names)
    labels = [parts[name].labels[rows[name]] + known * name.startswith("new_") for name in parts]
    images = [parts[name].images[rows[name]] for name in parts]
    kinds = [np.full(len(rows[name]), PARTS.index(name), np.uint8) for name in parts]
    return Shown(Faces(np.concatenate(images), np.concatenate(labels), names), np.concatenate(kinds), files, rows)


def find(vectors: np.ndarray, shown: Shown, k: int) -> Found:
    """What each face finds in the gallery of its kind.

    Args:
        vectors: Codes bool (n, bits), compared by Hamming distance, or descriptors float (n, d), by Euclidean.
        shown: The faces.
        k: Neighbours of each.
    """
    n = len(vectors)
    found = Found(
        np.full((n, k), -1, np.int32),
        np.full((n, k), np.nan, np.float32),
        np.full(n, np.nan, np.float32),
        np.zeros(n, bool),
        np.zeros(n, np.float32),
    )
    labels = shown.faces.labels
    for query, gallery in ((0, 1), (2, 3)):
        asked, stored = (np.flatnonzero(shown.kind == kind) for kind in (query, gallery))
        if not len(asked):
            continue
        everybody = np.concatenate([asked, stored])
        distances, positions = _nearest(vectors[everybody], vectors[stored], min(k + 1, len(stored)))
        missing = ((0, 0), (0, k + 1 - distances.shape[1]))
        distances = np.pad(distances.astype(np.float32), missing, constant_values=np.nan)
        nearest = np.pad(stored[positions], missing, constant_values=-1)
        out = nearest == everybody[:, None]  # itself; of whoever is not there, the last
        out[~out.any(1), -1] = True
        found.neighbors[everybody] = nearest[~out].reshape(-1, k)
        found.distances[everybody] = distances[~out].reshape(-1, k)
        if vectors.dtype == bool:
            evaluation = evaluate(vectors[asked], labels[asked], vectors[stored], labels[stored])
            first, each = (evaluation.retrieved > 0).argmax(1), np.arange(len(asked))
            found.ap[asked] = evaluation.ap
            found.wrong[asked] = evaluation.relevant[each, first] < evaluation.retrieved[each, first]
        else:
            found.ap[asked] = evaluate_vectors(vectors[asked], labels[asked], vectors[stored], labels[stored])
            found.wrong[asked] = labels[found.neighbors[asked, 0]] != labels[asked]
        for person in np.unique(labels[everybody]):
            its = everybody[labels[everybody] == person]
            apart = vectors[its].astype(np.float32) - vectors[stored[labels[stored] == person]].mean(0)
            found.to_center[its] = np.linalg.norm(apart, 1 if vectors.dtype == bool else 2, axis=1)
    return found


def colors(labels: np.ndarray, maps: Sequence[np.ndarray], count: int = len(PALETTE)) -> np.ndarray:
    """A colour for each person, so that people who are neighbours on a map do not share one.

    Each person in turn takes the colour among whose bearers the nearest comes last, when people are counted from the
    nearest on, on the map where it comes first.

    Args:
        labels: The person on each face, (n,).
        maps: Places of the faces on each map, (n, 2).
        count: How many colours there are.

    Returns:
        Colours from 0, int64 (people,).
    """
    people = labels.max() + 1
    rank = np.full((people, people), people)
    for points in maps:
        middles = np.stack([np.median(points[labels == person], axis=0) for person in range(people)])
        own = np.linalg.norm(middles[:, None] - middles, axis=2).argsort(1).argsort(1)  # b is the how-manieth to a
        rank = np.minimum(rank, np.minimum(own, own.T))
    chosen = np.full(people, -1)
    for person in range(people):
        nearest = [rank[person][chosen == color].min(initial=people) for color in range(count)]
        chosen[person] = np.argmax(nearest)
    return chosen


def page(runs: Sequence[Run], shown: Shown, maps: Sequence[Map], sampled: bool = False) -> str:
    """The page itself, in HTML.

    Args:
        runs: The runs, for the heading.
        shown: The faces.
        maps: The two maps.
        sampled: Whether the faces are a sample of the data set.
    """
    import jinja2
    from bokeh.palettes import Cividis256
    from bokeh.resources import Resources

    columns = math.ceil(math.sqrt(len(shown.faces)))
    document = _document(shown, maps)
    data = {
        "people": shown.faces.names,
        "files": shown.files,
        "kinds": KINDS,
        "label": _packed(shown.faces.labels.astype(np.int32)),
        "kind": _packed(shown.kind),
        "palette": PALETTE,
        "sequence": Cividis256[::-1],
        "sprite": {"columns": columns, "data": base64.b64encode(sprite(shown.faces.images, columns)).decode()},
        "maps": [
            {
                "title": one.title,
                "unit": one.unit,
                "bits": one.codes.shape[1],
                "codes": _packed(np.packbits(one.codes, axis=1)),
                **{name: _packed(array) for name, array in one.found._asdict().items()},
            }
            for one in maps
        ],
        "bokeh": document.to_json(deferred=False),
        "roots": {root.id: f"map{index}" for index, root in enumerate(document.roots)},
    }
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.get_template("atlas.html")
    style, script = (Path(__file__).with_name(f"atlas.{kind}").read_text("utf-8") for kind in ("css", "js"))
    return template.render(
        title=" and ".join(_names(runs)),
        runs=[_about(run, name) for run, name in zip(runs, _names(runs), strict=True)],
        settings=_settings(runs),
        maps=[{"title": one.title, "says": _says(one, shown)} for one in maps],
        legend=[KINDS[kind] for kind in np.unique(shown.kind)],
        faces=len(shown.faces),
        people=len(np.unique(shown.faces.labels)),
        sampled=sampled,
        recorded=[bool(run.recorded) for run in runs],
        # In a script of HTML "<" might end it.
        data=json.dumps(data, allow_nan=False).replace("<", "\\u003c"),
        libraries=Resources(mode="inline", components=["bokeh"]).js_raw,
        style=style,
        script=script,
    )


def sprite(images: np.ndarray, columns: int) -> bytes:
    """All faces (n, 3, 32, 32) as one picture in WebP, row by row, ``columns`` in a row."""
    from PIL import Image

    rows = math.ceil(len(images) / columns)
    cells = np.zeros((rows * columns, *images.shape[1:]), np.uint8)
    cells[: len(images)] = images
    picture = cells.reshape(rows, columns, 3, 32, 32).transpose(0, 3, 1, 4, 2).reshape(rows * 32, columns * 32, 3)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "WEBP", quality=60, method=4)
    return file.getvalue()


def _parts(split: Split) -> dict[str, Faces]:
    """The parts of a split that are there, by name."""
    return {name: part for name in PARTS if (part := getattr(split, name)) is not None}


def _same_split(runs: Sequence[Run]) -> Split:
    """The split of all runs.

    Raises:
        ValueError: They have several, or the data set is not what it was when a run was made.
    """
    data = [dataclasses.asdict(run.model.config.data()) for run in runs]
    for run, other in zip(runs, data, strict=True):
        for field, value in data[0].items():
            if other[field] != value:
                raise ValueError(
                    f"an atlas compares runs on the same faces, but {field} is {value!r} in {runs[0].directory} and "
                    f"{other[field]!r} in {run.directory}"
                )
    split = load_split(runs[0].model.config)
    for run in runs:
        if run.result and run.result["faces"] != split.fingerprint():
            raise ValueError(f"the faces of {data[0]['dataset']!r} are not those that {run.directory} was made with")
    return split


def _codes(run: Run, split: Split, shown: Shown) -> np.ndarray:
    """The codes of the faces: recorded, or where there are none, of the model.

    Raises:
        ValueError: Some were recorded, but not all.
    """
    if not run.recorded:
        return run.model.encode(shown.faces.images)
    try:
        return np.concatenate([run.recorded[f"{name}_codes"][rows] for name, rows in shown.rows.items()])
    except (IndexError, KeyError) as error:
        raise ValueError(f"{run.directory / 'evaluation.npz'} does not hold the codes of all faces: {error}") from None


def _compare(run: Run, descriptors: np.ndarray, codes: np.ndarray) -> None:
    """Say where descriptors that were computed anew do not give the codes that the run has recorded."""
    differing = int((run.model.binarize(descriptors) != codes).sum())
    if differing:
        warnings.warn(
            Note(
                f"descriptors are computed anew here and give {differing:,} of {codes.size:,} bits otherwise than "
                f"{run.directory} has recorded them"
            ),
            stacklevel=3,
        )


def _nearest(vectors: np.ndarray, gallery: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances and positions in the gallery of the k nearest to each vector, both (n, k), nearest first."""
    if vectors.dtype == bool:
        return search(vectors, gallery, k)
    from sklearn.neighbors import NearestNeighbors

    distances, nearest = NearestNeighbors(algorithm="brute").fit(gallery).kneighbors(vectors, k)
    return distances, nearest


def _document(shown: Shown, maps: Sequence[Map]) -> Document:
    """The two maps of bokeh. They share one source, so that what is selected in one is selected in the other."""
    from bokeh.document import Document
    from bokeh.models import (
        BooleanFilter,
        CDSView,
        ColumnDataSource,
        HoverTool,
        IndexFilter,
        LassoSelectTool,
        LinearColorMapper,
        WheelZoomTool,
    )
    from bokeh.plotting import figure

    n, labels = len(shown.faces), shown.faces.labels
    columns = math.ceil(math.sqrt(n))
    person = colors(labels, [one.points for one in maps])[labels].astype(np.float32)
    drawn: dict[str, Any] = {
        "name": [shown.faces.names[label] for label in labels],
        "kind": [KINDS[kind] for kind in shown.kind],
        "marker": [MARKERS[kind] for kind in shown.kind],
        # In the sprite, in percent of a background that is to be moved to it.
        "across": (np.arange(n) % columns / max(columns - 1, 1) * 100).astype(np.float32),
        "down": (np.arange(n) // columns / max(math.ceil(n / columns) - 1, 1) * 100).astype(np.float32),
        "edge": np.where(shown.kind % 2 == 0, "black", "white").tolist(),
    }
    for index, one in enumerate(maps):
        x, y = one.points.T.astype(np.float32)
        drawn |= {f"x{index}": x, f"y{index}": y, f"value{index}": person}
    source = ColumnDataSource(drawn, name="faces")
    size = float(np.clip(150 / math.sqrt(n), 4, 9))
    focus = ColumnDataSource({f"{axis}{index}": [] for index in range(len(maps)) for axis in "xy"}, name="focus")
    document = Document()
    for index, one in enumerate(maps):
        x_range, y_range = (_range(values, part) for values, part in zip(one.points.T, (0.05, 0.1), strict=True))
        plot = figure(
            name=f"map{index}", tools="pan,box_zoom,reset", x_range=x_range, y_range=y_range, sizing_mode="stretch_both"
        )
        at: Any = {"x": f"x{index}", "y": f"y{index}"}
        mapper = LinearColorMapper(
            palette=PALETTE, low=-0.5, high=len(PALETTE) - 0.5, nan_color="#d0d0d0", name=f"colors{index}"
        )
        view = CDSView(filter=BooleanFilter(name=f"visible{index}"))
        edge: Any = {"line_color": "edge" if n <= FEW else None, "line_width": 0.5}
        color: Any = {"field": f"value{index}", "transform": mapper}
        dots = plot.scatter(
            **at,
            source=source,
            view=view,
            marker="marker",
            size=size,
            fill_color=color,
            nonselection_alpha=0.12,
            **edge,
        )
        ringed = CDSView(filter=IndexFilter(indices=np.flatnonzero(one.found.wrong).tolist(), name=f"wrong{index}"))
        ring: Any = {"fill_color": None, "line_color": "#d55e00", "line_width": 2}
        plot.scatter(**at, source=source, view=ringed, marker="circle", size=2 * size, nonselection_alpha=0.25, **ring)

        # What a click changes lies above the dots, so that these need not be drawn again.
        names = ColumnDataSource({"x": [], "y": [], "text": []}, name=f"names{index}")
        look: Any = {"text_align": "center", "text_baseline": "bottom", "text_font_size": "11px", "y_offset": -size}
        look |= {"background_fill_color": "white", "background_fill_alpha": 0.6}
        plot.text(source=names, level="overlay", **look)
        links = ColumnDataSource({name: [] for name in ("x0", "y0", "x1", "y1", "color", "dash")}, name=f"links{index}")
        above: Any = {"level": "overlay", "line_width": 3}
        plot.segment("x0", "y0", "x1", "y1", source=links, line_color="color", line_dash="dash", **above)
        around: Any = {"fill_color": None, "line_color": "black", **above}
        plot.scatter(**at, source=focus, marker="circle", size=2 * size + 6, **around)
        tooltip = """<div style="text-align: center; padding: 2px">
            <div style="width: 96px; height: 96px; margin: auto; image-rendering: pixelated; background-image:
            var(--sprite); background-size: var(--sprite-size); background-position: @across% @down%"></div>
            <b>@name</b><br>@kind</div>"""
        # Equal codes lie on one point: show at most three of their faces, which fit below each other.
        hover = HoverTool(renderers=[dots], tooltips=tooltip, limit=3)
        plot.add_tools(WheelZoomTool(name="wheel"), LassoSelectTool(renderers=[dots]), hover)
        plot.axis.visible = False
        plot.grid.visible = False
        plot.toolbar.logo = None
        document.add_root(plot)
    return document


def _range(values: np.ndarray, part: float) -> Range1d:
    """From the least to the greatest of the values, and a part of that more on either side."""
    from bokeh.models import Range1d

    low, high = float(values.min()), float(values.max())
    more = part * (high - low) or 1.0
    return Range1d(start=low - more, end=high + more)


def _titles(runs: Sequence[Run]) -> list[str]:
    """What tells two runs apart: the settings that differ, or else their names."""
    settings = [{**run.model.config.portable(), "root": None} for run in runs]
    differing = [name for name in {**settings[0], **settings[1]} if settings[0].get(name) != settings[1].get(name)]
    if not differing:
        return _names(runs)
    shown, dots = differing[:3], ["…"] * (len(differing) > 3)
    return [", ".join([*(f"{name} {one.get(name)}" for name in shown), *dots]) for one in settings]


def _names(runs: Sequence[Run]) -> list[str]:
    """The names of the directories; where these are equal, their paths from where they part."""
    paths = [run.directory.resolve() for run in runs]
    if len({path.name for path in paths}) == len(paths):
        return [path.name for path in paths]
    return [str(path.relative_to(os.path.commonpath([one.parent for one in paths]))) for path in paths]


def _settings(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """All settings: name, value in each run, and whether these differ."""
    settings = [run.model.config.portable() for run in runs]
    names = dict.fromkeys(name for one in settings for name in one)
    rows = [{"name": name, "values": [one.get(name, "") for one in settings]} for name in names]
    return [{**row, "differ": any(value != row["values"][0] for value in row["values"])} for row in rows]


def _about(run: Run, name: str) -> dict[str, str]:
    """A run's ``name`` and the settings that one asks for first, in one line."""
    config = run.model.config
    known = f"{config.dataset}, {run.model.num_identities} people in training"
    learned = f"{config.objective}, {config.head} head, {config.bits} bits, width {config.width:g}"
    what = f"{known}; {learned}; {config.recipe} recipe, {config.epochs} epochs, seed {config.seed}"
    metrics = run.result.get("metrics", {})
    asked = {"map": "known people", "unseen_map": "unseen people"}
    said = [f"{metrics[metric]:.3f} ({who})" for metric, who in asked.items() if metric in metrics]
    return {"name": name, "what": what, "map": ", ".join(said)}


def _says(one: Map, shown: Shown) -> str:
    """A map's MAP, and how many queries are wrong."""
    said = []
    for query, who in ((0, "known people"), (2, "unseen people")):
        asked = shown.kind == query
        if asked.any():
            wrong = int(one.found.wrong[asked].sum())
            said.append(f"{who}: MAP {one.found.ap[asked].mean():.3f}, {wrong} of {asked.sum()} queries wrong")
    return "; ".join(said)


def _packed(array: np.ndarray) -> dict[str, str]:
    """An array of uint8, bool, int32 or float32 as the page reads it, row by row."""
    array = array.astype(np.uint8) if array.dtype == bool else array
    return {"type": array.dtype.name, "data": base64.b64encode(np.ascontiguousarray(array).data).decode()}
