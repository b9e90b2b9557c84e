"""Suites: which experiments are compared, read from YAML.

A suite is a base config, named variants (overrides of the base) and a grid (fields, each with a list of values), or
several grids over the same fields. Its runs are all pairs of a variant and a grid point.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import itertools
import reprlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from dcbh_core.config import Config, known_names
from dcbh_core.methods import OWN, find_objective, own_file, portable, unknown_name

SUITES = Path(__file__).parent / "suites"
KEYS = ["extends", "title", "about", "base", "variants", "drop", "grid", "reference", "tuning"]
REPEATS = ("seed", "split_seed")  # fields whose values repeat an experiment; tables are over all of them
LONGEST = 400  # characters of an error message
METRICS = ("memory",)  # fields of a config whose name is a metric's, too
# Rows of every table of MAP, whose names no variant may have: baselines, by metrics of the reference's own runs, and
# shallow methods and a classifier's answer, by metrics of the first variant whose runs have them.
BASELINES = {"chance": "chance", "raw pixels": "pixels"}
SHALLOW = {
    "LSH on pixels": "lsh_pixels",
    "ITQ on pixels": "itq_pixels",
    "LDA-ITQ on pixels": "lda_itq_pixels",
    "LSH on softmax descriptors": "lsh_descriptor",
    "ITQ on softmax descriptors": "itq_descriptor",
    "LDA-ITQ on softmax descriptors": "lda_itq_descriptor",
    "class number by softmax": "class_number",
}


@dataclasses.dataclass(frozen=True)
class Run:
    """One experiment of a suite.

    Attributes:
        variant: The name of its variant.
        point: Its grid point: field -> value.
        config: What it runs, as asked for, not resolved.
    """

    variant: str
    point: dict[str, Any]
    config: Config

    @property
    def label(self) -> str:
        """The run in words."""
        return f"{self.variant} {point_text(self.point)}".strip()


def point_text(point: Mapping[str, Any]) -> str:
    """A grid point in words: ``{"bits": 12, "seed": 1}`` is "12 bits seed 1"; files of one's own by their names."""
    named = portable(point).items()
    return " ".join(f"{value} bits" if field == "bits" else f"{field} {value}" for field, value in named)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tuning:
    """What is tried to tune a suite's variants, each with the same effort.

    Attributes:
        at: Config fields that all trials share, such as the code length, in place of the grid; a list of seeds repeats
            each trial.
        learning_rate: The values tried.
        own: Variant -> fields of its own -> the values tried; all combinations with each learning rate. Other variants
            are not tuned.
    """

    at: dict[str, Any]
    learning_rate: list[float]
    own: dict[str, dict[str, list[float]]]

    def check(self, variants: Mapping[str, Any], known: list[str]) -> None:
        """Refuse what cannot be tried.

        Raises:
            ValueError: An unknown variant or field, no field, or no list of distinct values.
        """
        mapping("tuning: at", self.at, known)
        _distinct("tuning: learning_rate", self.learning_rate)
        if not mapping("tuning: own", self.own):
            raise ValueError("tuning: own must name at least one variant")
        for variant, own in self.own.items():
            if variant not in variants:
                raise unknown_name("variant to tune", variant, variants)
            if not mapping(f"tuning: own: {variant}", own, known):
                raise ValueError(f"tuning: own: {variant} must name at least one field")
            for field, values in own.items():
                _distinct(f"tuning: own: {variant}: {field}", values)

    def trials(self, variant: str) -> list[dict[str, Any]]:
        """The settings tried for a variant: every learning rate with every combination of its own fields."""
        axes = {"learning_rate": self.learning_rate, **self.own[variant]}
        return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


