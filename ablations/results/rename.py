"""Rename recorded results, run once: columns, variants, commands and tuning tables in the words of today.

new_map -> unseen_map (and all columns with new_), dcbh_soft -> soft_block, soft -> whole, a choice among planned points
by --set -> --where, and tuning tables as any other recorded suite. No number is touched.
"""

import re
from pathlib import Path

import pandas as pd

from ablations.records import RESULTS
from ablations.suite import load_suite
from ablations.tuning import trial_name, tuning_suite

VARIANTS = {"dcbh_soft": "soft_block", "soft": "whole"}
MACHINE = {
    "peers_lfw_tuning": "NVIDIA H100 80GB HBM3, bfloat16, torch 2.11.0+cu130",
    "peers_orl_tuning": "NVIDIA H100 80GB HBM3, bfloat16, torch 2.11.0+cu130",
}


def main() -> None:
    for path in sorted(RESULTS.rglob("*.csv")):
        lines = path.read_text("utf-8").splitlines()
        head = [line for line in lines if line.startswith("#")]
        body = [line for line in lines if not line.startswith("#")]
        names = [re.sub("^new_", "unseen_", name) for name in body[0].split(",")]
        rows = [line.split(",") for line in body[1:]]
        for row in rows:
            row[0] = VARIANTS.get(row[0], row[0])
        if path.stem in MACHINE:
            head, names, rows = tuning(path.stem, names, rows)
        suite = path.stem.split(".")[0]
        for i, line in enumerate(head):
            if line.startswith("# command:"):
                head[i] = line.replace("--set 'bits", "--where 'bits").replace("--set 'seed", "--where 'seed")
                head[i] = head[i].replace("--set seed", "--where seed")
            if line.startswith("# title:") and not path.stem.endswith("_tuning"):
                head[i] = f"# title: {load_suite(suite).title}"
        if path.parent.name == "candidates":
            head = [line.replace("mass head", "soft blocks").replace("# mass", "# soft_block") for line in head]
        path.write_text("\n".join([*head, ",".join(names), *(",".join(row) for row in rows)]) + "\n", "utf-8")


def tuning(stem: str, names: list[str], rows: list[list[str]]) -> tuple[list[str], list[str], list[list[str]]]:
    suite = load_suite(stem.removesuffix("_tuning"))
    trials = tuning_suite(suite)
    made = []
    for row in rows:
        old = dict(zip(names, row, strict=True))
        number = float(old["value"])
        [settings] = [
            one
            for one in suite.tuning.trials(old["variant"])
            if one == {"learning_rate": float(old["learning_rate"]), old["field"]: number}
        ]
        quoted = f'"{trial_name(old["variant"], settings)}"'
        made.append([quoted, "0", "48", old["map"], old["unseen_map"], old["seconds"]])
    head = [
        f"# title: {trials.title}",
        f"# command: python -m ablations tune {suite.name}",
        "# seeds: 0",
        f"# machine: {MACHINE[stem]}",
    ]
    return head, ["variant", "seed", "bits", "map", "unseen_map", "seconds"], made


main()
