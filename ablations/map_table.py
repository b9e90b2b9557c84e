"""The map of a run's codes as a table: where t-SNE puts each face, who is on it, and from which file it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from .run_directory import PARTS, read_arrays


def map_table(run: Path, perplexity: float = 30) -> pd.DataFrame:
    """The faces of a run, queries and gallery, of known and unseen people, on one map of their codes.

    Args:
        run: The run directory.
        perplexity: Of t-SNE.

    Returns:
        One row per face: ``part`` (queries, gallery, new_queries, new_gallery), ``person``, ``file`` relative to the
        data set's directory (empty where the run does not know it), ``ap`` of a query (of people kept out of training,
        among each other), and the place, ``x`` and ``y``.

    Raises:
        OSError: There is no ``evaluation.npz``.
        ValueError: It is damaged, or lacks what a map is made from.
    """
    from dcbh_core.figures import tsne

    arrays = read_arrays(run)
    try:
        tables = [_of_part(part, arrays) for part in PARTS if f"{part}_codes" in arrays]
    except (IndexError, KeyError, ValueError) as error:
        raise ValueError(f"{run / 'evaluation.npz'} has no map: {type(error).__name__}: {error}") from None
    places = tsne(np.concatenate([arrays[f"{part}_codes"] for part in PARTS if f"{part}_codes" in arrays]), perplexity)
    return pd.concat(tables, ignore_index=True).assign(x=places[:, 0], y=places[:, 1])


def _of_part(part: str, arrays: dict[str, np.ndarray]) -> pd.DataFrame:
    """The rows of a part, without places."""
    labels, new = arrays[f"{part}_labels"], "new_" if part.startswith("new_") else ""
    columns = {"part": part, "person": arrays[f"{new}queries_names"][labels], "file": arrays.get(f"{part}_files", "")}
    columns["ap"] = arrays["ap_unseen_map" if new else "ap_map"] if part.endswith("queries") else np.nan
    return pd.DataFrame(columns, index=range(len(labels)))
