"""The predictive distribution: categorical over bins of inverse distance.

Defocus is linear in dioptres, so the bins are equally spaced there. Within a bin the density is
uniform, which makes quantiles continuous. Outside the networks the bins are always the LAST axis.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from rangefinder.config import PredictionParams

_LEVELS = 15  # largest 4-bit code of the compact form
_LEAST = 1e-12  # probability
_ZERO_LEVEL = 0.15  # level of code 0: small, never impossible


def negentropy(probs: Tensor, log_probs: Tensor) -> Tensor:
    """Normalised negentropy `[...]` of distributions: 1 - H / log(bins), 0 (uniform) to 1."""
    return 1.0 + (probs * log_probs).sum(-1) / math.log(probs.shape[-1])


class DistanceDistribution:
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
        """Soft labels, discretised Gaussians: inverse distance `[...]` [dpt] -> `[..., bins]`."""
        centres = self.centres_dpt.to(inverse_distance_dpt)
        z = (centres - inverse_distance_dpt[..., None]) / self._label_sd_dpt
        return torch.softmax(-0.5 * z.square(), dim=-1)

    def quantile_dpt(self, probs: Tensor, levels: tuple[float, ...] | Tensor) -> Tensor:
        """Quantiles of inverse distance [dpt]: `[..., bins]`, K levels in 0..1 -> `[K, ...]`."""
        cdf = probs.cumsum(-1).contiguous()
        wanted = cdf[..., -1:] * torch.as_tensor(levels, dtype=cdf.dtype, device=cdf.device)
        left_edge = self.centres_dpt[0] - self.width_dpt / 2
        if torch.compiler.is_exporting():
            return left_edge + _bins_below(cdf, wanted).movedim(-1, 0) * self.width_dpt
        index = torch.searchsorted(cdf, wanted).clamp_(max=self.bins - 1)
        upper = cdf.gather(-1, index)
        lower = torch.where(index > 0, cdf.gather(-1, (index - 1).clamp(min=0)), 0.0)
        inside = (wanted - lower) / (upper - lower).clamp(min=_LEAST)
        value = left_edge + (index + inside.clamp(0.0, 1.0)) * self.width_dpt
        return value.movedim(-1, 0)

    def tilted(self, probs: Tensor, power: float) -> Tensor:
        """Posterior tilting: probabilities `[..., bins]` times inverse distance to a power."""
        if power == 0:
            return probs
        weighted = probs * self.centres_dpt.to(probs) ** power
        return weighted.div_(weighted.sum(-1, keepdim=True))

    def estimate_dpt(self, probs: Tensor) -> Tensor:
        """Point estimate of inverse distance [dpt], `[...]`.

        The Bayes estimate for the relative error |estimate - d| / d: an error at distance d costs
        1 / d, so it is the median of the distribution weighted by 1 / d.
        """
        return self.quantile_dpt(probs * self.centres_dpt.to(probs), (0.5,))[0]

    def estimate_m(self, probs: Tensor) -> Tensor:
        """Point estimate of distance [m], `[...]`; see `estimate_dpt`."""
        return 1.0 / self.estimate_dpt(probs)

    def probability_between(self, probs: Tensor, low_dpt: Tensor, high_dpt: Tensor) -> Tensor:
        """Probability that inverse distance [dpt] lies between two values, all `[...]`."""
        cdf = F.pad(probs.cumsum(-1), (1, 0))
        left_edge = self.centres_dpt[0] - self.width_dpt / 2

        def below(value_dpt: Tensor) -> Tensor:
            position = ((value_dpt - left_edge) / self.width_dpt).clamp(0, self.bins)
            index = position.long().clamp(max=self.bins - 1)[..., None]
            lower, upper = cdf.gather(-1, index)[..., 0], cdf.gather(-1, index + 1)[..., 0]
            return torch.lerp(lower, upper, position - index[..., 0])

        return (below(high_dpt) - below(low_dpt)) / cdf[..., -1]

    def sides_dpt(self, probs: Tensor, focus_dpt: float) -> tuple[Tensor, Tensor, Tensor]:
        """The prediction by the defocus sign, of probabilities `[..., bins]`.

        Args:
            probs: The distribution.
            focus_dpt: Inverse focus distance [dpt].

        Returns:
            Probability that the truth is before the focus, and the estimates of inverse distance
            [dpt] of the distribution restricted to before and to behind the focus, all `[...]`.
        """
        before = self._share_above(focus_dpt).to(probs)
        weighted = probs.clamp(min=_LEAST) * self.centres_dpt.to(probs)  # a side may have no mass
        near, far = (
            self.quantile_dpt(weighted * share, (0.5,))[0] for share in (before, 1 - before)
        )
        probability = (probs * before).sum(-1) / probs.sum(-1)
        return probability, near.clamp(min=focus_dpt), far.clamp(max=focus_dpt)

    def _share_above(self, inverse_distance_dpt: float) -> Tensor:
        """Share `[bins]` of each bin that lies above an inverse distance [dpt]."""
        upper_edges = self.centres_dpt + self.width_dpt / 2
        return ((upper_edges - inverse_distance_dpt) / self.width_dpt).clamp(0, 1)

    def mean_dpt(self, probs: Tensor) -> Tensor:
        """Mean of inverse distance [dpt], `[...]`."""
        return (probs * self.centres_dpt.to(probs)).sum(-1)

    def sd_dpt(self, probs: Tensor) -> Tensor:
        """Standard deviation of inverse distance [dpt], `[...]`."""
        second = (probs * self.centres_dpt.to(probs).square()).sum(-1)
        return (second - self.mean_dpt(probs).square()).clamp(min=0).sqrt()

    def negentropy(self, probs: Tensor) -> Tensor:
        """Normalised negentropy `[...]`: 1 - H / log(bins), 0 (uniform) to 1."""
        return negentropy(probs, probs.clamp(min=1e-12).log())

    def pack(self, probs: Tensor) -> Tensor:
        """Compact form: square roots of the probabilities in 4 bits, relative to the largest.

        Square roots spread the rounding error evenly over the divergence (its metric is the
        Fisher-Rao sphere), so 24 bytes hold 48 bins within a few thousandths of a nat.
        `[..., bins]` -> `[..., packed_bytes]` uint8.
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
        pairs = torch.cartesian_prod(level, level).square()  # levels of both codes of every byte
        whole = pairs.view(torch.int64)[:, 0]  # looking up pairs is three times as fast
        found = whole.index_select(0, packed.flatten().int()).view(torch.float32)
        weight = found.view(*packed.shape[:-1], 2 * self.packed_bytes)[..., : self.bins]
        return weight.div_(weight.sum(-1, keepdim=True))

    def beyond_rounding(self, probs: Tensor, packed: Tensor) -> Tensor:
        """Distance of probabilities `[..., bins]` from the interval that rounds to packed codes.

        `packed` is `[..., packed_bytes]` uint8, by `pack`; 0 where they round to the code.
        """
        code, largest = self._codes(packed), probs.amax(-1, keepdim=True)
        low = ((code - 0.5).clamp(min=0) / _LEVELS).square() * largest
        high = ((code + 0.5).clamp(max=_LEVELS) / _LEVELS).square() * largest
        return torch.maximum(low - probs, probs - high).clamp(min=0)

    def _codes(self, packed: Tensor) -> Tensor:
        """4-bit codes `[..., bins]` of packed bytes."""
        return torch.stack([packed // 16, packed % 16], dim=-1).flatten(-2)[..., : self.bins]


def _bins_below(cdf: Tensor, wanted: Tensor) -> Tensor:
    """Number of bins `[..., K]`, with its fraction, below masses `[..., K]` of a CDF `[..., bins]`.

    What a search finds, in operations that every runtime of exported graphs has.
    """
    lower = F.pad(cdf[..., :-1], (1, 0))
    mass = (cdf - lower).clamp(min=_LEAST)
    inside = (wanted[..., None] - lower[..., None, :]) / mass[..., None, :]
    return inside.clamp(0.0, 1.0).sum(-1)
