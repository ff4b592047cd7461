"""From light on the sensor to stored values: noise, quantisation, encoding, JPEG."""

from __future__ import annotations

from io import BytesIO
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from rangefinder.config import Chroma, EncodingParams, NoiseParams
from rangefinder.optics.srgb import LINEAR_OF_8_BIT, srgb_pixels
from rangefinder.photo_domain import Storage

T = TypeVar("T")

NORMAL_FROM_ELECTRONS = 500.0  # from here a normal distribution is as good as Poisson's, and faster


def through_srgb(image: Tensor) -> Tensor:
    """`[3, H, W]` linear light 0..1 after storage as 8-bit sRGB."""
    return _linear(srgb_pixels(image))


def through_jpeg(image: Tensor, quality: int, chroma: Chroma = "4:2:0") -> Tensor:
    """`[3, H, W]` linear light 0..1 after JPEG: 8-bit sRGB, chroma subsampled as stated."""
    file = BytesIO()
    Image.fromarray(srgb_pixels(image)).save(file, "JPEG", quality=quality, subsampling=chroma)
    with Image.open(file) as decoded:
        return _linear(np.asarray(decoded))


def _linear(pixels: NDArray[np.uint8]) -> Tensor:
    """Linear light `[3, H, W]` of 8-bit sRGB `[H, W, 3]`."""
    return torch.from_numpy(np.ascontiguousarray(LINEAR_OF_8_BIT[pixels].transpose(2, 0, 1)))


def grey(image: Tensor) -> Tensor:
    """The mean of the colours of `[3, H, W]` in each of them."""
    return image.mean(dim=0, keepdim=True).expand(3, -1, -1).contiguous()


def undeveloped(image: Tensor, params: EncodingParams) -> Tensor:
    """Light `[3, H, W]` in the sensor's colours of a photo: undoes `developed`.

    It is negative where noise is, and for colours that the sensor cannot see apart from others.
    """
    if params.tone_shoulder:
        image = image / (1.0 + params.tone_shoulder * (1.0 - image))
    if params.colour_matrix is None:
        return image
    inverse = torch.linalg.inv(torch.tensor(params.colour_matrix, dtype=image.dtype))
    return _mixed(inverse, image)


def sensor_light(image: Tensor, params: EncodingParams) -> Tensor:
    """Light `[3, H, W]`, none of it negative, that is developed to a picture."""
    light = undeveloped(image, params)
    return light if light is image else light.clamp(min=0.0)


def drawn_development(params: EncodingParams, generator: np.random.Generator) -> EncodingParams:
    """How one simulated photo is developed: domain randomisation (Tobin et al., 2017).

    Colour matrices differ with the light of a scene, and tone curves with cameras' settings; what
    is not known of them is drawn, so that networks neither rely on it nor are too sure.

    Args:
        params: `development_jitter` is the largest relative change of the matrix's difference from
            the identity, and of the tone curve's shoulder.
        generator: Source of randomness, used only where there is something to draw.
    """
    if not params.development_jitter:
        return params
    mixing, shoulder = 1 + params.development_jitter * generator.uniform(-1, 1, 2)
    change: dict[str, object] = {"tone_shoulder": params.tone_shoulder * shoulder}
    if params.colour_matrix is not None:
        identity = np.eye(3)
        matrix = identity + mixing * (np.array(params.colour_matrix) - identity)
        change["colour_matrix"] = tuple(map(tuple, matrix.tolist()))
    return params.model_copy(update=change)


def developed(image: Tensor, params: EncodingParams) -> Tensor:
    """A photo `[3, H, W]` 0..1 as cameras and raw converters develop one in the sensor's colours.

    The colour matrix mixes the sensor's colours to those of sRGB. Blur is that of the sensor's
    colours, so mixing raises the difference of blur between colours. The tone curve compresses
    highlights: (1 + k) x / (1 + k x), as Reinhard et al., Photographic Tone Reproduction for
    Digital Images, 2002, scaled to keep white.
    """
    if params.colour_matrix is not None:
        matrix = torch.tensor(params.colour_matrix, dtype=image.dtype)
        image = _mixed(matrix, image).clamp_(0.0, 1.0)
    if params.tone_shoulder:
        image = (1.0 + params.tone_shoulder) * image / (1.0 + params.tone_shoulder * image)
    return image


