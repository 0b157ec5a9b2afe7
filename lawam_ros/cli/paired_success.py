"""Two success rates over the same seeds: what the second costs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class PairedDifference:
    """Fractions over ``pairs`` seeds: success of both, the second minus the first, and its 95 % interval."""

    pairs: int
    first: float
    second: float
    difference: float
    low: float
    high: float


def paired_difference(pairs: Sequence[tuple[bool, bool]]) -> PairedDifference:
    """Interval of Agresti and Min (2005, doi:10.1002/sim.1781): Wald's, with half an episode added to each of the four outcomes.

    It does not shrink to nothing where no pair differs. ValueError without a pair.
    """
    if not pairs:
        raise ValueError("expected at least one pair of episodes")
    n = len(pairs)
    lost = sum(first and not second for first, second in pairs)
    won = sum(second and not first for first, second in pairs)
    n_more, lost_more, won_more = n + 2.0, lost + 0.5, won + 0.5
    middle = (won_more - lost_more) / n_more
    spread = 1.959964 * math.sqrt(lost_more + won_more - (won_more - lost_more) ** 2 / n_more) / n_more
    return PairedDifference(
        pairs=n,
        first=sum(first for first, _ in pairs) / n,
        second=sum(second for _, second in pairs) / n,
        difference=(won - lost) / n,
        low=max(-1.0, middle - spread),
        high=min(1.0, middle + spread),
    )
