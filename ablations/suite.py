"""Suites: which experiments are compared, read from YAML.

A suite is a base config, named variants (overrides of the base) and a grid (fields, each with a list of values), or
several grids over the same fields. Its cells are all pairs of a variant and a grid point.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from dcbh_core.config import Config, unknown_name

SUITES = Path(__file__).parent / "suites"
FIELDS = [field.name for field in dataclasses.fields(Config)]


@dataclasses.dataclass(frozen=True)
class Cell:
    """One experiment of a suite: a variant at a grid point. ``config`` is as asked for, not resolved."""

    variant: str
    point: dict[str, Any]
    config: Config

    @property
    def label(self) -> str:
        return f"{self.variant} {point_text(self.point)}".strip()


def point_text(point: Mapping[str, Any]) -> str:
    """A grid point in words: ``{"bits": 12, "seed": 1}`` is "12 bits seed 1"."""
    return " ".join(f"{value} bits" if field == "bits" else f"{field} {value}" for field, value in point.items())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tuning:
    """What is tried to tune a suite's variants, each with the same effort.

    Parameters:
        at: config fields that all trials share, such as the code length; they take the place of the grid.
        learning_rate: the values tried.
        own: variant -> one field of its objective -> the values tried with each learning rate. Other variants are not
            tuned.
    """

    at: dict[str, Any]
    learning_rate: list[float]
    own: dict[str, dict[str, list[float]]]

    def check(self, variants: Mapping[str, Any]) -> None:
        """Raises ValueError: an unknown variant or field, more than one field, or no list of distinct values."""
        _mapping("tuning: at", self.at, FIELDS)
        _distinct("tuning: learning_rate", self.learning_rate)
        for variant, own in _mapping("tuning: own", self.own).items():
            if variant not in variants:
                raise unknown_name("variant to tune", variant, variants)
            if len(_mapping(f"tuning: own: {variant}", own, FIELDS)) != 1:
                raise ValueError(f"tuning: own: {variant} must be one field, not {list(own)}")
            for field, values in own.items():
                _distinct(f"tuning: own: {variant}: {field}", values)


@dataclasses.dataclass(frozen=True)
class Suite:
    """A named set of experiments that answers one question.

    Parameters:
        name: of the YAML file; results and reports bear it.
        title, about: what it is, and in one or two sentences what question it answers.
        base: config fields that all cells share.
        variants: name -> config fields that it overrides; None takes the base's value away.
        grids: each config field -> the values it takes; all grids have the same fields, and a point that two of them
            name is one point.
        reference: the variant that the others are compared with.
        tuning: what ``tune`` tries, or None.

    Raises:
        ValueError: an unknown field or reference, a field that is set in two places, a grid axis that is no list of
            distinct values, or grids over different fields.
    """

    name: str
    title: str
    about: str
    base: dict[str, Any]
    variants: dict[str, dict[str, Any]]
    grids: list[dict[str, list[Any]]]
    reference: str
    tuning: Tuning | None = None

    def __post_init__(self) -> None:
        with _where(f"suite {self.name!r}"):
            _mapping("base", self.base, FIELDS)
            for grid in self.grids:
                _mapping("grid", grid, FIELDS)
                if list(grid) != list(self.grids[0]):
                    both = f"{', '.join(self.grids[0])} and {', '.join(grid)}"
                    raise ValueError(f"all grids must be over the same fields in one order, not {both}")
                for field, values in grid.items():
                    _distinct(f"grid axis {field}", values)
                    if field in self.base:
                        raise ValueError(f"{field} is in base and in grid; leave it in one of them")
            _mapping("variants", self.variants)
            for variant, overrides in self.variants.items():
                _mapping(f"variant {variant!r}", overrides, FIELDS)
                for field in overrides:
                    if field in self.grid:
                        raise ValueError(f"variant {variant!r} sets {field}, which is a grid axis")
            if self.reference not in self.variants:
                raise unknown_name("reference variant", self.reference, self.variants)
            if self.tuning is not None:
                self.tuning.check(self.variants)

    def __len__(self) -> int:
        """The number of cells."""
        return len(self.variants) * len(self.points())

    def field(self, variant: str, name: str) -> Any:
        """The value of a config field that a variant asks for, None where neither it nor the base does."""
        return {**self.base, **self.variants[variant]}.get(name)

    @property
    def grid(self) -> dict[str, list[Any]]:
        """Every field of the grids -> all values that it takes in any of them."""
        fields = self.grids[0]
        return {field: list(dict.fromkeys(value for grid in self.grids for value in grid[field])) for field in fields}

    def points(self, without: str | None = None) -> list[dict[str, Any]]:
        """All grid points, the first axis slowest, grid by grid; ``without`` leaves one axis out."""
        fields = [field for field in self.grids[0] if field != without]
        values = [point for grid in self.grids for point in itertools.product(*(grid[field] for field in fields))]
        return [dict(zip(fields, point, strict=True)) for point in dict.fromkeys(values)]

    def seeds_at(self, point: Mapping[str, Any]) -> int:
        """How many seeds are planned at a grid point without seed."""
        return sum(all(whole[field] == value for field, value in point.items()) for whole in self.points())

    def cells(self) -> list[Cell]:
        """Every variant at every grid point, point by point, so that comparisons are complete early in a run.

        Raises:
            ValueError: an impossible config, or a variant that is the same experiment as the reference; it is named.
        """
        cells = []
        for point in self.points():
            configs = {}
            for variant, overrides in self.variants.items():
                with _where(f"suite {self.name!r}, {variant} {point_text(point)}".strip()):
                    configs[variant] = Config.from_dict({**self.base, **overrides, **point})
            reference = configs[self.reference].resolved()
            for variant, config in configs.items():
                if variant != self.reference and config.resolved() == reference:
                    at = f" at {point_text(point)}" if point else ""
                    raise ValueError(
                        f"suite {self.name!r}: variant {variant!r} is the same experiment as {self.reference!r}{at}"
                    )
                cells.append(Cell(variant, point, config))
        return cells

    def with_settings(self, settings: Mapping[str, Any]) -> Suite:
        """This suite with fields set anew: a list becomes the axis of its field, a single value the only one on the
        field's axis or, where the field has none, a field of the base.

        Values that the grids hold already select from them, so that ``bits=[24]`` keeps to the seeds that are planned
        at 24 bits; if one is new, they become the axis in each grid.

        Raises:
            ValueError: an unknown field, or one that a variant sets itself.
        """
        base, grids = dict(self.base), [dict(grid) for grid in self.grids]
        for field, value in settings.items():
            if field not in FIELDS:
                raise unknown_name("config field", field, FIELDS)
            for variant, overrides in self.variants.items():
                if field in overrides:
                    raise ValueError(f"{field} cannot be set: it is what variant {variant!r} is about")
            if isinstance(value, list) or field in grids[0]:
                base.pop(field, None)
                values = value if isinstance(value, list) else [value]
                kept = [[one for one in values if one in grid.get(field, [])] for grid in grids]
                if values and all(any(one in part for part in kept) for one in values):
                    grids = [{**grid, field: part} for grid, part in zip(grids, kept, strict=True) if part]
                else:
                    grids = [{**grid, field: values} for grid in grids]
            else:
                base[field] = value
        return dataclasses.replace(self, base=base, grids=grids)

    def select(self, patterns: Iterable[str]) -> list[str]:
        """The variants that match any of ``patterns`` (names, or shell patterns as ``fc*``), in the suite's order.

        Raises:
            ValueError: a pattern that matches none.
        """
        chosen = set()
        for pattern in patterns:
            matches = fnmatch.filter(self.variants, pattern)
            if not matches:
                raise unknown_name("variant", pattern, self.variants)
            chosen.update(matches)
        return [variant for variant in self.variants if variant in chosen]


def suite_names() -> list[str]:
    """The suites that come with the kit."""
    return sorted(path.stem for path in SUITES.glob("*.yaml"))


def load_suite(name_or_path: str) -> Suite:
    """A suite by its name, or from a YAML file (anything with a slash or ending in .yaml).

    Raises:
        ValueError: an unknown name, key, variant or field (the nearest known one is named), or broken YAML.
        FileNotFoundError: no such file.
    """
    path = Path(name_or_path)
    if path.suffix != ".yaml" and path.name == name_or_path:
        if name_or_path not in suite_names():
            raise unknown_name("suite", name_or_path, suite_names())
        path = SUITES / f"{name_or_path}.yaml"
    if not path.is_file():
        raise FileNotFoundError(f"there is no suite file {name_or_path}")
    with _where(f"suite {path.stem!r}"):
        content = parse_yaml(path.read_text(encoding="utf-8"))
        _mapping("the file", content, ["title", "about", "base", "variants", "grid", "reference", "tuning"])
        for key in ("title", "about"):
            if not isinstance(content.get(key), str):
                raise ValueError(f"{key} must be a text, not {content.get(key)!r}")
        variants = _mapping("variants", content.get("variants"))
        if not variants:
            raise ValueError("there must be at least one variant")
        grid: Any = content.get("grid") or {}
        tuning = content.get("tuning")
        if tuning is not None:
            _mapping("tuning", tuning, [field.name for field in dataclasses.fields(Tuning)])
            if len(tuning) < 3:
                raise ValueError("tuning needs at, learning_rate and own")
            tuning = Tuning(**tuning)
    return Suite(
        name=path.stem,
        title=content["title"].strip(),
        about=" ".join(content["about"].split()),
        base=content.get("base") or {},
        variants={name: {} if overrides is None else overrides for name, overrides in variants.items()},
        grids=grid if isinstance(grid, list) and grid else [grid],
        reference=content.get("reference", next(iter(variants))),
        tuning=tuning,
    )


def parse_yaml(text: str) -> Any:
    """Plain values from YAML, in which a key that is given twice is an error.

    Raises:
        ValueError: broken YAML, in one line.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"this is no YAML: {' '.join(str(error).split())}") from None


