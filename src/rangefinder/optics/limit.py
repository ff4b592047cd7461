"""What a lens can measure before anything is trained: blur, bound of precision, confusable sides.

A patch shows Gaussian texture through the lens. At each spatial frequency its three colours have
the covariance C = S H M H^+ + s^2 I: S the texture's power spectrum, H the transfer functions, M
the correlation of the colours and s the noise. Frequencies count as independent (Whittle, 1953).
That takes the patch for periodic, so bounds are too good, the more the stronger the texture.
The texture's contrast, spectral slope, colours and their correlation are unknown to the observer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rangefinder.config import LimitParams

Float = NDArray[np.float64]
_PAIRS = ((0, 1), (0, 2), (1, 2))
_STEP = 1e-4  # of the derivatives with respect to the texture's properties
_RATE = 0.15  # of the search for the texture that hides the difference best
_TINY = 1e-30
_ROUNDING = 1e-10  # relative


@dataclass(frozen=True)
class Texture:
    """Statistics of textures, `[N]` each (or `[1]`: one for all).

    Attributes:
        log_contrast: Log of the sd over the mean, within a patch.
        slope: Power falls with spatial frequency to this power.
        log_red: Log of red's contrast over green's.
        log_blue: Log of blue's contrast over green's.
        decorrelation: 1 - correlation of two colours; 0: all colours show the same picture.
    """

    log_contrast: Tensor
    slope: Tensor
    log_red: Tensor
    log_blue: Tensor
    decorrelation: Tensor

    @classmethod
    def of(cls, contrast: float, decorrelation: float, slope: float) -> Texture:
        """One texture whose colours have the same contrast."""
        values = (math.log(contrast), slope, 0.0, 0.0, decorrelation)
        return cls(*(torch.tensor([value], dtype=torch.float64) for value in values))


_NAMES = ("log_contrast", "slope", "log_red", "log_blue", "decorrelation")


class Patch:
    """The independent spatial frequencies of a square patch.

    Args:
        size_px: Side [px].
        share: Take one frequency in this many, at random but the same each time, and weigh it as
            many times; for speed.
    """

    def __init__(self, size_px: int, share: int = 1) -> None:
        axis = np.fft.fftfreq(size_px)
        down, across = np.meshgrid(axis, axis, indexing="ij")
        half = np.flatnonzero((down > 0) | ((down == 0) & (across > 0)))
        chosen = np.random.default_rng(0).permutation(half)[: max(1, half.size // share)]
        self.size_px = size_px
        self.weight = half.size / chosen.size
        self._chosen = np.sort(chosen)
        radius = np.hypot(down, across).ravel()
        self._log_all = torch.from_numpy(np.log(radius[1:]))
        self._log = torch.from_numpy(np.log(radius[self._chosen]))

    def transfer(self, kernels: Tensor) -> Tensor:
        """Transfer functions `[N, 3, F]` of kernels `[N, 3, k, k]` at the patch's frequencies."""
        size, side = self.size_px, kernels.shape[-1]
        wide = np.zeros((*kernels.shape[:2], side, size))
        folded = np.zeros((*kernels.shape[:2], size, size))
        place = (np.arange(side) - side // 2) % size
        values = np.moveaxis(kernels.double().numpy(), -1, 0)
        for column, value in zip(place, values, strict=True):  # a kernel may be wider than a patch
            wide[..., column] += value
        for row in range(side):
            folded[:, :, place[row]] += wide[:, :, row]
        spectrum = np.fft.fft2(folded).reshape(*kernels.shape[:2], -1)
        return torch.from_numpy(spectrum[:, :, self._chosen])

    def power(self, texture: Texture) -> Tensor:
        """Power spectra `[N, F]`; summed over all frequencies they give the squared contrast."""
        slope = -texture.slope[:, None]
        whole = torch.logsumexp(slope * self._log_all, -1, keepdim=True)
        log = slope * self._log - whole + 2.0 * math.log(self.size_px)
        return torch.exp(log + 2.0 * texture.log_contrast[:, None])


def covariance(patch: Patch, transfer: Tensor, texture: Texture, noise: float) -> Tensor:
    """Covariance of the three colours at each frequency `[N, F, 3, 3]`, complex.

    Args:
        patch: Its frequencies.
        transfer: `[N, 3, F]`.
        texture: `[N]` or `[1]`.
        noise: Sd of the noise over the mean.
    """
    log_gain = torch.stack(
        [texture.log_red, torch.zeros_like(texture.log_red), texture.log_blue], dim=1
    )
    light = (transfer * torch.exp(log_gain)[:, :, None]).movedim(1, 2)
    share = texture.decorrelation[:, None, None, None]
    eye = torch.eye(3, dtype=torch.float64)
    mix = (1.0 - share) + share * eye
    signal = light[..., :, None] * light[..., None, :].conj() * mix
    return signal * patch.power(texture)[:, :, None, None] + noise**2 * eye


def _log_det(matrix: Tensor) -> Tensor:
    """Log determinant of Hermitian 3x3 matrices `[..., 3, 3]`; written out, it is much faster."""
    a, b, c = (matrix[..., i, i].real for i in range(3))
    e, f, g = (matrix[..., i, j] for i, j in _PAIRS)
    squares = [value.real.square() + value.imag.square() for value in (e, f, g)]
    cross = 2.0 * (e * g * f.conj()).real
    det = a * b * c + cross - a * squares[2] - b * squares[1] - c * squares[0]
    return torch.log(det.clamp_min(_TINY))


def bhattacharyya(patch: Patch, first: Tensor, second: Tensor) -> Tensor:
    """Distance `[N]` of two sets of covariances `[N, F, 3, 3]`.

    exp(-distance) / 2 bounds the error of telling two equally likely ones apart (Kailath, 1967).
    """
    middle = _log_det((first + second) / 2.0)
    parts = middle - (_log_det(first) + _log_det(second)) / 2.0
    return parts.sum(-1) * patch.weight


def distance_sd_dpt(
    patch: Patch,
    transfer: Tensor,
    inverse_dpt: Float,
    texture: Texture,
    noise: float,
    unknown: tuple[str, ...] = _NAMES,
) -> Float:
    """Cramer-Rao bound of inverse distance.

    Args:
        patch: Its frequencies.
        transfer: `[D, 3, F]`.
        inverse_dpt: `[D]` ascending, equally spaced [dpt].
        texture: The true one.
        noise: Sd of the noise over the mean.
        unknown: Properties of the texture that are estimated along with the distance.

    Returns:
        `[D]` least standard deviation of an unbiased estimate [dpt]; infinite where, as in focus
        of a symmetric blur, a small change of distance changes nothing.
    """
    true = covariance(patch, transfer, texture, noise)
    step = float(inverse_dpt[-1] - inverse_dpt[0]) / (inverse_dpt.size - 1)
    slopes = [torch.gradient(true, dim=0)[0] / step]
    for name in unknown:
        changed = replace(texture, **{name: getattr(texture, name) + _STEP})
        slopes.append((covariance(patch, transfer, changed, noise) - true) / _STEP)
    inverse = torch.linalg.inv(true)
    scaled = [inverse @ slope for slope in slopes]
    information = torch.stack(
        [torch.stack([(a * b.mT).sum((-1, -2)).real.sum(-1) for b in scaled], -1) for a in scaled],
        -2,
    )
    return np.asarray(_bound(information * patch.weight).numpy())


def _bound(information: Tensor) -> Tensor:
    """Least sd `[N]` of the first of several unknowns; infinite where it leaves no trace."""
    own, cross, others = information[:, 0, 0], information[:, 0, 1:], information[:, 1:, 1:]
    taken = (cross[:, None] @ torch.linalg.pinv(others, hermitian=True) @ cross[..., None])[:, 0, 0]
    left = own - taken
    known = left > own * _ROUNDING
    return torch.where(known, left, 0.0).rsqrt()


def hardest(
    patch: Patch, true: Tensor, transfer: Tensor, noise: float, start: Texture, params: LimitParams
) -> Tensor:
    """Bhattacharyya distance `[N]` to the most similar patch that a texture makes elsewhere.

    Args:
        patch: Its frequencies.
        true: `[N, F, 3, 3]` covariances of what is seen.
        transfer: `[N, 3, F]` transfer functions of the other places.
        noise: Sd of the noise over the mean.
        start: The true texture.
        params: Bounds of the search.
    """
    contrast = float(start.log_contrast)
    ends = (
        (contrast - params.log_contrast, contrast + params.log_contrast),
        params.slopes,
        (-params.log_colour, params.log_colour),
        (-params.log_colour, params.log_colour),
        (0.0, params.most_decorrelation),
    )
    low, high = torch.tensor(ends, dtype=torch.float64).T[:, :, None]
    values = torch.cat([getattr(start, name)[None] for name in _NAMES])
    way = ((values - low) / (high - low)).clamp(0.05, 0.95)
    place = torch.logit(way).repeat(1, len(transfer)).requires_grad_()
    search = torch.optim.Adam([place], lr=_RATE)
    best = bhattacharyya(patch, true, covariance(patch, transfer, start, noise))
    for _ in range(params.search_steps):
        texture = Texture(*(low + (high - low) * torch.sigmoid(place)))
        distance = bhattacharyya(patch, true, covariance(patch, transfer, texture, noise))
        best = torch.minimum(best, distance.detach())
        search.zero_grad()
        distance.sum().backward()  # type: ignore[no-untyped-call]
        search.step()
    return best
