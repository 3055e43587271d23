"""Benchmarks, one a file; ``python -m experiments.bench.NAME`` writes ``results/bench/NAME.json``."""
