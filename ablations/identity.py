"""What makes two cells the same: the resolved config, the faces, and the code that runs.

A cell's run directory bears its identity, so a change of any of the three makes a new cell, and what is complete never
has to be run again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import dcbh_core
from dcbh_core.config import Config
from dcbh_core.faces import load_split

from .execution import in_batches

CORE = Path(dcbh_core.__file__).parent
RUN_DIRECTORY = Path(__file__).with_name("run_directory.py")
NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
TRAINING_NOTEBOOK = "04_train.ipynb"
REPORT_NOTEBOOK = "07_ablation.ipynb"
DATA_FIELDS = ("dataset", "root", "min_faces", "queries_per_identity", "split_seed", "new_people")


@dataclasses.dataclass(frozen=True)
class Identity:
    """Of one cell.

    Parameters:
        name: of its run directory, readable: "orl-48bit-seed0-3f9c0a1b2c3d".
        whole: hash of everything that its figures depend on.
        experiment: hash of config and faces as they were asked for: without code, with device and dtype still "auto".
        code: hash of the sources.
    """

    name: str
    whole: str
    experiment: str
    code: str


def identify(configs: Iterable[Config], resolve: Callable[[Config], Config] = Config.resolved) -> list[Identity]:
    """The identity of each config, filled in by ``resolve``. Each distinct data set and split is loaded once.

    Raises:
        ValueError, OSError: the faces of a config cannot be loaded, or the training notebook is missing.
    """
    code = code_hash()
    faces: dict[Config, str] = {}
    identities = []
    for config in configs:
        resolved = resolve(config)
        data = Config(**{field: getattr(resolved, field) for field in DATA_FIELDS})
        if data not in faces:
            faces[data] = faces_hash(data)
        # Where the faces lie says nothing about them; their hash does.
        settings = {name: value for name, value in resolved.to_dict().items() if value is not None and name != "root"}
        asked = {**settings, "device": config.device, "dtype": config.dtype}
        whole = _sha256([settings, faces[data], code])
        name = f"{config.dataset}-{config.bits}bit-seed{config.seed}-{whole[:12]}"
        identities.append(Identity(name, whole, _sha256([asked, faces[data]]), code))
    return identities


def code_hash() -> str:
    """Hash of the sources that a cell's figures depend on: ``dcbh_core`` without figures, what fills the run directory,
    and the code of the training notebook (prose, outputs and the cells that batches leave out are not in it)."""
    paths = [*(path for path in CORE.glob("*.py") if path.name != "figures.py"), RUN_DIRECTORY]
    sources = {path.name: path.read_text("utf-8") for path in paths}
    cells = json.loads(notebook(TRAINING_NOTEBOOK).read_text("utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in in_batches(cells) if cell["cell_type"] == "code"]
    return _sha256([sources, code])


def faces_hash(config: Config) -> str:
    """Hash of all faces of the config's split, training, gallery and queries, of known and of new people."""
    split = load_split(config)
    parts = (split.training, split.gallery, split.queries, split.new_gallery, split.new_queries)
    return _sha256([None if part is None else part.fingerprint() for part in parts])


def notebook(name: str) -> Path:
    """The path of one of the kit's notebooks.

    Raises:
        FileNotFoundError: it is not there.
    """
    path = NOTEBOOKS / name
    if not path.is_file():
        raise FileNotFoundError(f"the notebook {path} is missing; ablations run from a checkout of the kit")
    return path


def read_cell(directory: Path) -> dict[str, Any]:
    """What a complete run directory says: the content of its ``cell.json`` (``identity``, ``config``, ``seconds`` that
    the cell took, and ``result_sha256``) and, under ``result``, that of its ``result.json``.

    Raises:
        ValueError: the directory is not complete, its result was changed, or it is that of another config.
        OSError: a file is missing.
    """
    try:
        return parse_cell((directory / "cell.json").read_bytes(), (directory / "result.json").read_bytes())
    except ValueError as error:
        raise ValueError(f"unusable result in {directory}: {error}") from None


def parse_cell(cell_json: bytes, result_json: bytes) -> dict[str, Any]:
    """As ``read_cell``, from the content of the two files."""
    cell, result = json.loads(cell_json), json.loads(result_json)
    try:
        if cell["result_sha256"] != hashlib.sha256(result_json).hexdigest():
            raise ValueError("result.json is not the one that the run has left")
        Identity(**cell["identity"])
        float(cell["seconds"])
        wanted, found = cell["config"], Config.from_dict(result["config"]).resolved().to_dict()
        for field, value in wanted.items():
            if found[field] != value:
                raise ValueError(f"it ran another config: {field} is {found[field]!r}, not {value!r}")
        float(result["metrics"]["map"])
        float(result["timings"]["train_s"])
        for name in ("device", "dtype", "machine", "torch"):
            str(result["environment"][name])
    except KeyError as error:
        raise ValueError(f"{error} is missing") from None
    except TypeError as error:
        raise ValueError(str(error)) from None
    return {**cell, "result": result}


def _sha256(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
