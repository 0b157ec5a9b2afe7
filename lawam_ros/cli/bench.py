"""``lawam bench``: measurements, one sub-command per file."""

import argparse
from importlib import import_module

_BENCHES = ("bench_model", "bench_train", "bench_executor", "bench_fuzz", "bench_seam", "bench_graph", "bench_timing", "bench_convert")
"""Modules of this folder with ``add_parser(subparsers)`` that sets ``run``."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("bench", help="measure speed and fidelity", description="Measure parts of lawam_ros on this machine.")
    benches = parser.add_subparsers(title="benchmarks", metavar="WHAT", required=True)
    for name in _BENCHES:
        import_module(f"lawam_ros.cli.{name}").add_parser(benches)
