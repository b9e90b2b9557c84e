"""Ablations: suites of experiments, run as papermill batches of the training notebook, and reported as tables.

The way through: ``suite`` (YAML to cells) -> ``identity`` (what makes a cell the same) -> ``runner`` (cells to run
directories) -> ``report`` (run directories to tables). ``python -m ablations`` is the command line.
"""