@dataclasses.dataclass(frozen=True)
class Suite:
    """A named set of experiments that answers one question.

    Attributes:
        name: Of the YAML file; results and reports bear it.
        title: What it is.
        about: The question that it answers, in one or two sentences.
        base: Config fields that all runs share.
        variants: Name -> config fields that it overrides; None takes the base's value away.
        grids: Each config field -> the values it takes; all grids have the same fields, and a point that two of them
            name is one point.
        reference: The variant that the others are compared with.
        tuning: What ``tune`` tries, or None.
        directory: Where its results are kept: beside a suite of one's own, ``ablations/results`` for those of the kit.

    Raises:
        ValueError: An unknown field or reference, a name that cannot be printed on one line, a field that is set in two
            places, a grid axis that is no list of distinct values, or grids over different fields.
    """

    name: str
    title: str
    about: str
    base: dict[str, Any]
    variants: dict[str, dict[str, Any]]
    grids: list[dict[str, list[Any]]]
    reference: str
    tuning: Tuning | None = None
    directory: Path = SUITES.parent / "results"

    def __post_init__(self) -> None:
        with located(f"suite {self.name!r}"):
            if "." in self.name:
                raise ValueError("its name must have no dot: behind one stands which part of a suite is recorded")
            mapping("variants", self.variants)
            known = self.known_names()
            mapping("base", self.base, known)
            for grid in self.grids:
                mapping("grid", grid, known)
                if list(grid) != list(self.grids[0]):
                    both = f"{', '.join(self.grids[0])} and {', '.join(grid)}"
                    raise ValueError(f"all grids must be over the same fields in one order, not {both}")
                for field, values in grid.items():
                    _distinct(f"grid axis {field}", values)
                    _distinct(f"grid axis {field}", _named(field, values))
                    if field in METRICS:
                        raise ValueError(f"{field} cannot be an axis, as results have it; make variants of its values")
                    if field in self.base:
                        raise ValueError(f"{field} is in base and in grid; leave it in one of them")
            for variant, overrides in self.variants.items():
                if not variant.isprintable() or not variant.strip():
                    raise ValueError(f"variant {variant!r}: a name must be text that can be printed on one line")
                if variant in BASELINES or variant in SHALLOW:
                    raise ValueError(f"variant {variant!r}: tables have a row of this name; give it another one")
                mapping(f"variant {variant!r}", overrides, known)
                for field in overrides:
                    if field in self.grids[0]:
                        raise ValueError(f"variant {variant!r} sets {field}, which is a grid axis")
            if not isinstance(self.reference, str):
                raise ValueError(f"reference must name a variant, not be {shown(self.reference)}")
            if self.reference not in self.variants:
                raise unknown_name("reference variant", self.reference, self.variants)
            if self.tuning is not None:
                self.tuning.check(self.variants, known)

    def __len__(self) -> int:
        """The number of runs."""
        return len(self.variants) * len(self.points())

    def known_names(self, settings: Mapping[str, Any] | None = None) -> list[str]:
        """All config fields, with the constants of the objectives that the suite, or ``settings``, name.

        Raises:
            ValueError: There is no such objective, or one of one's own cannot be loaded.
        """
        variants = ((f"variant {variant!r}", fields) for variant, fields in self.variants.items())
        grids = (("grid", grid) for grid in self.grids)
        objectives = []
        for place, fields in (("base", self.base), *variants, *grids, ("settings", settings)):
            named = fields.get("objective") if isinstance(fields, Mapping) else None
            for name in named if isinstance(named, list) else [named]:
                if isinstance(name, str):
                    with located(place):
                        objectives.append(find_objective(name))
        return known_names(*objectives)

    def field(self, variant: str, name: str) -> Any:
        """The value of a config field that a variant asks for, None where neither it nor the base does."""
        return {**self.base, **self.variants[variant]}.get(name)

    @property
    def grid(self) -> dict[str, list[Any]]:
        """Every field of the grids -> all values that it takes in any of them."""
        fields = self.grids[0]
        return {field: list(dict.fromkeys(value for grid in self.grids for value in grid[field])) for field in fields}

    def points(self, without: Collection[str] = ()) -> list[dict[str, Any]]:
        """All grid points, the first axis slowest, grid by grid; ``without`` leaves axes out."""
        fields = [field for field in self.grids[0] if field not in without]
        values = [point for grid in self.grids for point in itertools.product(*(grid[field] for field in fields))]
        return [dict(zip(fields, point, strict=True)) for point in dict.fromkeys(values)]

    def repeats_at(self, point: Mapping[str, Any]) -> int:
        """How many runs of a variant, by seed and split, are planned at a grid point without ``REPEATS``."""
        return len(self.repeats(point))

    def repeats(self, point: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The values of ``REPEATS`` with which a grid point without them is repeated, by split and seed."""
        wholes = [whole for whole in self.points() if all(whole[field] == value for field, value in point.items())]
        fields = [field for field in reversed(REPEATS) if field in self.grids[0]]
        repeats = [{field: whole[field] for field in fields} for whole in wholes]
        return sorted(repeats, key=lambda repeat: tuple(repeat.values()))

    def runs(self) -> list[Run]:
        """Every variant at every grid point, point by point, so that comparisons are complete early.

        Raises:
            ValueError: An impossible config, or two variants that are the same experiment; they are named.
        """
        runs = []
        for point in self.points():
            experiments: dict[Config, str] = {}
            for variant, overrides in self.variants.items():
                with located(f"suite {self.name!r}, {variant} {point_text(point)}".rstrip()):
                    config = Config.from_dict({**self.base, **overrides, **point})
                    other = experiments.setdefault(config.resolved(), variant)
                    if other != variant:
                        raise ValueError(f"variant {variant!r} is the same experiment as {other!r}")
                runs.append(Run(variant, point, config))
        return runs

    def changes(self) -> dict[str, dict[str, Any]]:
        """What each variant but the reference changes, at the first grid point: field -> its resolved value.

        A field that has no effect on the variant is None.
        """
        first = [run for run in self.runs() if run.point == self.points()[0]]
        nothing = dict.fromkeys(self.known_names())
        resolved = {run.variant: {**nothing, **run.config.resolved().portable()} for run in first}
        reference = resolved.pop(self.reference)
        return {
            variant: {field: value for field, value in values.items() if value != reference[field]}
            for variant, values in resolved.items()
        }

    def with_settings(self, settings: Mapping[str, Any]) -> Suite:
        """This suite with fields set anew.

        A list becomes the axis of its field in every grid, a single value the only one on the field's axis or, where
        the field has none, a field of the base. What the trials of its tuning share is set as well.

        Args:
            settings: Config field -> a value, or a list of values.

        Raises:
            ValueError: An unknown field, or one that a variant sets itself.
        """
        base, grids = dict(self.base), [dict(grid) for grid in self.grids]
        with located(f"suite {self.name!r}"):
            mapping("settings", settings, self.known_names(settings))
            for variant, overrides in self.variants.items():
                for field in settings:
                    if field in overrides:
                        raise ValueError(f"{field} cannot be set: it is what variant {variant!r} is about")
        for field, value in settings.items():
            if isinstance(value, list) or field in grids[0]:
                base.pop(field, None)
                grids = [{**grid, field: value if isinstance(value, list) else [value]} for grid in grids]
            else:
                base[field] = value
        tuning = self.tuning
        if tuning is not None:
            shared = {field: settings.get(field, value) for field, value in tuning.at.items()}
            tuning = dataclasses.replace(tuning, at=shared)
        # Two results, of the queries and of the validation part, must not have one name.
        elsewhere = settings.get("scored_on") == "validation" != self.base.get("scored_on")
        name = f"{self.name}_validation" if elsewhere else self.name
        return dataclasses.replace(self, name=name, base=base, grids=grids, tuning=tuning)

    def where(self, wanted: Mapping[str, Any]) -> Suite:
        """This suite with those of its planned points alone at which each field has one of the values wanted.

        Args:
            wanted: Grid field -> a value, or a list of values; a file of one's own may be given by its name.

        Raises:
            ValueError: A field that is no grid axis, or a value that is planned nowhere.
        """
        grids = self.grids
        with located(f"suite {self.name!r}"):
            for field, value in wanted.items():
                if field not in self.grid:
                    raise unknown_name("grid axis", field, self.grid)
                planned = dict(zip(_named(field, self.grid[field]), self.grid[field], strict=True))
                values = value if isinstance(value, list) else [value]
                values = [planned.get(one, one) if isinstance(one, str) else one for one in values]
                for one in values:
                    if one not in self.grid[field]:
                        raise ValueError(f"{field} {shown(one)} is not planned; to set it, use --set")
                kept = [{**grid, field: [one for one in grid[field] if one in values]} for grid in grids]
                grids = [grid for grid in kept if grid[field]]
            if not grids:
                raise ValueError(f"no point is planned with {as_yaml(dict(wanted))}")
        return dataclasses.replace(self, grids=grids)

    def select(self, patterns: Iterable[str], among: Iterable[str] | None = None) -> list[str]:
        """The variants that match any of ``patterns`` (names, or shell patterns as ``fc*``), in the suite's order.

        Args:
            patterns: What is wanted.
            among: The variants that can be chosen, if not all.

        Raises:
            ValueError: A pattern matches none.
        """
        variants = list(self.variants if among is None else among)
        chosen = set()
        for pattern in patterns:
            matches = [pattern] if pattern in variants else fnmatch.filter(variants, pattern)
            if not matches:
                with located(f"suite {self.name!r}"):
                    raise unknown_name("variant", pattern, variants)
            chosen.update(matches)
        return [variant for variant in variants if variant in chosen]


def suite_names() -> list[str]:
    """The suites that come with the kit."""
    return sorted(path.stem for path in SUITES.glob("*.yaml"))


def load_suite(name_or_path: str) -> Suite:
    """A suite of the kit, or of a file.

    Args:
        name_or_path: A name, or the path of a YAML file: anything with a slash or ending in .yaml.

    Raises:
        ValueError: An unknown name, key, variant or field (the nearest known one is named), or broken YAML.
        FileNotFoundError: There is no such file.
    """
    path = _suite_path(name_or_path, Path())
    with located(f"suite {path.stem!r}"):
        content = _content(path, ())
        for key in ("title", "about"):
            if not isinstance(content.get(key), str):
                raise ValueError(f"{key} must be a text, not {shown(content.get(key))}")
        variants = mapping("variants", content.get("variants"))
        if not variants:
            raise ValueError("there must be at least one variant")
        grid: Any = content.get("grid", {})
        grids = grid if isinstance(grid, list) else [grid]
        if "grid" in content and (not grids or not all(grids)):
            raise ValueError("grid must name fields, each with a list of values; without grid a variant is one run")
        tuning = content.get("tuning")
        if tuning is not None:
            mapping("tuning", tuning, [field.name for field in dataclasses.fields(Tuning)], "key")
            if len(tuning) < 3:
                raise ValueError("tuning needs at, learning_rate and own")
            tuning = Tuning(**tuning)
    return Suite(
        name=path.stem,
        title=" ".join(content["title"].split()),
        about=" ".join(content["about"].split()),
        base=content.get("base") or {},
        variants=variants,
        grids=grids,
        reference=content.get("reference", next(iter(variants))),
        tuning=tuning,
        **({} if path.parent.resolve() == SUITES.resolve() else {"directory": path.parent}),
    )


def _suite_path(name_or_path: str, beside: Path) -> Path:
    """The file of a suite, by its name, or by a path from the directory ``beside``.

    Raises:
        ValueError: There is no suite of this name.
        FileNotFoundError: There is no such file.
    """
    path = Path(name_or_path)
    if path.suffix != ".yaml" and path.name == name_or_path:
        if name_or_path not in suite_names():
            raise unknown_name("suite", name_or_path, suite_names())
        return SUITES / f"{name_or_path}.yaml"
    if not (beside / path).is_file():
        raise FileNotFoundError(f"there is no suite file {name_or_path}")
    return beside / path


def _content(path: Path, inner: tuple[Path, ...]) -> dict[str, Any]:
    """What a suite file says, on top of what the suite says that it extends.

    Base and variants are laid over those of the other suite, field by field, without the variants that are dropped; all
    other keys take the place of the other's. Files of one's own are found from the suite that names them.

    Args:
        path: The suite file.
        inner: The suites, as resolved paths, that lead here by extending one another.

    Raises:
        ValueError: Broken YAML, an unknown key, suite or variant, or suites that extend one another in a circle.
        FileNotFoundError: The suite that it extends is not there.
    """
    if path.resolve() in inner:
        raise ValueError(f"extends leads back to {path.name}")
    content = mapping("the file", parse_yaml(path.read_text(encoding="utf-8")), KEYS, "key")
    base, variants, grid = content.get("base") or {}, content.get("variants") or {}, content.get("grid") or {}
    mapping("base", base)
    variants = {name: {} if fields is None else fields for name, fields in mapping("variants", variants).items()}
    for fields in (base, *variants.values(), *(grid if isinstance(grid, list) else [grid])):
        if isinstance(fields, dict):
            _find_files(fields, path.parent)
    parent: dict[str, Any] = {}
    if "extends" in content:
        if not isinstance(content["extends"], str):
            raise ValueError(f"extends must name a suite, not {shown(content['extends'])}")
        with located(f"extends {content['extends']}"):
            parent = _content(_suite_path(content["extends"], path.parent), (*inner, path.resolve()))
    merged = dict(parent.get("variants") or {})
    dropped = content.get("drop") or []
    for name in dropped if isinstance(dropped, list) else [dropped]:
        if not isinstance(name, str):
            raise ValueError(f"drop must name variants, not {shown(dropped)}")
        if name not in merged:
            raise unknown_name("variant to drop", name, merged)
        del merged[name]
    for name, fields in variants.items():
        known = merged.get(name)
        merged[name] = {**known, **fields} if isinstance(known, dict) and isinstance(fields, dict) else fields
    own = {key: value for key, value in content.items() if key not in ("extends", "drop")}
    return {**parent, **own, "base": {**(parent.get("base") or {}), **base}, "variants": merged}


def _find_files(fields: dict[str, Any], directory: Path) -> None:
    """Make the files of one's own that ``fields`` name absolute, as seen from the suite's directory."""

    def found(value: Any) -> Any:
        file = own_file(value) if isinstance(value, str) else None
        return f"{(directory / file[0]).absolute()}:{file[1]}" if file else value

    for name in OWN:
        if name in fields:
            value = fields[name]
            fields[name] = [found(one) for one in value] if isinstance(value, list) else found(value)


def parse_yaml(text: str) -> Any:
    """Plain values from YAML, in which a key that is given twice is an error.

    Raises:
        ValueError: Broken YAML, in one line.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ValueError(brief(f"this is no YAML: {error}")) from None
    except Exception as error:  # from values that are not what they say, such as `!!int x`, or from a thousand brackets
        raise ValueError(brief(f"this is no YAML: {type(error).__name__}: {error}")) from None


def as_yaml(value: Any) -> str:
    """A plain value as ``parse_yaml`` reads it back, on one line."""
    return yaml.safe_dump([value], default_flow_style=True, sort_keys=False, width=10**6).strip()[1:-1]


class _Loader(yaml.SafeLoader):
    """YAML without two of its surprises.

    It keeps the last of two equal keys and says nothing; here the second one is an error. Mappings that merge others
    (``<<``) can double in size with each line; suites extend one another instead.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                fault = "is given twice" if key.value in seen else "is not known here" if key.value == "<<" else ""
                if fault:
                    raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} {fault}", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def shown(value: Any) -> str:
    """A value as an error message shows it: not more than its beginning."""
    beginning = reprlib.Repr()
    beginning.maxlevel, beginning.maxstring, beginning.maxother, beginning.maxlong = 3, 60, 60, 30
    return beginning.repr(value)


def brief(message: str) -> str:
    """An error message on one line, without its middle where it is too long."""
    message = " ".join(message.split())
    half = LONGEST // 2
    return message if len(message) <= LONGEST else f"{message[:half]} … {message[-half:]}"


def _named(field: str, values: list[Any]) -> list[Any]:
    """The values of a grid axis as tables have them: files of one's own by their names."""
    return [portable({field: value})[field] for value in values]


def _distinct(what: str, values: Any) -> None:
    """Refuse what is no list of distinct numbers, texts or truth values.

    Raises:
        ValueError: It is none.
    """
    single = isinstance(values, list) and all(isinstance(value, str | int | float) for value in values)
    if not single or not values or len(set(values)) < len(values):
        raise ValueError(f"{what} must be a list of distinct values, not {shown(values)}")


def mapping(what: str, value: Any, known: list[str] | None = None, kind: str = "config field") -> dict[str, Any]:
    """``value``, if it is a mapping with text keys, all of them among ``known``, which are each a ``kind``.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{what} must map names to values, not be {shown(value)}")
    for key in value:
        if not isinstance(key, str):
            raise ValueError(f"{what}: name {shown(key)} must be a text; put it in quotes")
        if known is not None and key not in known:
            with located(what):
                raise unknown_name(kind, key, known)
    return value


@contextlib.contextmanager
def located(place: str) -> Iterator[None]:
    """Prefixes the message of a ValueError with where it arose, and makes one short line of it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(brief(f"{place}: {error}")) from None
