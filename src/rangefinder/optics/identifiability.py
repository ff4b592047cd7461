"""Identifiability of distance from one patch: Cramer-Rao lower bound and front/back ambiguity.

A patch is a Gaussian texture blurred by the PSFs of the three colours, plus white noise; its
spatial frequencies are independent. The texture's statistics are nuisance parameters.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, fields, replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from rangefinder.camera import Camera
from rangefinder.common.lengths import length, span
from rangefinder.config import BankParams, IdentifiabilityParams, Interval
from rangefinder.optics.blur import disc_px
from rangefinder.optics.psf_bank import PsfBank, build_bank
from rangefinder.optics.psf_tracing import GREEN

Float = NDArray[np.float64]
FIELD_NODES = 3  # per axis: centre, edges and corners
RADII = (0.0, 0.8, 1.0)  # field radii that are reported, half diagonal = 1
DERIVATIVE_STEP = 1e-4  # of the texture's parameters
LEARNING_RATE = 0.15  # of the search for the least favourable texture
MIN_DETERMINANT = 1e-30
ROUNDING = 1e-10  # relative
STEPS = 4  # that a range has at least
FINE = 2000  # distances at which a bound is interpolated
END = 0.02  # relative distance from the end of a range that counts as its end


@dataclass(frozen=True)
class TextureStatistics:
    """Nuisance parameters: statistics of textures, `[N]` each (or `[1]`: one for all)."""

    log_contrast: Tensor  # log of the sd over the mean, within a patch
    slope: Tensor  # power falls with spatial frequency to this power
    log_red: Tensor  # log of red's contrast over green's
    log_blue: Tensor  # log of blue's contrast over green's
    decorrelation: Tensor  # 1 - correlation of two colours; 0: grey

    @classmethod
    def of(cls, contrast: float, decorrelation: float, slope: float) -> TextureStatistics:
        """One texture of equal contrast in all colours."""
        values = (math.log(contrast), slope, 0.0, 0.0, decorrelation)
        return cls(*(torch.tensor([value], dtype=torch.float64) for value in values))


NUISANCE = tuple(field.name for field in fields(TextureStatistics))


class PatchSpectrum:
    """The independent spatial frequencies of a square patch.

    Args:
        size_px: Side [px].
        share: For speed, use a fixed random one in so many frequencies, with as large a weight.
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
        values = kernels.double().numpy()
        wrapped = (np.arange(side) - side // 2) % size  # a kernel may be wider than a patch
        for i, index in enumerate(wrapped):
            wide[..., index] += values[..., i]
        for i, index in enumerate(wrapped):
            folded[:, :, index] += wide[:, :, i]
        spectrum = np.fft.fft2(folded).reshape(*kernels.shape[:2], -1)
        return torch.from_numpy(spectrum[:, :, self._chosen])

    def power(self, texture: TextureStatistics) -> Tensor:
        """Power spectra `[N, F]`; summed over all frequencies they give the squared contrast."""
        slope = -texture.slope[:, None]
        whole = torch.logsumexp(slope * self._log_all, -1, keepdim=True)
        log = slope * self._log - whole + 2.0 * math.log(self.size_px)
        return torch.exp(log + 2.0 * texture.log_contrast[:, None])


def covariance(
    patch: PatchSpectrum, transfer: Tensor, texture: TextureStatistics, noise: float
) -> Tensor:
    """Covariance of the three colours at each frequency `[N, F, 3, 3]`, complex.

    Args:
        patch: Its frequencies.
        transfer: `[N, 3, F]`.
        texture: `[N]` or `[1]`.
        noise: Sd of the noise over the mean.
    """
    green = torch.zeros_like(texture.log_red)
    log_colour = torch.stack([texture.log_red, green, texture.log_blue], dim=1)
    light = (transfer * torch.exp(log_colour)[:, :, None]).movedim(1, 2)
    share = texture.decorrelation[:, None, None, None]
    eye = torch.eye(3, dtype=torch.float64)
    mix = (1.0 - share) + share * eye
    signal = light[..., :, None] * light[..., None, :].conj() * mix
    return signal * patch.power(texture)[:, :, None, None] + noise**2 * eye


def _log_det(matrix: Tensor) -> Tensor:
    """Log determinant of Hermitian matrices `[..., 3, 3]`; explicit for speed."""
    a, b, c = (matrix[..., i, i].real for i in range(3))
    e, f, g = (matrix[..., i, j] for i, j in ((0, 1), (0, 2), (1, 2)))
    squares = [value.real.square() + value.imag.square() for value in (e, f, g)]
    cross = 2.0 * (e * g * f.conj()).real
    det = a * b * c + cross - a * squares[2] - b * squares[1] - c * squares[0]
    return torch.log(det.clamp_min(MIN_DETERMINANT))


def bhattacharyya(patch: PatchSpectrum, first: Tensor, second: Tensor) -> Tensor:
    """Bhattacharyya distance `[N]` of zero-mean Gaussians of covariance `[N, F, 3, 3]`.

    exp(-distance) / 2 bounds the error probability between two equally likely hypotheses (Kailath,
    The divergence and Bhattacharyya distance measures in signal selection, 1967).
    """
    middle = _log_det((first + second) / 2.0)
    parts = middle - (_log_det(first) + _log_det(second)) / 2.0
    return parts.sum(-1) * patch.weight


def distance_sd_dpt(
    patch: PatchSpectrum,
    transfer: Tensor,
    inverse_dpt: Float,
    texture: TextureStatistics,
    noise: float,
    unknown: tuple[str, ...] = NUISANCE,
) -> Float:
    """Cramer-Rao lower bound of inverse distance, from the Fisher information of a Gaussian.

    Args:
        patch: Its frequencies.
        transfer: `[D, 3, F]`.
        inverse_dpt: `[D]` ascending, equally spaced [dpt].
        texture: The true one.
        noise: Sd of the noise over the mean.
        unknown: Nuisance parameters, estimated jointly with the distance.

    Returns:
        `[D]` smallest standard deviation of an unbiased estimate [dpt]; infinite where, as in focus
        with symmetric blur, a small change of distance changes nothing.
    """
    true = covariance(patch, transfer, texture, noise)
    step = float(inverse_dpt[-1] - inverse_dpt[0]) / (inverse_dpt.size - 1)
    slopes = [torch.gradient(true, dim=0)[0] / step]
    for name in unknown:
        changed = replace(texture, **{name: getattr(texture, name) + DERIVATIVE_STEP})
        slopes.append((covariance(patch, transfer, changed, noise) - true) / DERIVATIVE_STEP)
    inverse = torch.linalg.inv(true)
    scaled = [inverse @ slope for slope in slopes]
    rows = [[(a * b.mT).sum((-1, -2)).real.sum(-1) for b in scaled] for a in scaled]
    information = torch.stack([torch.stack(row, -1) for row in rows], -2)
    return np.asarray(_bound(information * patch.weight).numpy())


def _bound(information: Tensor) -> Tensor:
    """Bound `[N]` of the first of several parameters from their information `[N, p, p]`."""
    own, cross, others = information[:, 0, 0], information[:, 0, 1:], information[:, 1:, 1:]
    taken = (cross[:, None] @ torch.linalg.pinv(others, hermitian=True) @ cross[..., None])[:, 0, 0]
    left = own - taken
    known = left > own * ROUNDING
    return torch.where(known, left, 0.0).rsqrt()


def least_favourable(
    patch: PatchSpectrum,
    true: Tensor,
    transfer: Tensor,
    noise: float,
    start: TextureStatistics,
    params: IdentifiabilityParams,
) -> Tensor:
    """Bhattacharyya distance `[N]` to the most similar patch of any texture at another distance.

    Args:
        patch: Its frequencies.
        true: `[N, F, 3, 3]` covariances of the true patch.
        transfer: `[N, 3, F]` transfer functions of the other distances.
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
    values = torch.cat([getattr(start, name)[None] for name in NUISANCE])
    share = ((values - low) / (high - low)).clamp(0.05, 0.95)
    logits = torch.logit(share).repeat(1, len(transfer)).requires_grad_()
    optimiser = torch.optim.Adam([logits], lr=LEARNING_RATE)
    best = bhattacharyya(patch, true, covariance(patch, transfer, start, noise))
    for _ in range(params.search_steps):
        texture = TextureStatistics(*(low + (high - low) * torch.sigmoid(logits)))
        distance = bhattacharyya(patch, true, covariance(patch, transfer, texture, noise))
        best = torch.minimum(best, distance.detach())
        optimiser.zero_grad()
        distance.sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return best


def identifiability_bank(
    camera: Camera, bank: BankParams, working_m: Interval, params: IdentifiabilityParams
) -> PsfBank:
    """A bank fine in distance and coarse in field; raises as `build_bank`."""
    size = {"field_rows": FIELD_NODES, "field_cols": FIELD_NODES, "distances": params.planes}
    return build_bank(camera, bank.model_copy(update=size), working_m)


def nuisance_textures(params: IdentifiabilityParams) -> dict[str, TextureStatistics]:
    """The true textures that are reported, by name."""
    contrasts = {"strong": params.strong_contrast, "weak": params.weak_contrast}
    return {
        f"{contrast} {colour}": TextureStatistics.of(value, mix, params.slope)
        for contrast, value in contrasts.items()
        for colour, mix in (("grey", 0.0), ("coloured", params.coloured))
    }


def identifiability_table(
    bank: PsfBank, camera: Camera, patch_px: int, params: IdentifiabilityParams
) -> pd.DataFrame:
    """Blur, Cramer-Rao lower bound and front/back ambiguity of a camera.

    Args:
        bank: PSF bank, planes equally spaced in dioptres.
        camera: The camera record; its focus separates front from back.
        patch_px: Side of the patch [px].
        params: Textures, noise and sampling.

    Returns:
        One row per (radius, texture, distance): `radius`, `texture`, `distance_m`, `blur_px`
        (diameter of the disc of the same rms width, green), `sd_m` (smallest standard deviation of
        an unbiased estimate), `confusion` (bound of the probability of confusion with the most
        similar distance on the other side of focus; 0.5: chance) and `partner_m` (that distance;
        NaN: none in the range).
    """
    frames = []
    cases = list(itertools.product(_field_nodes(bank, camera), nuisance_textures(params).items()))
    for (radius, node), (name, texture) in tqdm(cases, desc="limits", disable=None):
        view = _FieldView(bank, node, patch_px, params)
        frame = view.table(texture, 1.0 / camera.focus_distance_m)
        frame.insert(0, "texture", name)
        frame.insert(0, "radius", round(radius, 3))
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _field_nodes(bank: PsfBank, camera: Camera) -> list[tuple[float, tuple[int, int]]]:
    """Radius and index of the field nodes nearest to `RADII`."""
    y = bank.field_y_px.numpy()[:, None] - camera.centre_px[1]
    x = bank.field_x_px.numpy()[None] - camera.centre_px[0]
    radius = np.hypot(y, x) / camera.half_diagonal_px
    found = {}
    for wanted in RADII:
        row, col = np.unravel_index(np.argmin(np.abs(radius - wanted)), radius.shape)
        found[float(radius[row, col])] = (int(row), int(col))
    return sorted(found.items())


class _FieldView:
    """A patch at one field node."""

    def __init__(
        self, bank: PsfBank, node: tuple[int, int], patch_px: int, params: IdentifiabilityParams
    ) -> None:
        # Shot noise: where vignetting reduces the light, noise over mean grows.
        illumination = float(bank.relative_illumination[:, node[0], node[1]].double().mean())
        self.noise = params.noise / math.sqrt(max(illumination, 1e-6))
        self.kernels = bank.kernels[:, node[0], node[1]]
        self.inverse_dpt = bank.inverse_distance_dpt.numpy()
        self.patch_px, self.params = patch_px, params

    def sd_m(self, texture: TextureStatistics) -> Float:
        """Cramer-Rao lower bound `[D]` [m]."""
        patch = PatchSpectrum(self.patch_px)
        transfer = patch.transfer(self.kernels)
        sd_dpt = distance_sd_dpt(patch, transfer, self.inverse_dpt, texture, self.noise)
        return np.asarray(sd_dpt / self.inverse_dpt**2)

    def table(self, texture: TextureStatistics, focus_dpt: float) -> pd.DataFrame:
        """Rows of `identifiability_table`, far to near."""
        shown = np.arange(0, self.inverse_dpt.size, self.params.every)
        confusion, partner = self._confusion(texture, focus_dpt, shown)
        return pd.DataFrame(
            {
                "distance_m": 1.0 / self.inverse_dpt[shown],
                "blur_px": disc_px(self.kernels[:, GREEN])[shown],
                "sd_m": self.sd_m(texture)[shown],
                "confusion": confusion,
                "partner_m": partner,
            }
        )

    def _confusion(
        self, texture: TextureStatistics, focus_dpt: float, shown: NDArray[np.intp]
    ) -> tuple[Float, Float]:
        """Columns `confusion` and `partner_m` of planes `shown`."""
        patch = PatchSpectrum(self.patch_px, self.params.frequency_share)
        transfer = patch.transfer(self.kernels)
        true = covariance(patch, transfer, texture, self.noise)
        confusion, partner = np.zeros(shown.size), np.full(shown.size, np.nan)
        side = np.sign(self.inverse_dpt - focus_dpt)
        for row, plane in enumerate(shown):
            gap = np.abs(np.log(self.inverse_dpt / self.inverse_dpt[plane]))
            other = np.flatnonzero((side != side[plane]) & (gap > self.params.least_gap))
            if not other.size:
                continue
            seen = true[plane].expand(other.size, -1, -1, -1)
            distance = least_favourable(
                patch, seen, transfer[other], self.noise, texture, self.params
            )
            best = int(distance.argmin())
            confusion[row] = math.exp(-float(distance[best])) / 2.0
            partner[row] = 1.0 / self.inverse_dpt[other[best]]
        return confusion, partner


def strong_texture_bound_m(
    bank: PsfBank, patch_px: int, params: IdentifiabilityParams
) -> tuple[Float, Float]:
    """Cramer-Rao lower bound of strong grey texture, averaged over the field.

    Returns:
        Distances `[D]` [m] and smallest standard deviations `[D]` [m].
    """
    rows, cols = ((0, nodes // 2, nodes - 1) for nodes in bank.relative_illumination.shape[1:])
    texture = nuisance_textures(params)["strong grey"]
    nodes = list(itertools.product(rows, cols))
    bounds = [_FieldView(bank, node, patch_px, params).sd_m(texture) for node in nodes]
    weights = np.outer(_trapezoid(rows), _trapezoid(cols)).ravel()
    return bank.distances_m.numpy(), np.average(bounds, axis=0, weights=weights)


def weak_texture_bound_m(
    bank: PsfBank, patch_px: int, params: IdentifiabilityParams
) -> tuple[Float, Float]:
    """Cramer-Rao lower bound of weak texture, grey or coloured, in the middle of the field.

    Returns:
        Distances `[D]` [m] and smallest standard deviations `[D]` [m], of the worse of the two.
    """
    middle = bank.kernels.shape[1] // 2, bank.kernels.shape[2] // 2
    view = _FieldView(bank, middle, patch_px, params)
    textures = nuisance_textures(params)
    bounds = [view.sd_m(textures[name]) for name in ("weak grey", "weak coloured")]
    return bank.distances_m.numpy(), np.max(bounds, axis=0)


def gap_within(range_m: Interval, least_gap: float) -> float:
    """Relative difference of distances to be told apart: less where the range [m] is narrow."""
    return min(least_gap, float(f"{(range_m[1] / range_m[0] - 1) / STEPS:.1g}"))


def told_apart_m(distances_m: Float, sd_m: Float, gap: float) -> Interval | None:
    """Nearest and farthest distance [m] at which the bound is below a relative `gap`.

    Between them there may be some at which it is not: in focus blur hardly changes.

    Args:
        distances_m: `[D]` distances [m], far to near, equally spaced in dioptres.
        sd_m: `[D]` smallest standard deviations [m].
        gap: Relative difference of distances that are to be told apart.
    """
    inverse_dpt = 1 / distances_m
    fine_dpt = 1 / np.geomspace(distances_m[0], distances_m[-1], FINE)
    # In dioptres the bound changes slowly, in metres it does not.
    sd_dpt = np.minimum(sd_m * inverse_dpt**2, inverse_dpt[-1])
    told = fine_dpt[np.interp(fine_dpt, inverse_dpt, sd_dpt) <= gap * fine_dpt]
    return (1 / float(told[-1]), 1 / float(told[0])) if told.size else None


def verdict(range_m: Interval, told_m: Interval | None, gap: float) -> str:
    """Where in a range [m] a camera can tell distances apart, and where not, as a sentence.

    Args:
        range_m: The range.
        told_m: `told_apart_m` within it.
        gap: As for `told_apart_m`.
    """
    apart = f"{100 * gap:g} % apart look"
    cannot = f"this camera cannot tell distances apart by blur: {apart} alike"
    if told_m is None:
        return (
            f"From {span(range_m)} {cannot}; focus nearer, open the aperture, or take a longer "
            "focal length."
        )
    near_m, far_m = told_m
    if far_m < range_m[1] * (1 - END):
        return f"Beyond {length(far_m, 2)} {cannot}; from {span(told_m)} it can."
    if near_m > range_m[0] * (1 + END):
        return f"Nearer than {length(near_m, 2)} {cannot}; from {span(told_m)} it can."
    return (
        f"From {span(range_m)} this camera can tell distances apart by blur: {apart} different "
        "where there is texture."
    )


def _trapezoid(nodes: tuple[int, ...]) -> list[float]:
    """Weights of the trapezoidal rule."""
    return [0.5 if node in (nodes[0], nodes[-1]) else 1.0 for node in nodes]
