"""The prediction: a categorical distribution over bins of inverse distance.

Defocus is linear in dioptres, so the bins are equally spaced there. Between the edges of a bin the
distribution is taken as uniform, which makes its quantiles continuous. Outside the networks the
bins are always the LAST axis.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from rangefinder.config import PredictionParams

_LEVELS = 15  # 4-bit codes of the compact form
_ZERO_LEVEL = 0.15  # what code 0 stands for: small, never impossible


def information(probs: Tensor, log_probs: Tensor) -> Tensor:
    """What distributions `[..., bins]` know, `[...]`: 1 - entropy / log(bins), 0 (nothing) to 1."""
    return 1.0 + (probs * log_probs).sum(-1) / math.log(probs.shape[-1])


class Prediction:
    """Bins, soft targets, decoding and compact form of the predictive distribution.

    Args:
        params: Number and range of the bins, width of the soft labels.
    """

    def __init__(self, params: PredictionParams) -> None:
        low, high = params.inverse_range_dpt
        self.bins = params.bins
        self.centres_dpt = torch.linspace(low, high, params.bins, dtype=torch.float32)
        self.width_dpt = (high - low) / (params.bins - 1)
        self._label_sd_dpt = params.label_sd_bins * self.width_dpt

    @property
    def packed_bytes(self) -> int:
        """Bytes of one packed distribution."""
        return math.ceil(self.bins / 2)

    def soft_targets(self, inverse_distance_dpt: Tensor) -> Tensor:
        """Distribution that stands for a known distance.

        Args:
            inverse_distance_dpt: `[...]` true inverse distance [dpt].

        Returns:
            `[..., bins]` probabilities, a Gaussian around the truth.
        """
        centres = self.centres_dpt.to(inverse_distance_dpt)
        z = (centres - inverse_distance_dpt[..., None]) / self._label_sd_dpt
        return torch.softmax(-0.5 * z.square(), dim=-1)

    def quantile_dpt(self, probs: Tensor, levels: tuple[float, ...]) -> Tensor:
        """Quantiles of inverse distance.

        Args:
            probs: `[..., bins]` probabilities, up to a factor.
            levels: K levels in 0..1.

        Returns:
            `[K, ...]` inverse distance [dpt].
        """
        cdf = probs.cumsum(-1).contiguous()
        wanted = cdf[..., -1:] * torch.tensor(levels, dtype=cdf.dtype, device=cdf.device)
        index = torch.searchsorted(cdf, wanted).clamp_(max=self.bins - 1)
        upper = cdf.gather(-1, index)
        lower = torch.where(index > 0, cdf.gather(-1, (index - 1).clamp(min=0)), 0.0)
        inside = (wanted - lower) / (upper - lower).clamp(min=1e-12)
        left_edge = self.centres_dpt[0] - self.width_dpt / 2
        value = left_edge + (index + inside.clamp(0.0, 1.0)) * self.width_dpt
        return value.movedim(-1, 0)

    def reweighted(self, probs: Tensor, power: float) -> Tensor:
        """Probabilities `[..., bins]` multiplied by a power of inverse distance."""
        if power == 0:
            return probs
        weighted = probs * self.centres_dpt.to(probs) ** power
        return weighted.div_(weighted.sum(-1, keepdim=True))

    def estimate_dpt(self, probs: Tensor) -> Tensor:
        """Inverse distance [dpt] that one reports, `[...]`.

        The Bayes estimate for the relative error |estimate - d| / d that users care about: an error
        at distance d costs 1 / d, so it is the median of the distribution weighted by 1 / d.
        """
        return self.quantile_dpt(probs * self.centres_dpt.to(probs), (0.5,))[0]

    def estimate_m(self, probs: Tensor) -> Tensor:
        """Distance [m] that one reports, `[...]`; see `estimate_dpt`."""
        return 1.0 / self.estimate_dpt(probs)

    def interval_m(self, probs: Tensor, level: float) -> tuple[Tensor, Tensor]:
        """Central interval (near, far) [m] that holds the truth with probability `level`."""
        tail = (1.0 - level) / 2
        low, high = self.quantile_dpt(probs, (tail, 1.0 - tail))
        return 1.0 / high, 1.0 / low

    def probability_between(self, probs: Tensor, low_dpt: Tensor, high_dpt: Tensor) -> Tensor:
        """Probability that inverse distance [dpt] lies between two values, all `[...]`."""
        cdf = F.pad(probs.cumsum(-1), (1, 0))
        left_edge = self.centres_dpt[0] - self.width_dpt / 2

        def below(value_dpt: Tensor) -> Tensor:
            place = ((value_dpt - left_edge) / self.width_dpt).clamp(0, self.bins)
            index = place.long().clamp(max=self.bins - 1)[..., None]
            lower, upper = cdf.gather(-1, index)[..., 0], cdf.gather(-1, index + 1)[..., 0]
            return torch.lerp(lower, upper, place - index[..., 0])

        return (below(high_dpt) - below(low_dpt)) / cdf[..., -1]

    def mean_dpt(self, probs: Tensor) -> Tensor:
        """Mean of inverse distance [dpt], `[...]`."""
        return (probs * self.centres_dpt.to(probs)).sum(-1)

    def sd_dpt(self, probs: Tensor) -> Tensor:
        """Standard deviation of inverse distance [dpt], `[...]`."""
        second = (probs * self.centres_dpt.to(probs).square()).sum(-1)
        return (second - self.mean_dpt(probs).square()).clamp(min=0).sqrt()

    def information(self, probs: Tensor) -> Tensor:
        """What a distribution knows, `[...]`: 1 - entropy / log(bins), 0 (nothing) to 1."""
        return information(probs, probs.clamp(min=1e-12).log())

    def pack(self, probs: Tensor) -> Tensor:
        """Compact form: square roots of the probabilities in 4 bits, relative to the largest.

        Square roots spread the rounding error evenly over the divergence (its metric is the
        Fisher-Rao sphere), so 24 bytes hold 48 bins within a few thousandths of a nat.

        Args:
            probs: `[..., bins]` probabilities.

        Returns:
            `[..., packed_bytes]` uint8.
        """
        root = probs.float().clamp(min=0).sqrt_()
        code = root.div_(root.amax(-1, keepdim=True)).mul_(_LEVELS).round_()
        if self.bins % 2:
            code = F.pad(code, (0, 1))
        return torch.add(code[..., 1::2], code[..., 0::2], alpha=_LEVELS + 1).to(torch.uint8)

    def unpack(self, packed: Tensor) -> Tensor:
        """Probabilities `[..., bins]` float32 of packed bytes `[..., packed_bytes]`."""
        level = torch.arange(_LEVELS + 1, dtype=torch.float32, device=packed.device)
        level[0] = _ZERO_LEVEL
        pairs = torch.cartesian_prod(level, level).square()  # of every byte: both of its codes
        whole = pairs.view(torch.int64)[:, 0]  # a pair at a time is three times as quick to look up
        found = whole.index_select(0, packed.flatten().int()).view(torch.float32)
        weight = found.view(*packed.shape[:-1], 2 * self.packed_bytes)[..., : self.bins]
        return weight.div_(weight.sum(-1, keepdim=True))

    def beyond_rounding(self, probs: Tensor, packed: Tensor) -> Tensor:
        """How far probabilities lie outside what packed codes stand for.

        Args:
            probs: `[..., bins]` probabilities.
            packed: `[..., packed_bytes]` uint8, by `pack`.

        Returns:
            `[..., bins]` difference [probability], 0 where rounding explains it.
        """
        code, largest = self._codes(packed), probs.amax(-1, keepdim=True)
        low = ((code - 0.5).clamp(min=0) / _LEVELS).square() * largest
        high = ((code + 0.5).clamp(max=_LEVELS) / _LEVELS).square() * largest
        return torch.maximum(low - probs, probs - high).clamp(min=0)

    def _codes(self, packed: Tensor) -> Tensor:
        """4-bit codes `[..., bins]` of packed bytes."""
        return torch.stack([packed // 16, packed % 16], dim=-1).flatten(-2)[..., : self.bins]
