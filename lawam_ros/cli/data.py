"""``lawam data``: demonstrations on disk."""

import argparse

from lawam_ros.cli import data_inspect, data_make


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("data", help="record and look at demonstrations", description="Demonstrations as LeRobot v3 folders.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    data_make.add_parser(commands)
    data_inspect.add_parser(commands)
