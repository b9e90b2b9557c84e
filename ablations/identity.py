"""What makes two runs the same: the resolved config, the faces, and the source of what is executed.

A run's directory bears its identity, so a change of any of the three makes a new run, and what is complete never has to
be run again.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import dcbh_core
from dcbh_core.config import Config, Data
from dcbh_core.faces import load_split
from dcbh_core.methods import syntax_tree

from .execution import in_batches

CORE = Path(dcbh_core.__file__).parent
RUN_DIRECTORY = Path(__file__).with_name("run_directory.py")
NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
TRAINING_NOTEBOOK = "04_train.ipynb"
REPORT_NOTEBOOK = "report.ipynb"
# Not in the source of every run: figures change no metric, and a method's file is in that of the runs that use it.
NOT_IN_ALL = ("figures.py", "peers.py")


@dataclasses.dataclass(frozen=True)
class Identity:
    """What one run is, in hashes.

    Attributes:
        name: Of its directory, readable: "orl-48bit-seed0-3f9c0a1b2c3d".
        whole: Hash of everything that its metrics depend on.
        settings: Hash of the config as it was asked for, with device and dtype still "auto".
        faces: Hash of the faces of its split.
        sources: Name of each source file that is executed -> hash of what it does (see ``source_hash``).
        threads: Of its arithmetic; their number moves the last digits of sums, and with them whole trainings.

    Raises:
        TypeError: An attribute is of another type.
    """

    name: str
    whole: str
    settings: str
    faces: str
    sources: dict[str, str]
    threads: int

    def __post_init__(self) -> None:
        texts = (self.name, self.whole, self.settings, self.faces, *self.sources, *self.sources.values())
        if not all(isinstance(text, str) for text in texts) or not isinstance(self.threads, int):
            raise TypeError("its identity is not made of texts and a number of threads")


def identify(
    configs: Iterable[Config], resolve: Callable[[Config], Config] = Config.resolved, threads: int = 1
) -> Iterator[Identity]:
    """The identity of each config, one by one. Each distinct data set and split is loaded once.

    Args:
        configs: As they are asked for.
        resolve: Fills a config in, with the hardware of where it is to run.
        threads: Of each run.

    Raises:
        ValueError: The faces of a config are not what they should be, or cannot be split.
        OSError: The faces of a config cannot be loaded, or the training notebook is missing.
    """
    faces: dict[Data, str] = {}
    common = common_sources()
    for config in configs:
        data = config.data()
        if data not in faces:
            faces[data] = faces_hash(config)
        sources = common | method_sources(config)
        whole = _sha256([_settings(resolve(config)), faces[data], sources, threads])
        name = f"{config.dataset}-{config.bits}bit-seed{config.seed}-{whole[:12]}"
        yield Identity(name, whole, settings_hash(config), faces[data], sources, threads)


def settings_hash(config: Config) -> str:
    """Hash of a config as it is asked for: filled in, but for a device and a dtype of "auto"."""
    return _sha256({**_settings(config.resolved()), "device": config.device, "dtype": config.dtype})


def _settings(config: Config) -> dict[str, Any]:
    """A config's fields that have an effect. Where faces and files of one's own lie says nothing about them."""
    return {name: value for name, value in config.portable().items() if value is not None and name != "root"}


def sources_of(config: Config) -> dict[str, str]:
    """The sources that a run of this config executes: name -> hash."""
    return common_sources() | method_sources(config)


def common_sources() -> dict[str, str]:
    """The sources that every run executes: name -> hash.

    They are ``dcbh_core`` without figures and peers, what fills the run directory, and the code cells of the training
    notebook. Its prose and outputs, and the cells that batches leave out, are not in it.
    """
    paths = [*(path for path in CORE.glob("*.py") if path.name not in NOT_IN_ALL), RUN_DIRECTORY]
    cells = json.loads(notebook(TRAINING_NOTEBOOK).read_text("utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in in_batches(cells) if cell["cell_type"] == "code"]
    hashes = {path.name: source_hash(path.read_text("utf-8")) for path in paths}
    return hashes | {TRAINING_NOTEBOOK: _sha256([source_hash(source) for source in code])}


def method_sources(config: Config) -> dict[str, str]:
    """The sources of head, objective and recipe, and of what they import, that are not among the common ones.

    Returns:
        Name -> hash.
    """
    own = {f"own/{name}": path.read_text("utf-8") for name, path in config.own_files().items()}
    modules = {config.head_class.__module__, config.objective_class.__module__}.union(*map(imported, own.values()))
    names = [name for name in NOT_IN_ALL if f"{dcbh_core.__name__}.{Path(name).stem}" in modules]
    sources = own | {name: (CORE / name).read_text("utf-8") for name in names}
    return {name: source_hash(source) for name, source in sources.items()}


def imported(source: str) -> set[str]:
    """The modules that Python source imports, or imports something from, by their full names."""
    modules: set[str] = set()
    for node in ast.walk(syntax_tree(source)):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.update([node.module, *(f"{node.module}.{alias.name}" for alias in node.names)])
    return modules


def source_hash(source: str) -> str:
    """Hash of what Python source does: of its syntax tree without docstrings; comments and layout are not in it."""
    try:
        tree = syntax_tree(source)
    except SyntaxError:  # a notebook's cell may hold what only IPython understands
        return _sha256(source)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return _sha256(_plain(tree))


def _plain(node: Any) -> Any:
    """A syntax tree as plain lists. Not ``ast.dump``, whose text differs between versions of Python."""
    if isinstance(node, ast.AST):
        fields = [[name, _plain(value)] for name, value in ast.iter_fields(node) if value is not None and value != []]
        return [type(node).__name__, *fields]
    return [_plain(one) for one in node] if isinstance(node, list) else repr(node)


def faces_hash(config: Config) -> str:
    """Hash of all faces of the config's split, training, gallery and queries, of known and of unseen people."""
    return load_split(config).fingerprint()


