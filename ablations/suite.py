"""Suites: which experiments are compared, read from YAML.

A suite is a base config, named variants (overrides of the base) and a grid (fields, each with a list of values). Its
cells are all pairs of a variant and a grid point.
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


@dataclasses.dataclass(frozen=True)
class Suite:
    """A named set of experiments that answers one question.

    Parameters:
        name: of the YAML file; results and reports bear it.
        title, about: what it is, and in one or two sentences what question it answers.
        base: config fields that all cells share.
        variants: name -> config fields that it overrides; None takes the base's value away.
        grid: config field -> the values it takes.
        reference: the variant that the others are compared with.

    Raises:
        ValueError: an unknown field or reference, a field that is set in two places, or a grid axis that is no list of
            distinct values.
    """

    name: str
    title: str
    about: str
    base: dict[str, Any]
    variants: dict[str, dict[str, Any]]
    grid: dict[str, list[Any]]
    reference: str

    def __post_init__(self) -> None:
        with _where(f"suite {self.name!r}"):
            _mapping("base", self.base, FIELDS)
            _mapping("grid", self.grid, FIELDS)
            for field, values in self.grid.items():
                distinct = isinstance(values, list) and all(values.count(value) == 1 for value in values)
                if not distinct or not values or None in values:
                    raise ValueError(f"grid axis {field} must be a list of distinct values, not {values!r}")
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

    def __len__(self) -> int:
        """The number of cells."""
        return len(self.variants) * len(self.points())

    def points(self, without: str | None = None) -> list[dict[str, Any]]:
        """All grid points, the first axis slowest; ``without`` leaves one axis out."""
        axes = {field: values for field, values in self.grid.items() if field != without}
        return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]

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
        """This suite with fields set anew: a list becomes the grid axis of its field, a single value the only one on
        the field's axis or, where the field has none, a field of the base.

        Raises:
            ValueError: an unknown field, or one that a variant sets itself.
        """
        base, grid = dict(self.base), dict(self.grid)
        for field, value in settings.items():
            if field not in FIELDS:
                raise unknown_name("config field", field, FIELDS)
            for variant, overrides in self.variants.items():
                if field in overrides:
                    raise ValueError(f"{field} cannot be set: it is what variant {variant!r} is about")
            if isinstance(value, list):
                base.pop(field, None)
                grid[field] = value
            elif field in grid:
                grid[field] = [value]
            else:
                base[field] = value
        return dataclasses.replace(self, base=base, grid=grid)

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
        _mapping("the file", content, ["title", "about", "base", "variants", "grid", "reference"])
        for key in ("title", "about"):
            if not isinstance(content.get(key), str):
                raise ValueError(f"{key} must be a text, not {content.get(key)!r}")
        variants = _mapping("variants", content.get("variants"))
        if not variants:
            raise ValueError("there must be at least one variant")
    return Suite(
        name=path.stem,
        title=content["title"].strip(),
        about=" ".join(content["about"].split()),
        base=content.get("base") or {},
        variants={name: {} if overrides is None else overrides for name, overrides in variants.items()},
        grid=content.get("grid") or {},
        reference=content.get("reference", next(iter(variants))),
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


def _mapping(what: str, value: Any, known: list[str] | None = None) -> dict[str, Any]:
    """``value``, if it is a mapping with text keys, all of them among ``known``."""
    if not isinstance(value, dict):
        raise ValueError(f"{what} must map names to values, not be {value!r}")
    for key in value:
        if not isinstance(key, str):
            raise ValueError(f"{what}: name {key!r} must be a text; put it in quotes")
        if known is not None and key not in known:
            with _where(what):
                raise unknown_name("key" if what == "the file" else "config field", key, known)
    return value


@contextlib.contextmanager
def _where(place: str) -> Iterator[None]:
    """Prefixes the message of a ValueError with where it arose."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
