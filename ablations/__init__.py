"""Ablations: suites of experiments, run as papermill batches of the training notebook, and reported as tables.

The way through: ``suite`` (YAML to runs) -> ``identity`` (what makes a run the same) -> ``runner`` (runs to their
directories) -> ``report`` (run directories to tables). ``python -m ablations`` is the command line.
"""