def notebook(name: str) -> Path:
    """The path of one of the kit's notebooks.

    Raises:
        FileNotFoundError: It is not there.
    """
    path = NOTEBOOKS / name
    if not path.is_file():
        raise FileNotFoundError(f"the notebook {path} is missing; ablations run from a checkout of the kit")
    return path


def read_run(directory: Path) -> dict[str, Any]:
    """What a complete run directory says; nothing in it is executed.

    Returns:
        The content of its ``run.json`` (``identity``, ``config``, ``seconds`` that the run took, ``result_sha256``)
        and, under ``result``, that of its ``result.json``; and, under ``directory``, where it lies.

    Raises:
        ValueError: The directory is not complete, its result was changed, or it is that of another config.
        OSError: A file is missing.
    """
    try:
        run = parse_run((directory / "run.json").read_bytes(), (directory / "result.json").read_bytes())
        return {**run, "directory": directory}
    except ValueError as error:
        raise ValueError(f"unusable result in {directory}: {error}") from None


def parse_run(run_json: bytes, result_json: bytes) -> dict[str, Any]:
    """What ``read_run`` returns, from the content of the two files.

    Raises:
        ValueError: As in ``read_run``.
    """
    try:
        run, result = json.loads(run_json), json.loads(result_json)
        if run["result_sha256"] != hashlib.sha256(result_json).hexdigest():
            raise ValueError("result.json is not the one that the run has left")
        identity = Identity(**run["identity"])
        for field, value in run["config"].items():
            if field != "root" and result["config"][field] != value:
                raise ValueError(f"it ran another config: {field} is {result['config'][field]!r}, not {value!r}")
        if result["faces"] != identity.faces:
            raise ValueError("the faces were changed while the suite ran; start it again")
        numbers = {"seconds": run["seconds"], "map": result["metrics"]["map"], "train_s": result["timings"]["train_s"]}
        for name, number in (numbers | result["metrics"]).items():
            if not isinstance(number, int | float) or not abs(number) <= sys.float_info.max:
                raise ValueError(f"{name} must be a finite number, not {type(number).__name__}")
        texts = [run["config"]["device"], run["config"]["dtype"]]
        texts += [result["environment"][name] for name in ("device", "dtype", "machine", "torch")]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("device, dtype, machine and torch must be texts")
    except KeyError as error:
        raise ValueError(f"{error} is missing") from None
    except (AttributeError, RecursionError, TypeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None
    return {**run, "result": result}


def complete_runs(out: Path) -> list[dict[str, Any]]:
    """``read_run`` of every complete run in the output directory ``out``, the newest first."""
    found = []
    for path in out.glob("complete/*/run.json"):
        try:
            found.append((path.stat().st_mtime, read_run(path.parent)))
        except (OSError, ValueError):
            continue  # not complete, so not counted; a start makes it anew
    return [run for _, run in sorted(found, key=lambda pair: pair[0], reverse=True)]


def changed_sources(then: dict[str, str], now: dict[str, str]) -> list[str]:
    """The names of the source files that are not the same, in order."""
    return sorted(name for name in {*then, *now} if then.get(name) != now.get(name))


def _sha256(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
