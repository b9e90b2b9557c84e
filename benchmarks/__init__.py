"""How fast the kit is, against ordinary code and against the machine's limits: ``python -m benchmarks``."""
