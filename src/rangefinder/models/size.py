"""The size of a network, known before it is built."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

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
