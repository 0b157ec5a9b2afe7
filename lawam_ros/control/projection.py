"""The nearest point that satisfies linear inequalities: the quadratic programme of the collision filter.

With the optional library daqp, or without it by an own method; both give the same point.
"""

import importlib
import importlib.util
from collections.abc import Callable
from ctypes import c_int

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_ENOUGH = 1e-10
_ENDLESS = 1e30


def nearest_allowed(wanted: Array, normals: Array, bounds: Array) -> Array | None:
    """x (n,) nearest to ``wanted`` with normals @ x >= bounds; normals (m, n). None where nothing satisfies all."""
    if np.all(normals @ wanted >= bounds):
        return wanted
    return SOLVER(wanted, normals, bounds)


def by_least_distance(wanted: Array, normals: Array, bounds: Array) -> Array | None:
    """Least distance programming by non-negative least squares (Lawson and Hanson, 1974): exact, in a few small solutions."""
    point, asked = wanted, np.zeros(len(bounds), dtype=bool)
    while True:
        # Only what a point violates has a say in the next one: the few that matter are found in a few rounds.
        violated = (normals @ point < bounds - _ENOUGH) & ~asked
        if not violated.any():
            return point
        asked |= violated
        found = _nearest_to(wanted, normals[asked], bounds[asked])
        if found is None:
            return None
        point = found


def _nearest_to(wanted: Array, normals: Array, bounds: Array) -> Array | None:
    system = np.vstack([normals.T, bounds - normals @ wanted])
    goal = np.zeros(len(system))
    goal[-1] = 1.0
    rest = system @ _non_negative(system, goal) - goal
    if -rest[-1] < 1e-9:
        return None
    return np.asarray(wanted - rest[:-1] / rest[-1])


def by_daqp(wanted: Array, normals: Array, bounds: Array) -> Array | None:
    """The same with daqp."""
    daqp = importlib.import_module("daqp")
    n, m = len(wanted), len(bounds)
    upper, kinds = np.full(m, _ENDLESS), np.zeros(m, dtype=c_int)
    point, _, flag, _ = daqp.solve(np.eye(n), -wanted, np.ascontiguousarray(normals), upper, bounds.copy(), kinds)
    return np.array(point) if flag == 1 else None


def _non_negative(system: Array, goal: Array) -> Array:
    """u >= 0 that minimises |system u - goal|."""
    count = system.shape[1]
    chosen, solution = np.zeros(count, dtype=bool), np.zeros(count)
    for _ in range(3 * count + 10):
        slope = system.T @ (goal - system @ solution)
        slope[chosen] = -np.inf
        entering = int(np.argmax(slope))
        if slope[entering] <= _ENOUGH:
            break
        chosen[entering] = True
        solution = _without_negatives(system, goal, solution, chosen)
    return solution


def _without_negatives(system: Array, goal: Array, before: Array, chosen: NDArray[np.bool_]) -> Array:
    """Least squares over the chosen, as far towards it as all stay at or above zero; those that reach zero are given up."""
    solution = before
    while chosen.any():
        trial = np.zeros(len(before))
        trial[chosen] = np.linalg.lstsq(system[:, chosen], goal, rcond=None)[0]
        negative = chosen & (trial <= 0.0)
        if not negative.any():
            return trial
        drop = np.maximum(solution[negative] - trial[negative], 1e-300)
        solution = solution + min(1.0, float((solution[negative] / drop).min())) * (trial - solution)
        chosen &= solution > _ENOUGH
        solution = np.where(chosen, solution, 0.0)
    return solution


SOLVER: Callable[[Array, Array, Array], Array | None] = by_daqp if importlib.util.find_spec("daqp") else by_least_distance
"""daqp where it is installed."""
