"""Readers of files from elsewhere, each with small files that it reads; what is asked of them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from PIL import Image

from rangefinder.camera import Camera
from rangefinder.captures.decoding import decode
from rangefinder.captures.manifest import TABLE_FILE, read_captures, write_captures
from rangefinder.captures.map_formats import read_mask, read_numbers
from rangefinder.captures.tables import read_table
from rangefinder.common.foreign import parse_json, reason
from rangefinder.common.sealed import read_arrays, write_arrays
from rangefinder.errors import ModelError, RangefinderError
from rangefinder.models.card import Card
from rangefinder.models.model_files import build_network
from rangefinder.optics.calibrated_lens import CalibratedLens
from rangefinder.optics.lens_files import read_lens
from rangefinder.optics.lens_model import LensModel, LensShape
from rangefinder.optics.psf_bank import PsfBank
from rangefinder.training.checkpoints import read_checkpoint, write_checkpoint

Seeds = Callable[[Path], Iterable[bytes]]
LONGEST_MESSAGE = 5000  # characters
CORPUS = Path(__file__).parent / "corpus"
MOST_BYTES = 2**30  # that reading a small file may allocate


@dataclass(frozen=True)
class Reader:
    """What is read, and from what files fuzzing starts.

    Attributes:
        name: Of the file that is read; its suffix chooses the format.
        read: Reads the file, or the folder that holds it.
        seeds: Makes contents of good files; it gets an empty folder.
        around: Makes what else the reader needs beside the file.
    """

    name: str
    read: Callable[[Path], Any]
    seeds: Seeds
    around: Callable[[Path], None] = lambda folder: None


def _pixels(kind: type = np.uint16, channels: int = 3) -> np.ndarray:
    generator = np.random.default_rng(3)
    shape = (40, 40, channels) if channels > 1 else (40, 40)
    return generator.integers(0, np.iinfo(kind).max, shape).astype(kind)


def _pillow(pixels: np.ndarray, suffix: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, suffix, **options)
    return buffer.getvalue()


def _tiffs(pixels: np.ndarray) -> Iterable[bytes]:
    for compression in (None, "deflate", "lzw", "packbits"):
        for options in ({}, {"tile": (16, 16)}, {"predictor": True}):
            if options.get("predictor") and compression not in ("deflate", "lzw"):
                continue
            buffer = io.BytesIO()
            tifffile.imwrite(buffer, pixels, compression=compression, **options)
            yield buffer.getvalue()


def _pngs(folder: Path) -> Iterable[bytes]:
    exif = Image.Exif()
    exif[0x0112] = 1
    yield _pillow(_pixels(np.uint8), "png", exif=exif)
    yield _pillow(_pixels(np.uint16, 1), "png")
    yield _pillow(_pixels(np.uint8), "png", compress_level=0)
    yield _pillow(_pixels(np.uint8, 1), "png")


def _grey_pngs(folder: Path) -> Iterable[bytes]:
    yield _pillow(_pixels(np.uint16, 1), "png")
    yield _pillow(_pixels(np.uint8, 1), "png")


def _jpegs(folder: Path) -> Iterable[bytes]:
    exif = Image.Exif()
    exif[0x0110], exif[0x9206] = "model", (3, 1)
    yield _pillow(_pixels(np.uint8), "jpeg", exif=exif)
    yield _pillow(_pixels(np.uint8), "jpeg", progressive=True, subsampling=0)
    yield _pillow(_pixels(np.uint8, 1), "jpeg")


def _by_pillow(suffix: str) -> Seeds:
    def seeds(folder: Path) -> Iterable[bytes]:
        yield _pillow(_pixels(np.uint8), suffix)
        yield _pillow(_pixels(np.uint8), suffix, quality=30)

    return seeds


def _heifs(folder: Path) -> Iterable[bytes]:
    import pillow_heif

    for quality in (-1, 40):
        photo, buffer = pillow_heif.from_pillow(Image.fromarray(_pixels(np.uint8))), io.BytesIO()
        photo.save(buffer, quality=quality)
        yield buffer.getvalue()


def _dngs(folder: Path) -> Iterable[bytes]:
    from ..dng import LINEAR_RAW, MOSAIC, write_dng

    write_dng(folder / "linear.dng", _pixels(), LINEAR_RAW)
    yield (folder / "linear.dng").read_bytes()
    write_dng(
        folder / "mosaic.dng",
        _pixels(np.uint16, 1),
        MOSAIC,
        (33421, 3, 2, (2, 2), True),
        (33422, 1, 4, (0, 1, 1, 2), True),
    )
    yield (folder / "mosaic.dng").read_bytes()


def _npys(folder: Path) -> Iterable[bytes]:
    for values in (np.ones((40, 40), np.float32), np.ones((40, 40, 1)), _pixels(np.uint16, 1)):
        buffer = io.BytesIO()
        np.save(buffer, values)
        yield buffer.getvalue()


def _pfms(folder: Path) -> Iterable[bytes]:
    for order, kind in ((-1.0, "<f4"), (1.0, ">f4")):
        yield f"Pf\n40 40\n{order}\n".encode() + np.ones((40, 40), kind).tobytes()


def _exrs(folder: Path) -> Iterable[bytes]:
    import OpenEXR

    for name, kind in (("Z", np.float32), ("ViewLayer.Depth.Z", np.float16)):
        path = folder / f"{name}.exr"
        values = np.ones((40, 40), kind)
        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        OpenEXR.File(header, {name: values}).write(str(path))
        yield path.read_bytes()


def _tables(folder: Path) -> Iterable[bytes]:
    yield b"image,role,distance_m,scene,split\na.tif,chart,1.25,one,train\nb.tif,labelled,,two,\n"
    yield (
        b"image;role;distance_m;scene;distance_map;distance_map_unit\n"
        b"a.tif;labelled;1,25;one;a.npy;mm\n"
    )
    yield b"image\trole\tdistance_m\tscene\tsharp_image\tsharp_f_number\na\tchart\t1\ts\tb\t16\n"


def _yamls(folder: Path) -> Iterable[bytes]:
    yield (
        b"name: mine\nfocal_length_mm: 50.0\nf_number: 3.5\npixel_pitch_um: 46.7\nwidth_px: 480\n"
        b"height_px: 360\nfocus_distance_m: 3.0\n"
    )
    yield (
        b"focal_length_mm: 5.0e+1\nf_number: 2\nwidth_px: 64\nheight_px: 48\nname: 'x'\n"
        b"encoding: {formats: [srgb, jpeg], jpeg_quality: [75, 98]}\n"
        b"lens:\n  kind: zemax\n  file: lens.zmx\n  glasses: {A: {nd: 1.5, vd: 60.0}}\n"
    )


ZEMAX = """MODE SEQ
UNIT MM X W X CM MR CPMM
ENPD 14.0
GCAT SCHOTT
WAVM 1 0.5876 1
PWAV 1
SURF 0
  CURV 0.0
  DISZ INFINITY
