"""Photos of a simple lens whose colours blur differently with distance, and models of it."""

import numpy as np
import torch
from scipy import ndimage

from rangefinder.camera import Camera
from rangefinder.captures.manifest import Capture, write_captures
from rangefinder.coordinates import Placement
from rangefinder.models.prediction import Prediction

from .tiny_camera import make_model

CAMERA = Camera(name="drifting", width_px=192, height_px=128, focus_distance_m=1.5)
STUDENT = make_model("student", CAMERA)  # untrained
HELD_OUT = 24  # photos
BANDS = 4  # of a photo, side by side, of one distance each
BLUR_PX_PER_DPT = 2.0
BLUE_FOCUS_DPT = 0.3


class Known:
    """Distances in place of predictive distributions."""

    def __init__(self, distance_m):
        self.distance_m = distance_m

    def decode(self, outputs=None):
        return Prediction(self.distance_m, {})


class TrueDistances:
    """Predicts the photos it was told of as a perfect network would."""

    WHOLE = Placement()

    def __init__(self, card):
        self.card, self.fingerprint, self.known = card, "0" * 16, {}

    def posterior(self, image, placement=WHOLE, shifts=()):
        return Known(self.known[image.tobytes()])


def take(seed, range_dpt=(0.3, 1.4), aperture=1.0, focus_dpt=0.0, red_focus_dpt=0.0, shift_px=0.0):
    """A photo and its distances.

    Args:
        seed: Of scene and noise.
        range_dpt: Inverse distances of scenes.
        aperture: Scales all blur.
        focus_dpt: By how much focus is nearer than in training, which a network cannot know.
        red_focus_dpt: By how much red's focus is nearer.
        shift_px: Of red against green, to the right.

    Returns:
        Light `[3, H, W]` and distance `[H, W]` as a network reads it, both float32.
    """
    rng = np.random.default_rng(seed)
    size = CAMERA.height_px, CAMERA.width_px
    bands = np.repeat(rng.uniform(*range_dpt, BANDS), size[1] // BANDS) - focus_dpt
    inverse_dpt = np.broadcast_to(bands, size)
    noise = ndimage.gaussian_filter(rng.normal(size=(4, *size)), (0, 0.7, 0.7))
    sharp = 0.8 * noise[3] + 0.3 * noise[:3]
    light = np.empty_like(sharp)
    for colour, nearer_dpt in enumerate((red_focus_dpt, 0.0, BLUE_FOCUS_DPT)):
        for dpt in np.unique(bands):
            defocus_dpt = dpt - 1 / CAMERA.focus_distance_m - nearer_dpt
            blurred = ndimage.gaussian_filter(
                sharp[colour], aperture * BLUR_PX_PER_DPT * abs(defocus_dpt)
            )
            light[colour][inverse_dpt == dpt] = blurred[inverse_dpt == dpt]
    light[0] = ndimage.shift(light[0], (0, shift_px), order=3, mode="nearest")
    light = 0.5 + 0.1 * light / light.std() + rng.normal(0, 0.003, light.shape)
    return light.clip(0.01, 1).astype(np.float32), (1 / inverse_dpt).astype(np.float32)


def held_out(folder, predictor, count=HELD_OUT):
    """Validation captures of the lens, which a predictor is told of."""
    captures = write_captures(folder / "captures", CAMERA, map(_capture, range(count)))
    for index in range(count):
        predictor.known[captures.image(index).numpy().tobytes()] = take(index)[1]
    return captures


def _capture(seed):
    light, distance_m = map(torch.from_numpy, take(seed))
    return Capture(light, "labelled", f"scene-{seed}", "validation", distance_map=distance_m)
