"""Exponential moving average of weights: what is evaluated and saved. It removes most of the noise of small batches."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from lawam_ros.training.run_state import NamedParameters


class WeightAverage:
    """Running average of named parameters. The decay grows with the step, so early weights are forgotten quickly."""

    def __init__(self, parameters: NamedParameters, decay: float) -> None:
        self._parameters = parameters
        self._decay = decay
        self.values: dict[str, Tensor] = {name: parameter.detach().clone() for name, parameter in parameters.items()}

    def update(self, step: int) -> None:
        """Move towards the parameters after optimiser step ``step`` (from 0)."""
        decay = min(self._decay, (1.0 + step) / (10.0 + step))
        names = list(self.values)
        torch._foreach_lerp_([self.values[n] for n in names], [self._parameters[n].detach() for n in names], 1.0 - decay)

    def restore(self, values: Mapping[str, Tensor]) -> None:
        for name in self.values:
            self.values[name].copy_(values[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The parameters hold the average inside the block and their own values again after it."""
        own = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}
        self.copy_to_parameters()
        try:
            yield
        finally:
            _copy(own, self._parameters)

    def copy_to_parameters(self) -> None:
        _copy(self.values, self._parameters)


@torch.no_grad()
def _copy(values: Mapping[str, Tensor], parameters: NamedParameters) -> None:
    for name, parameter in parameters.items():
        parameter.copy_(values[name])
