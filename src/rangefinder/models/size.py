"""The size of a network, known before it is built; of its activations, before they are computed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from rangefinder.errors import ConfigError

Network = TypeVar("Network", bound=nn.Module)
MOST_BYTES = 2**28  # of weights: more than a hundred times those of the default networks


def sized(build: Callable[[], Network], what: str) -> Network:
    """Build a network, unless its weights would be too large.

    Args:
        build: Makes it.
        what: The section of the parameters that it follows.

    Raises:
        ConfigError: With the size that it would have.
    """
    with torch.device("meta"):  # shapes without memory
        draft = build()
    size = sum(weight.nbytes for weight in (*draft.parameters(), *draft.buffers()))
    if size > MOST_BYTES:
        raise ConfigError(
            f"the weights of the {what} are too large",
            got=f"{size / 2**30:.1f} GB ({size // 4:,} numbers)",
            expected=f"at most {MOST_BYTES / 2**20:g} MB",
            todo=f"Take fewer channels, filters or blocks in section {what}.",
        )
    return build()


def activation_bytes(network: Network, forward: Callable[[Network], object]) -> int:
    """What a forward pass keeps for the backward pass [byte], found without taking it.

    Args:
        network: What is trained; it stays as it is.
        forward: Calls a copy of the network, on inputs without memory (of torch's device `meta`).
    """
    draft = copy.deepcopy(network).to("meta").train()
    weights = {id(one) for one in (*draft.parameters(), *draft.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(x: Tensor) -> Tensor:
        if id(x) not in weights:
            storage = x.untyped_storage()
            kept[storage._cdata] = storage  # views share it
        return x

    with saved_tensors_hooks(keep, lambda x: x):
        forward(draft)
    return sum(storage.nbytes() for storage in kept.values())
