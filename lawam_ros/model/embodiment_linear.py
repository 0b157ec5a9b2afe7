"""Linear maps with one weight matrix per robot embodiment, stored (in, out)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class EmbodimentLinear(nn.Module):
    """y = x W[id] + b[id]. W (E, in, out) starts at 0.02 * N(0, 1), b (E, out) at zero."""

    def __init__(self, embodiments: int, width_in: int, width_out: int) -> None:
        super().__init__()
        self.W = nn.Parameter(0.02 * torch.randn(embodiments, width_in, width_out))
        self.b = nn.Parameter(torch.zeros(embodiments, width_out))

    def forward(self, x: Tensor, embodiment_id: Tensor) -> Tensor:
        """x (B, T, in), ids (B,) long to (B, T, out)."""
        return torch.bmm(x, self.W[embodiment_id]) + self.b[embodiment_id][:, None]


class EmbodimentMlp(nn.Module):
    """Two such maps with ReLU between."""

    def __init__(self, embodiments: int, width_in: int, hidden: int, width_out: int) -> None:
        super().__init__()
        self.layer1 = EmbodimentLinear(embodiments, width_in, hidden)
        self.layer2 = EmbodimentLinear(embodiments, hidden, width_out)

    def forward(self, x: Tensor, embodiment_id: Tensor) -> Tensor:
        return self.layer2(F.relu(self.layer1(x, embodiment_id)), embodiment_id)


class EmbodimentEncoder(nn.Module):
    """Two such maps with swish between: tokens of actions or of the state."""

    def __init__(self, embodiments: int, width_in: int, hidden: int) -> None:
        super().__init__()
        self.W1 = EmbodimentLinear(embodiments, width_in, hidden)
        self.W2 = EmbodimentLinear(embodiments, hidden, hidden)

    def forward(self, x: Tensor, embodiment_id: Tensor) -> Tensor:
        return self.W2(F.silu(self.W1(x, embodiment_id)), embodiment_id)