def _mixed(matrix: Tensor, image: Tensor) -> Tensor:
    return torch.einsum("ij,jyx->iyx", matrix, image)


def stored(
    image: Tensor, params: EncodingParams, generator: np.random.Generator
) -> tuple[Tensor, Storage]:
    """A simulated photo as the camera stores it.

    Args:
        image: `[3, H, W]` linear light 0..1.
        params: Formats, of which one is drawn, and their settings.
        generator: Source of randomness, used only where there is something to draw.

    Returns:
        `[3, H, W]` linear light 0..1 as read from the file, and how it is stored.
    """
    if not params.colour:
        image = grey(image)
    format_ = _drawn(params.formats, generator)
    if format_ == "linear":
        return image, Storage()
    if format_ == "srgb":
        return through_srgb(image), Storage("srgb")
    low, high = params.jpeg_quality
    quality = low if low == high else int(generator.integers(low, high + 1))
    chroma = _drawn(params.chroma, generator)
    return through_jpeg(image, quality, chroma), Storage("jpeg", quality, chroma)


def _drawn(options: tuple[T, ...], generator: np.random.Generator) -> T:
    return options[int(generator.integers(len(options))) if len(options) > 1 else 0]


def expose(
    image: Tensor, exposure: float, params: NoiseParams, generator: np.random.Generator
) -> Tensor:
    """Expose the sensor: Poisson-Gaussian noise, then quantisation and clipping.

    Electrons are Poisson distributed, the amplifier adds Gaussian read noise (Foi et al., Practical
    Poissonian-Gaussian noise modeling and fitting for single-image raw-data, 2008).

    Args:
        image: `[3, H, W]` linear light; negative values count as 0.
        exposure: Share of full scale that a value of 1 reaches.
        params: Full well, read noise and bits.
        generator: Source of randomness.

    Returns:
        `[3, H, W]` float32, 0..1, on the steps of the converter.
    """
    light = image.detach().cpu().float().numpy()
    mean = light.clip(min=0.0) * np.float32(exposure * params.full_well_e)
    electrons = _shot_noise(mean, generator)
    noise = generator.standard_normal(light.shape, dtype=np.float32) * params.read_noise_e
    steps = 2**params.bits - 1
    counts = np.rint((electrons + noise) * (steps / params.full_well_e)).clip(0, steps)
    return torch.from_numpy((counts / steps).astype(np.float32))


def focus_shift_dpt(params: NoiseParams, generator: np.random.Generator) -> float:
    """By how much a photo's focus is farther than the camera record says [1/m], drawn at random.

    The generator is used only where there is something to draw.
    """
    return float(generator.normal(0.0, params.focus_sd_dpt)) if params.focus_sd_dpt else 0.0


def noise_sd(light: Tensor, params: NoiseParams) -> Tensor:
    """Standard deviation of the Poisson-Gaussian noise of `expose`, without quantisation.

    Light is the mean, of any shape; both are shares of full scale.
    """
    read = params.read_noise_e / params.full_well_e
    return torch.sqrt(light / params.full_well_e + read**2)


def _shot_noise(mean: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    """Poisson distributed numbers of electrons, any shape."""
    electrons = generator.standard_normal(mean.shape, dtype=np.float32)
    electrons *= np.sqrt(mean)
    electrons += mean
    few = mean < NORMAL_FROM_ELECTRONS
    electrons[few] = generator.poisson(mean[few])
    return electrons


def photograph(
    light: Tensor, params: NoiseParams, encoding: EncodingParams, generator: np.random.Generator
) -> tuple[Tensor, float, Storage]:
    """Scale light to a maximum of 1, `expose` it at random, and store it.

    Args:
        light: `[3, H, W]` linear light in the sensor's colours.
        params: Range of exposures, noise and bits.
        encoding: How the camera stores photos.
        generator: Source of randomness.

    Returns:
        The photo, `[3, H, W]` float32 linear light 0..1; its exposure; and how it is stored.
    """
    exposure = float(generator.uniform(*params.exposure))
    photo = expose(light / light.max().clamp(min=1e-6), exposure, params, generator)
    photo, storage = stored(developed(photo, encoding), encoding, generator)
    return photo, exposure, storage
