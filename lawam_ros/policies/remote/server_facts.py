"""What a server says about itself: enough to use a checkpoint of ours, never enough for an official one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lawam_ros.contract.errors import LawamError, UserMistake
from lawam_ros.contract.load import Contract
from lawam_ros.model.facts import CheckpointFacts, check_contract, facts_from_mapping
from lawam_ros.model.normalisation import DatasetStatistics, statistics_from_mapping
from lawam_ros.policies.wire.served_block import BLOCK


class ServerSilent(LawamError):
    """The server is not there, or not now. No mistake of the user's: whoever starts policies tries again."""


@dataclass(frozen=True)
class ServedCheckpoint:
    """The block of our servers' metadata. facts: None for a checkpoint that does not say what its actions mean."""

    name: str
    facts: CheckpointFacts | None
    statistics: DatasetStatistics


def served_checkpoint(metadata: Mapping[str, Any], where: str) -> ServedCheckpoint | None:
    """None for an official server. Raises UserMistake for a block that cannot be read."""
    block = metadata.get(BLOCK)
    if block is None:
        return None
    try:
        facts = block["facts"]
        return ServedCheckpoint(
            name=str(block["checkpoint"]),
            facts=None if facts is None else facts_from_mapping(facts, where),
            statistics=statistics_from_mapping(str(block["statistics_tag"]), block["statistics"], where),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserMistake(f"{where}: expected the metadata of a lawam_ros server, got a block without or with wrong {error}") from error


def check_served(served: ServedCheckpoint, contract: Contract, where: str) -> None:
    """Refuses at configure time a checkpoint of ours that was made for another contract."""
    assert served.facts is not None
    check_contract(served.facts, contract.task.policy, contract.robot.embodiment_id, f"{served.name} on {where}")


def check_rate(said_hz: Any, told_hz: float | None, contract: Contract, where: str) -> None:
    """The server's rate must be the task's: chunks of another rate would be driven faster or slower than they were meant.

    said_hz: by the server, told_hz: by its address. Raises UserMistake, also where nobody says it.
    """
    known = told_hz if said_hz is None else said_hz
    if known is None:
        raise UserMistake(f"{where} does not say its action rate; expected ?action_hz= in its address, the task asks for {_hz(contract)}")
    for name, rate in (("runs at", said_hz), ("is said to run at", told_hz)):
        if rate is not None and (not isinstance(rate, int | float) or abs(rate - contract.task.policy.action_hz) > 1e-6):
            raise UserMistake(f"{where} {name} {rate} Hz, the task asks for {_hz(contract)}; start the server, or the task, with the other")


def _hz(contract: Contract) -> str:
    return f"{contract.task.policy.action_hz:g} Hz"
