"""How much should a memory weigh, and how far away is nobody? MAP of a suite's complete runs, with many memories.

    python -m ablations.memory_weights memory_candidates_lfw --out runs

On the validation part alone, so that nothing is chosen on the queries. A memory needs no training: it is given to the
models that the runs have kept. What it printed is recorded in ``results/candidates/memory_lfw.csv``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from dcbh_core import DCBH, Split, evaluate, load_split
from dcbh_core.config import Data
from dcbh_core.methods import portable

from .report import collect
from .run_directory import QUESTIONS, encode_parts, memory_encoder, questions
from .suite import Suite, load_suite
from .tuning import SCORED

WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
NOBODY = (1.5, 2.0, 3.0)


def memory_weights(suite: Suite, out: Path, any_source: bool = False) -> pd.DataFrame:
    """MAP of each complete run of a suite, with each of ``WEIGHTS`` and ``NOBODY``.

    Args:
        suite: Whose runs they are; scored on the validation part, and without a memory of its own.
        out: The output directory.
        any_source: Take runs of other sources too, as ``collect`` does.

    Returns:
        A row per run, weight and distance: ``variant``, ``split_seed``, ``seed``, and the columns of ``weigh``.

    Raises:
        ValueError: The suite is scored on queries.
    """
    configs = {(run.variant, *portable(run.point).values()): run.config for run in suite.runs()}
    if any(config.scored_on != "validation" for config in configs.values()):
        raise ValueError(f"suite {suite.name!r} is scored on queries, on which no memory is chosen")
    splits: dict[Data, Split] = {}  # each is loaded once
    runs, found = [], []
    for one in collect(suite, out, any_source).to_dict("records"):
        config = configs[(one["variant"], *(one[field] for field in suite.grid))]
        if config.data() not in splits:
            splits[config.data()] = load_split(config)
        model = DCBH.load(out / "complete" / one["run"] / "model", own_code=True)
        runs.append((one["variant"], config.split_seed, config.seed))
        found.append(weigh(model, splits[config.data()]))
    keyed = pd.concat(found, keys=runs, names=["variant", "split_seed", "seed", "row"])
    return keyed.reset_index("row", drop=True).reset_index()


def weigh(
    model: DCBH, split: Split, weights: Sequence[float] = WEIGHTS, nobody: Sequence[float] = NOBODY
) -> pd.DataFrame:
    """MAP of a model without a memory, with each of many.

    Args:
        model: The model.
        split: What it was trained and is asked on.
        weights: Of memories; with 0 bits are the model's own, so that nobody's distance is of no matter.
        nobody: How far away nobody is, see ``dcbh_core.memory``.

    Returns:
        A row per weight and distance: ``weight``, ``nobody``, and MAP of each question, as ``held_out_map``.
    """
    parts = encode_parts(model, split)
    rows = []
    for weight in weights:
        for distance in nobody if weight else nobody[:1]:
            encode = memory_encoder(model, parts["training"], weight, distance)
            row = {"weight": weight, "nobody": distance}
            for question, queries, gallery in questions(parts):
                against = (None, None) if gallery is None else (encode(gallery), gallery.labels)
                row[f"{question.prefix}map"] = evaluate(encode(queries), queries.labels, *against).map
            rows.append(row)
    return pd.DataFrame(rows)


def weights_table(weighed: pd.DataFrame, memories: Sequence[tuple[float, float]]) -> pd.DataFrame:
    """What ``memory_weights`` found, as a table for a page: a row per candidate, split and memory, means over seeds.

    Args:
        weighed: From ``memory_weights``.
        memories: Weight and distance of nobody of each that is shown.

    Returns:
        Text: ``variant``, ``split``, ``seeds``, ``memory`` (its weight), a column for each question, and the criterion
        of ``tuning``, the mean of *held out* and *unseen*.
    """
    columns = {f"{question.prefix}map": question.title for question in QUESTIONS}
    columns = {metric: title for metric, title in columns.items() if metric in weighed}
    rows = []
    for (variant, split), runs in weighed.groupby(["variant", "split_seed"], sort=False):
        for weight, nobody in memories:
            own = runs[(runs["weight"] == weight) & ((runs["nobody"] == nobody) | (weight == 0))]
            means = own[list(columns)].mean()
            words = [f"{value:.3f}" for value in (*means, means[list(SCORED)].mean())]
            rows.append((variant, str(split), str(own["seed"].nunique()), f"{weight:g}", *words))
    return pd.DataFrame(rows, columns=["variant", "split", "seeds", "memory", *columns.values(), "criterion"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", help="name or file of a suite")
    parser.add_argument("--out", type=Path, required=True, help="the output directory of its runs")
    parser.add_argument("--any-source", action="store_true", help="take runs of other sources too")
    options = parser.parse_args()
    found = memory_weights(load_suite(options.suite), options.out, options.any_source)
    found.to_csv(sys.stdout, index=False, float_format="%.6f")
