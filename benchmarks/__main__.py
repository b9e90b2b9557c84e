"""``python -m benchmarks``: measures this machine, prints one table and writes it as JSON."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from dcbh_core.config import resolved_device

from . import methods, retrieval, training
from .measuring import Measurement

GROUPS = {"training": training.measure, "retrieval": retrieval.measure, "methods": methods.measure}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", choices=GROUPS, help="one group of measurements; all by default")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: CUDA where it is")
    parser.add_argument("--repeats", type=int, default=3, help="of each measurement (default: 3)")
    parser.add_argument("--out", type=Path, default=Path("runs/bench.json"), help="default: runs/bench.json")
    options = parser.parse_args(arguments)
    device = resolved_device(options.device)
    machine = describe(device)
    print("\n".join(f"{key}: {value}" for key, value in machine.items()), "\n", sep="")
    print(HEADER)
    found: list[Measurement] = []
    for group in [options.only] if options.only else GROUPS:
        for one in tqdm(GROUPS[group](device, options.repeats), desc=group, unit="measurement", disable=None):
            found.append(one)
            tqdm.write(line(one))
            content = {"machine": machine, "measurements": [record(each) for each in found]}
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    print(f"\nwritten: {options.out}")


HEADER = """| what | median | from .. to | baseline | ratio | limit | share |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |"""


def line(one: Measurement) -> str:
    """One row of the table, in Markdown."""
    low, high = min(one.values), max(one.values)
    columns = [
        one.name,
        f"{_short(statistics.median(one.values))} {one.unit}",
        f"{_short(low)} .. {_short(high)}",
    ]
    base = f"{_short(statistics.median(one.baseline))} ({one.baseline_is})" if one.baseline else ""
    columns += [base, "" if one.ratio is None else f"{one.ratio:.1f} x"]
    limit = "" if one.limit is None else f"{_short(one.limit)} ({one.limit_is})"
    columns += [limit, "" if one.share is None else f"{one.share:.0%}"]
    return f"| {' | '.join(columns)} |"


def record(one: Measurement) -> dict[str, object]:
    """As it is kept in JSON."""
    return {**dataclasses.asdict(one), "ratio": one.ratio, "share": one.share}


def describe(device: str) -> dict[str, str]:
    """The machine's kind and the versions."""
    if device == "cuda":
        kind = torch.cuda.get_device_name()
    else:
        cpu = torch.backends.cpu.get_cpu_capability()
        bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        kind = f"{platform.machine()} CPU, {os.cpu_count()} cores, {cpu}, {'with' if bf16 else 'no'} bfloat16"
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}"
    return {"machine": kind, "threads": str(torch.get_num_threads()), "versions": versions}


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()
