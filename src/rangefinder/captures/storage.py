"""How a picture file stores its photo: read from its format and, of a JPEG, its tables."""

from __future__ import annotations

from PIL import Image
from PIL.JpegImagePlugin import get_sampling

from rangefinder.config import Chroma
from rangefinder.photo_domain import CHROMA, Storage

JPEGS = ("JPEG", "MPO")  # the latter has previews or a gain map behind the photo
STANDARD_MEAN = 3692 / 64  # of the luminance quantisation table in ITU-T T.81, annex K: quality 50


def coded_storage(picture: Image.Image) -> Storage | None:
    """Storage of an open picture of a lossy format; None for any other."""
    if picture.format in JPEGS:
        return Storage("jpeg", _quality(picture), _chroma(picture))
    if picture.format in ("WEBP", "AVIF"):
        return Storage("lossy")
    return None


def plain_storage(is_8_bit: bool, encoding: str = "auto") -> Storage:
    """Storage of samples that no codec has changed; `encoding` as for `decode`."""
    is_srgb = encoding == "srgb" or (encoding == "auto" and is_8_bit)
    return Storage("srgb" if is_srgb else "linear")


def _quality(picture: Image.Image) -> int:
    """Quality as the Independent JPEG Group counts it, by the mean of the luminance table."""
    table = picture.quantization[0]  # type: ignore[attr-defined]
    scale = float(100 * sum(table) / len(table) / STANDARD_MEAN)
    quality = (200 - scale) / 2 if scale <= 100 else 5000 / scale
    return round(min(max(quality, 1), 100))


def _chroma(picture: Image.Image) -> Chroma:
    """Chroma subsampling; a layout without a usual name counts as 4:2:0."""
    if picture.mode == "L":
        return CHROMA[0]
    return CHROMA[get_sampling(picture)]
