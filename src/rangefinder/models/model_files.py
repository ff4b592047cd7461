"""Models on disk: weights as safetensors beside a JSON card that describes them.

The card holds the hash of the weights' file, and that file's header the hash of the rest of the
card (the seal), so neither can change alone: it shows damage, not who made them. Nothing else is
ever read: a pickle could run code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from rangefinder.common.files import new_folder, read_folder
from rangefinder.common.foreign import read_json, reason, shortened
from rangefinder.errors import ModelError
from rangefinder.models.card import Card
from rangefinder.models.consent import require_trust
from rangefinder.models.distribution import DistanceDistribution
from rangefinder.models.size import sized
from rangefinder.models.student import Student
from rangefinder.models.teacher import CustomTeacher, Teacher, build_teacher, code_digest

WEIGHTS, CARD = "weights.safetensors", "card.json"
_SEAL = "card_sha256"  # in the header of the weights' file
_PICKLES = (b"\x80", b"PK")  # first bytes of a pickle, and of what torch.save writes


class TrainedModel:
    """A network and its card.

    Args:
        network: Teacher or student in evaluation mode.
        card: What it is.
    """

    def __init__(self, network: Teacher | CustomTeacher | Student, card: Card) -> None:
        self.network = network.eval()
        self.card = card
        self.distribution = DistanceDistribution(card.prediction)

    def tilted(self, probs: Tensor) -> Tensor:
        """Predicted distributions `[..., bins]` after posterior tilting; see `Calibration`."""
        calibration = self.card.calibration
        return self.distribution.tilted(probs, calibration.tilt_power if calibration else 0.0)

    @property
    def fingerprint(self) -> str:
        """Hash of weights and card, and of a custom teacher's code."""
        state = self.network.state_dict()
        digest = hashlib.sha256(self.card.model_dump_json(exclude={"weights_sha256"}).encode())
        digest.update(code_digest(self.network).encode())
        for name in sorted(state):
            digest.update(name.encode())
            digest.update(state[name].detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


def build_network(card: Card) -> Teacher | CustomTeacher | Student:
    """Network of a card, with fresh weights.

    Raises:
        ConfigError: If its weights would be too large.
    """
    if card.kind == "teacher":
        return build_teacher(card.teacher, card.prediction.bins)
    if (params := card.student) is None:
        raise ModelError("a student's card has no 'student' entry")
    return sized(lambda: Student(params, card.teacher, card.prediction.bins), "student")


def save_model(folder: Path, model: TrainedModel) -> None:
    """Write weights and card as a new `folder`, which replaces one of that name.

    Raises:
        OSError: If the disk is full or the folder cannot be written.
    """
    state = {k: v.detach().cpu().contiguous() for k, v in model.network.state_dict().items()}
    seal = {_SEAL: _seal(model.card.model_dump(mode="json"))}
    content = save(state, seal)  # `save_file` makes a file that only its owner can read
    digest = hashlib.sha256(content).hexdigest()
    card = model.card.model_copy(update={"weights_sha256": digest})
    with new_folder(folder) as partial:
        (partial / WEIGHTS).write_bytes(content)
        (partial / CARD).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")


def verified_card(folder: Path) -> Card:
    """The card of a model on disk whose files are whole; nothing is built of it.

    Raises:
        ModelError: If a file is missing or damaged, or card and weights do not belong together.
    """
    return read_folder(folder, _verified_card)


def _verified_card(folder: Path) -> Card:
    try:
        content: dict[str, Any] = read_json(folder / CARD)
        card = Card.read(content, f"the model in {folder}")
        _refuse_pickle(folder / WEIGHTS)
        actual = _sha256(folder / WEIGHTS)
    except (OSError, ValueError, ValidationError) as exc:
        raise ModelError(
            f"no readable model in {folder} ({reason(exc)})",
            todo="Train it again, or give another folder.",
        ) from exc
    if actual != card.weights_sha256:
        raise ModelError(
            f"weights in {folder} are not those of its card",
            got=f"sha256 {actual[:16]}",
            expected=card.weights_sha256[:16],
            todo="Restore both files from the same training.",
        )
    with _of_this_version(folder):
        _check_seal(folder, content)
    return card


def load_model(folder: Path) -> TrainedModel:
    """Read what `save_model` wrote: the old model or the new one, if it is replaced meanwhile.

    Raises:
        ModelError: If a file is missing or damaged, or card and weights do not belong together.
        UntrustedCodeError: If the card names code that nobody agreed to run; see `consent`.
    """
    return read_folder(folder, _load)


def _load(folder: Path) -> TrainedModel:
    card = _verified_card(folder)
    if card.kind == "teacher" and card.teacher.network is not None:
        require_trust(card.teacher.network, f"the teacher in {folder}")
    with _of_this_version(folder):
        network = build_network(card)
        network.load_state_dict(load_file(folder / WEIGHTS))
    return TrainedModel(network, card)


@contextmanager
def _of_this_version(folder: Path) -> Iterator[None]:
    """Explain weights that do not fit, though their checksum is right."""
    try:
        yield
    except (SafetensorError, RuntimeError) as exc:
        first = str(exc).partition("\n")[0].rstrip(":")
        raise ModelError(
            f"weights in {folder} do not fit their card ({shortened(first)})",
            todo="Another version of Rangefinder may have trained it: train it again.",
        ) from exc


def _seal(card: dict[str, Any]) -> str:
    """Hash of everything in a card but the hash of its weights."""
    content = {name: value for name, value in card.items() if name != "weights_sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _check_seal(folder: Path, card: dict[str, Any]) -> None:
    with safe_open(folder / WEIGHTS, framework="pt") as file:
        sealed = (file.metadata() or {}).get(_SEAL, "none")
    if sealed != _seal(card):
        raise ModelError(
            f"the card in {folder} was changed after training",
            got=f"sha256 {_seal(card)[:16]}",
            expected=sealed[:16],
            todo="Restore both files from the same training.",
        )


def _refuse_pickle(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(9)
    if start.startswith(_PICKLES) and start[8:] != b"{":  # safetensors: 8 bytes of length, JSON
        raise ModelError(
            f"{path} is a pickle, which can run code",
            expected="safetensors, as training writes them",
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
