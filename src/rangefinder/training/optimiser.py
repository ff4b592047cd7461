"""How both networks learn: Muon for convolutions, AdamW for all else, one learning-rate cycle."""

from __future__ import annotations

from typing import Any

from pytorch_optimizer import Muon
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

ELSEWHERE = 0.15  # learning rate of AdamW / that of Muon
WARM_UP = 0.15  # share of all steps
BETAS = (0.9, 0.99)  # of AdamW
ANSWERS = ("head", "modulation")  # output layers, which are left to AdamW too


def optimiser(
    module: nn.Module, learning_rate: float, weight_decay: float, total_steps: int
) -> dict[str, Any]:
    """Optimiser and schedule as Lightning wants them.

    Muon (Jordan et al. 2024) makes every direction of a convolution's step as long as every other,
    so what only a few patches tell, such as the side of the focus, is learned as soon as what all
    of them tell.

    Args:
        module: Network to be trained; frozen parameters stay as they are.
        learning_rate: Highest of the cycle, of the convolutions.
        weight_decay: Of all parameters.
        total_steps: Steps of the whole training.
    """
    wanted = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    convolutions = [p for name, p in wanted if _is_hidden_convolution(name, p)]
    others = [p for name, p in wanted if not _is_hidden_convolution(name, p)]
    rates = [learning_rate, ELSEWHERE * learning_rate]
    groups = [
        {"params": convolutions, "use_muon": True, "lr": rates[0]},
        {"params": others, "use_muon": False, "lr": rates[1], "betas": BETAS},
    ]
    muon = Muon([group | {"weight_decay": weight_decay} for group in groups])
    schedule = OneCycleLR(
        muon, rates, total_steps=total_steps, pct_start=WARM_UP, cycle_momentum=False
    )
    return {"optimizer": muon, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _is_hidden_convolution(name: str, parameter: nn.Parameter) -> bool:
    return parameter.ndim == 4 and not any(part in name.split(".") for part in ANSWERS)