def as_yaml(value: Any) -> str:
    """A plain value as ``parse_yaml`` reads it back, on one line."""
    return yaml.safe_dump([value], default_flow_style=True, width=10**6).strip()[1:-1]


class _Loader(yaml.SafeLoader):
    """YAML keeps the last of two equal keys and says nothing; here the second one is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key, _ in node.value:
            if keys.count(key.value) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} is given twice", key.start_mark)
        return super().construct_mapping(node, deep)


def _distinct(what: str, values: Any) -> None:
    distinct = isinstance(values, list) and all(values.count(value) == 1 for value in values)
    if not distinct or not values or None in values:
        raise ValueError(f"{what} must be a list of distinct values, not {values!r}")


def _mapping(what: str, value: Any, known: list[str] | None = None) -> dict[str, Any]:
    """``value``, if it is a mapping with text keys, all of them among ``known``."""
    if not isinstance(value, dict):
        raise ValueError(f"{what} must map names to values, not be {value!r}")
    for key in value:
        if not isinstance(key, str):
            raise ValueError(f"{what}: name {key!r} must be a text; put it in quotes")
        if known is not None and key not in known:
            with _where(what):
                raise unknown_name("key" if what in ("the file", "tuning") else "config field", key, known)
    return value


@contextlib.contextmanager
def _where(place: str) -> Iterator[None]:
    """Prefixes the message of a ValueError with where it arose."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