SURF 1
  STOP
  TYPE EVENASPH
  CURV 0.02
  CONI -0.5
  PARM 2 1e-6
  DISZ 5.0
  GLAS N-BK7 0 0 1.5168 64.17
  DIAM 9.0 1 0 0 1 ""
SURF 2
  CURV -0.02
  DISZ 45.0
SURF 3
  CURV 0.0
  DISZ 0.0
"""
CODE_V = """LEN
TITLE 'singlet'
DIM M
EPD 14
WL 656.3 587.6 486.1
REF 2
SO 0 1e11
S 50 5 NBK7_SCHOTT
STO
K -0.5
S -50 45
CIR 9
SI 0 0
GO
"""


def _zemax(folder: Path) -> Iterable[bytes]:
    yield ZEMAX.encode()
    yield ZEMAX.encode("utf-16")


def _code_v(folder: Path) -> Iterable[bytes]:
    yield CODE_V.encode()


def _optiland(folder: Path) -> Iterable[bytes]:
    from optiland.fileio import save_optiland_file
    from optiland.samples.objectives import CookeTriplet

    path = folder / "lens.json"
    save_optiland_file(CookeTriplet(), str(path))
    yield path.read_bytes()


def _cards(folder: Path) -> Iterable[bytes]:
    from ..tiny_camera import make_calibrated_model

    for kind in ("teacher", "student"):
        yield make_calibrated_model(kind).card.model_dump_json().encode()


def _card(path: Path) -> None:
    """A card and its network, as the reader of models has them once the seal is checked."""
    try:
        card = Card.read(parse_json(path.read_text(encoding="utf-8")), "a model")
    except ValueError as exc:
        raise ModelError(f"no readable model ({reason(exc)})") from exc
    if card.teacher.network is None:
        build_network(card)


def _banks(folder: Path) -> Iterable[bytes]:
    from ..simulated_camera import gaussian_bank

    gaussian_bank().save(folder / "bank.safetensors")
    yield (folder / "bank.safetensors").read_bytes()


def _lens_notes(folder: Path) -> Iterable[bytes]:
    from ..simulated_camera import CAMERA

    lens = CalibratedLens(LensModel(CAMERA, LensShape.of(CAMERA)))
    lens.save(folder / "lens.safetensors")
    _, metadata = read_arrays(folder / "lens.safetensors", ["density"])
    yield json.dumps(metadata).encode()


def _lens_of_note(path: Path) -> None:
    """A calibrated lens whose checksum is that of its metadata, whatever these are."""
    try:
        metadata = parse_json(path.read_text(encoding="utf-8"))
    except ValueError:
        return
    sealed = path.with_name("lens.safetensors")
    write_arrays(sealed, {"density": np.zeros(0)}, metadata)
    CalibratedLens.load(sealed)


def _checkpoints(folder: Path) -> Iterable[bytes]:
    write_checkpoint(folder / "last.ckpt", {"epoch": 3, "state": {"weight": torch.ones(3)}})
    yield (folder / "last.ckpt").read_bytes()


def _capture_set(folder: Path) -> None:
    from ..tiny_camera import CAMERA, make_capture

    write_captures(folder / "set", CAMERA, [make_capture("unlabelled", seed=i) for i in range(2)])
    for part in (folder / "set").iterdir():
        part.rename(folder / part.name)


def _manifests(folder: Path) -> Iterable[bytes]:
    _capture_set(folder)
    yield (folder / TABLE_FILE).read_bytes()


READERS = {
    "TIFF photo": Reader("a.tif", decode, lambda folder: _tiffs(_pixels())),
    "PNG photo": Reader("a.png", decode, _pngs),
    "JPEG photo": Reader("a.jpg", decode, _jpegs),
    "WebP photo": Reader("a.webp", decode, _by_pillow("webp")),
    "AVIF photo": Reader("a.avif", decode, _by_pillow("avif")),
    "HEIC photo": Reader("a.heic", decode, _heifs),
    "DNG photo": Reader("a.dng", decode, _dngs),
    "PNG map": Reader("a.png", read_numbers, _grey_pngs),
    "TIFF map": Reader("a.tif", read_numbers, lambda folder: _tiffs(_pixels(np.uint16, 1))),
    "NPY map": Reader("a.npy", read_numbers, _npys),
    "PFM map": Reader("a.pfm", read_numbers, _pfms),
    "EXR map": Reader("a.exr", read_numbers, _exrs),
    "mask": Reader("a.png", read_mask, _pngs),
    "table": Reader("captures.csv", read_table, _tables),
    "camera record": Reader("camera.yml", Camera.read, _yamls),
    "Zemax file": Reader("a.zmx", lambda path: read_lens(path, {}), _zemax),
    "CODE V file": Reader("a.seq", lambda path: read_lens(path, {}), _code_v),
    "optiland file": Reader("a.json", lambda path: read_lens(path, {}), _optiland),
    "model card": Reader("card.json", _card, _cards),
    "PSF bank": Reader("bank.safetensors", PsfBank.load, _banks),
    "calibrated lens": Reader("note.json", _lens_of_note, _lens_notes),
    "checkpoint": Reader("last.ckpt", read_checkpoint, _checkpoints),
    "manifest": Reader(
        TABLE_FILE, lambda path: read_captures(path.parent), _manifests, _capture_set
    ),
}


def check(name: str, path: Path) -> None:
    """Read a file by the reader of this name. A short error of this package is a right answer.

    Raises:
        AssertionError: If the message is too long, or memory was the reason.
        Exception: Whatever else the reader raises.
    """
    try:
        READERS[name].read(path)
    except RangefinderError as exc:
        if len(str(exc)) > LONGEST_MESSAGE:
            raise AssertionError(f"a message of {len(str(exc))} characters") from exc
        cause: BaseException | None = exc
        while cause is not None:
            if isinstance(cause, MemoryError):
                raise AssertionError(f"it wanted more than {MOST_BYTES} bytes") from exc
            cause = cause.__cause__


def found_by_fuzzing(name: str) -> list[Path]:
    """Inputs that a reader once failed on."""
    return sorted((CORPUS / name.replace(" ", "_")).glob("*"))
