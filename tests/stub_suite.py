"""Stubs stand in place of this small suite's notebooks: its MAP is made up from bits, seed and centre weight."""

import hashlib
import json
import math
import time
from pathlib import Path

import nbformat
import pandas as pd
import yaml

from ablations.runner import run_suite
from ablations.suite import Suite, load_suite
from dcbh_core.config import known_names

NAMES = [*known_names(), "tau"]  # of everything that a config may hold, the constant of OWN included
STUB = f"""
import json, os, pathlib, time
out = pathlib.Path(run_dir)
(out / "pid").write_text(str(os.getpid()))
if seed == 7:
    raise ZeroDivisionError("seed seven is unlucky")
if seed == 8:
    time.sleep(60)
if seed == 9:
    os._exit(1)
config = {{name: globals()[name] for name in {NAMES} if name in globals()}}
config |= {{name: os.path.basename(config[name]) for name in ("head", "objective", "recipe")}}  # wherever it lies
score = 0.4 + bits / 100 - 0.1 * (config.get("center_weight") == 0) + (seed * 37 + bits) % 11 / 100
metrics = {{"map": score, "map_worst": score - 0.01, "map_best": score + 0.02, "precision_at_50": score / 2}}
metrics |= {{"chance": 0.05, "pixels": 0.3, "descriptor": score + 0.01}}
if scored_on == "validation":
    metrics["held_out_map"] = score - 0.05
if new_people or scored_on == "validation":
    metrics |= {{f"unseen_{{name}}": value / 2 for name, value in metrics.items() if name != "held_out_map"}}
environment = {{"device": device, "dtype": dtype, "machine": "a CPU", "torch": "2.13"}}
environment["threads"] = os.environ.get("OMP_NUM_THREADS")
faces = os.environ.get("FACES", f"faces of {{dataset}}, split {{split_seed}}, {{scored_on}}")
result = {{"config": config, "faces": faces, "metrics": metrics, "environment": environment}}
result["timings"] = {{"train_s": 1.5}}
(out / "result.json").write_text(json.dumps(result))
"""
REPORT_STUB = """
from IPython.display import HTML, Image, display
from ablations.report import read_runs
from ablations.writing import write_tables
from ablations.suite import load_suite
display(Image(b"a picture", format="png"))
write_tables(report_dir, read_runs(report_dir), load_suite(suite).with_settings(settings).where(where), metric)
HTML(f"<b>{suite[-10:]} {settings} {where} {metric}</b>")
"""
SMALL = """
title: A small suite
about: Does the stub work?
base: {dataset: orl, width: 0.25, device: cpu, dtype: float32}
variants:
  full: {}
  no_center: {center_weight: 0}
grid:
  bits: [12, 48]
  seed: [0, 1, 2]
"""
GRIDS = [{"bits": [12], "seed": [0, 1, 2]}, {"bits": [24, 48], "seed": [0, 1]}]
OWN = '''
"""A loss of one's own."""
from dcbh_core import Objective


class Pull(Objective):
    """The mean distance of |q| from tau."""

    head = "direct"
    terms = ("pull",)
    constants = {"tau": 0.5}

    def compute(self, outputs, labels):
        return {"pull": (self.tau - outputs.relaxed.abs()).abs().mean()}  # towards tau
'''


def write_notebook(path: Path, *sources: str) -> None:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


def write_suite(path: Path, text: str = SMALL, **changes: object) -> str:
    """A suite file with keys changed; returns its path as text."""
    path.write_text(yaml.safe_dump({**yaml.safe_load(text), **changes}, sort_keys=False))
    return str(path)


def write_own(path: Path) -> str:
    """The small suite in the file ``path``, with one more variant, ``own``, of the loss in ``pull.py`` beside it."""
    path.with_name("pull.py").write_text(OWN)
    return write_suite(path, variants={"full": {}, "no_center": {"center_weight": 0}, "own": {"objective": OWN_NAME}})


OWN_NAME = "pull.py:Pull"
# Names of directories that shells, format strings, papermill, argparse and file systems might trip over.
ODD_NAMES = {
    "odd": "a b'c\"d%s%20$HOME`x`\\n{bits}[*]?é漢字#&;!~ " * 3 + "z" * 50,
    "a line break": "a\nb",
    "like an option": "--out",
    "long": "x" * 255,
}


def run_small(path: str, out: Path, **settings: object) -> int:
    return run_suite(load_suite(path).with_settings(settings), out, jobs=2)


def wait_for(condition, seconds: float = 60):
    """The first true value of ``condition()``, or its last one."""
    end = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(0.1)
    return value


def made_up(suite: Suite, seeds: list[int]) -> pd.DataFrame:
    """A frame with metrics that differ by variant, bits and seed in no simple way."""
    rows = []
    for number, run in enumerate(suite.with_settings({"seed": seeds}).runs()):
        score = 0.5 + 0.3 * math.sin(number * number)
        baselines = {"chance": 0.05, "pixels": 0.31, "descriptor": score + 0.01 * math.cos(number)}
        machine = {"machine": "2-core x86-64 CPU", "dtype": "float32", "torch": "2.13", "threads": "1"}
        rows.append({"variant": run.variant, **run.point, "map": score, **baselines, "seconds": 1.23456789, **machine})
    return pd.DataFrame(rows)


def edit(path: Path, key: str, value: object) -> None:
    """Change a result.json, and its digest in run.json, as if the run had left it so."""
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    about = path.with_name("run.json")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    about.write_text(json.dumps({**json.loads(about.read_text()), "result_sha256": digest}))
