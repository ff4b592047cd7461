"""Distances that a camera is worth training for, before anything is photographed.

A thin lens of the camera's focal length and f-number stands for its lens: for a plan that is
exact enough, and nothing has to be traced.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rangefinder.camera import Camera
from rangefinder.common.lengths import span
from rangefinder.config import BankParams, IdentifiabilityParams, Interval
from rangefinder.config.imaging import FARTHEST_M, MOST_KERNEL_PX
from rangefinder.config.units import other_readings
from rangefinder.errors import LensError
from rangefinder.optics.blur import (
    BLUR_SHARE,
    blur_limits_m,
    blur_px,
    blur_px_per_dpt,
    nearest_object_m,
    reduction_advice,
)
from rangefinder.optics.identifiability import (
    gap_within,
    identifiability_bank,
    told_apart_m,
    verdict,
    weak_texture_bound_m,
)
from rangefinder.optics.psf_sources import thin_kernel_px

AROUND_FOCUS = (0.45, 3.5)  # range that is worked over / focus distance
LEAST_PX = (320, 240)  # width and height of photos that were reduced
CLOSE = 1.25  # near end / where it should be
WIDEST_TANGENT = 3.0  # half diagonal of the sensor / focal length, 143 degrees across
FAR_FOCUS_M = 10.0  # focus distances that may be centimetres or millimetres
LARGE_MEGAPIXELS = 4.0  # of photos that need no reduction for their size
LEAST_BLUR_PX = 6.0  # of the most blurred things, that such a reduction leaves
SHRINK = 0.95  # of the blur, until kernels hold it


@dataclass(frozen=True)
class WorkingRange:
    """A range to work over, and what photos of it need."""

    working_m: Interval  # nearest and farthest distance [m]
    looked_at_m: Interval | None  # distances that were looked at [m]; None: nowhere blur fits
    told_m: Interval | None  # those of them that can be told apart [m]
    most_blur_px: float  # largest blur in the working range [px]
    kernel_px: int  # side of the kernels that hold it, or the largest [px, odd]
    is_cut: bool  # whether blur, not distance, ends it

    def report(self, camera: Camera, observer: Observer) -> list[str]:
        """The range, what can be told apart in it, and what to do about its blur, in sentences."""
        lines = [
            f"Range: {span(self.working_m, 3)}, with blur of up to {self.most_blur_px:.1f} px in "
            f"kernels of {self.kernel_px} px."
        ]
        if self.looked_at_m is not None:
            gap = gap_within(self.looked_at_m, observer.identifiability.least_gap)
            lines.append(verdict(self.looked_at_m, self.told_m, gap))
        if self.is_cut:
            where = "In all of that range"
            if self.looked_at_m is not None:
                where = f"Outside of {span(self.looked_at_m, 3)}"
            lines.append(
                f"{where} blur is larger than photos of this size show even when "
                f"reduced: raise f_number above {camera.f_number:g}."
            )
        advice = reduction_advice(camera, observer.patch_px, self.working_m)
        lines += advice or _size_advice(camera, self.most_blur_px)
        return lines + doubts(camera, self.told_m)


@dataclass(frozen=True)
class Observer:
    """What tells distances apart: a patch of the photo, at the Cramer-Rao bound."""

    bank: BankParams  # sampling of the PSFs
    identifiability: IdentifiabilityParams  # textures and noise
    patch_px: int  # side of the teacher's patch [px]

    def told_m(self, camera: Camera, range_m: Interval) -> Interval | None:
        """Distances of a range [m] that a thin lens tells apart; see `told_apart_m`."""
        lens = camera.lens.model_copy(update={"kind": "thin"})
        thin = camera.model_copy(update={"lens": lens})
        kernel_px = thin_kernel_px(thin, self.bank, range_m)
        sampling = self.bank.model_copy(update={"kernel_px": kernel_px})
        bank = identifiability_bank(thin, sampling, range_m, self.identifiability)
        bound = weak_texture_bound_m(bank, self.patch_px, self.identifiability)
        return told_apart_m(*bound, gap_within(range_m, self.identifiability.least_gap))


def plan_working_range(
    camera: Camera, observer: Observer, charts_m: Interval | None = None
) -> WorkingRange:
    """Choose a range around the focus: where blur fits, and distances can be told apart.

    Where they cannot be told apart as far as that, it begins nearer instead. Looked at is as far as
    blur changes by half a pixel up to infinity.

    Args:
        camera: The camera record.
        observer: What tells distances apart.
        charts_m: Nearest and farthest chart [m] that were photographed: the range is theirs.

    Raises:
        LensError: If the lens does not focus or work this near.
    """
    sides = zip((camera.width_px, camera.height_px), LEAST_PX, strict=True)
    reducible = max(1, min(side // least for side, least in sides))
    near_m, far_m = _fitting_m(camera, observer, BLUR_SHARE * observer.patch_px * reducible)
    if charts_m is not None:
        fitting_m = max(near_m, charts_m[0]), min(far_m, charts_m[1])
        if fitting_m[0] >= fitting_m[1]:
            return _planned(camera, observer, charts_m, None, None, is_cut=True)
        told_m = observer.told_m(camera, fitting_m)
        return _planned(camera, observer, charts_m, fitting_m, told_m, fitting_m != charts_m)
    wanted_m = tuple(share * camera.focus_distance_m for share in AROUND_FOCUS)
    farthest_m = min(far_m, max(wanted_m[1], 2 * blur_px_per_dpt(camera)), FARTHEST_M)
    nearest_m, near_m = near_m, max(near_m, wanted_m[0])
    while True:
        told_m = observer.told_m(camera, (near_m, farthest_m))
        far_m = min(wanted_m[1], told_m[1] if told_m else farthest_m)
        begin_m = far_m * wanted_m[0] / wanted_m[1] if told_m else near_m / 2
        if near_m <= max(nearest_m, CLOSE * begin_m):
            break
        near_m = max(nearest_m, begin_m)
    is_cut = nearest_m > wanted_m[0] and nearest_m > nearest_object_m(camera)
    range_m = _rounded((near_m, far_m))
    return _planned(camera, observer, range_m, (near_m, farthest_m), told_m, is_cut)


def _size_advice(camera: Camera, most_blur_px: float) -> list[str]:
    """What large photos take, if they can be reduced and still show their blur; else empty."""
    megapixels = camera.width_px * camera.height_px / 1e6
    for_size = math.ceil(math.sqrt(megapixels / LARGE_MEGAPIXELS))
    times = min(for_size, math.floor(most_blur_px / LEAST_BLUR_PX))
    if times <= 1:
        return []
    return [
        f"Photos of {megapixels:.0f} megapixels take {6 * megapixels:.0f} MB each in the project: "
        f"reduced {times} times ({camera.reduced_entries(times)}) they take 1/{times**2} of disk "
        f"and time, and have 1/{times} of the blur."
    ]


def doubts(camera: Camera, told_m: Interval | None) -> list[str]:
    """What in a camera record is possible but unlikely, in sentences with a guess.

    Args:
        camera: The camera record.
        told_m: Distances that it tells apart [m].
    """
    found = []
    tangent = camera.half_diagonal_px * camera.pixel_pitch_um / camera.focal_length_mm / 1000
    if tangent > WIDEST_TANGENT:
        found.append(
            f"Doubtful: the camera sees {2 * math.degrees(math.atan(tangent)):.0f} degrees across; "
            f"is focal_length_mm {camera.focal_length_mm:g} in centimetres (then write "
            f"{10 * camera.focal_length_mm:g}), or pixel_pitch_um {camera.pixel_pitch_um:g} not "
            f"that of photos of {camera.width_px} px?"
        )
    if told_m is not None and camera.focus_distance_m > max(told_m[1], FAR_FOCUS_M):
        readings = other_readings("focus_distance_m", camera.focus_distance_m)
        found.append(
            f"Doubtful: the focus at {camera.focus_distance_m:g} m is farther than distances can "
            f"be told apart; is focus_distance_m in another unit? Then write {readings}."
        )
    return found


def _fitting_m(camera: Camera, observer: Observer, most_px: float) -> Interval:
    """Distances [m] that blur over at most `most_px`, that kernels hold, and that a lens allows."""
    nearest_m, most_px = nearest_object_m(camera), min(most_px, MOST_KERNEL_PX)
    while True:
        near_m, far_m = blur_limits_m(camera, most_px)
        fitting_m = max(near_m, nearest_m), min(far_m, FARTHEST_M)
        kernel_px = thin_kernel_px(camera, observer.bank, fitting_m)
        if kernel_px <= MOST_KERNEL_PX:
            return fitting_m
        most_px *= SHRINK
        if most_px < 1:
            times = math.ceil(kernel_px / MOST_KERNEL_PX)
            raise LensError(
                "even in focus colours and aberrations blur over more than a kernel",
                got=f"{kernel_px} px",
                expected=f"at most {MOST_KERNEL_PX} px",
                todo=f"Reduce the photos {times} times ({camera.reduced_entries(times)}), or write "
                "smaller axial_colour and spherical into camera.lens.",
            )


def _rounded(range_m: Interval) -> Interval:
    """A range [m] within another, its ends to a thousandth of its far end."""
    step = 10.0 ** (math.floor(math.log10(range_m[1])) - 3)
    near, far = math.ceil(range_m[0] / step), math.floor(range_m[1] / step)
    return float(f"{near * step:.6g}"), float(f"{far * step:.6g}")


def _planned(
    camera: Camera,
    observer: Observer,
    working_m: Interval,
    looked_at_m: Interval | None,
    told_m: Interval | None,
    is_cut: bool,
) -> WorkingRange:
    most_px = float(blur_px(camera, np.asarray(working_m)).max())
    return WorkingRange(
        working_m=working_m,
        looked_at_m=looked_at_m,
        told_m=told_m,
        most_blur_px=most_px,
        kernel_px=min(thin_kernel_px(camera, observer.bank, working_m), MOST_KERNEL_PX),
        is_cut=is_cut,
    )
