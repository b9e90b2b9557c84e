"""Draws ``docs/codes.png``, the first picture of the README: ``python -m docs.make_codes``, in half a minute."""

from pathlib import Path

import numpy as np

from dcbh_core import Config, figures, load_split, train

PICTURE = Path(__file__).with_name("codes.png")
PEOPLE = (0, 1)
PHOTOGRAPHS = 2  # of each


def main() -> None:
    """Train a narrow network on ORL and draw the codes of a few photographs that it was not trained on."""
    config = Config(dataset="orl", bits=48, width=0.25)
    split = load_split(config)
    model, _ = train(config, split.training)
    queries = split.queries
    which = np.concatenate([np.flatnonzero(queries.labels == person)[:PHOTOGRAPHS] for person in PEOPLE])
    codes = model.encode(queries.images[which])
    differing = (codes != codes[0]).sum(1)
    titles = [f"{count} of {config.bits} bits differ from the first face's" for count in differing]
    figures.set_style()
    figure = figures.code_strips(queries.images[which], codes, ["the code of this face", *titles[1:]])
    PICTURE.write_bytes(figures.compact(figure).data)


if __name__ == "__main__":
    main()
