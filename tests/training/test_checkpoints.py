"""Checkpoints that are damaged or of a finished training: never trained on, never in the way."""

import os
import pickle

import pytest
import torch

from rangefinder.errors import ModelError
from rangefinder.training import runner
from rangefinder.training.assembly import train_teacher
from rangefinder.training.checkpoints import BEFORE, FINAL, LAST, read_checkpoint, write_checkpoint

from ..small_training import same_weights

EPOCHS, INTERRUPTED = 5, 3


class CrashError(Exception):
    """Ends a training as a crash does."""


@pytest.fixture
def longer(params):
    teacher = params.teacher.model_copy(update={"max_epochs": EPOCHS})
    return params.model_copy(update={"teacher": teacher})


@pytest.fixture
def crashed(captures, longer, tmp_path, monkeypatch):
    """Folder of the checkpoints of a training that crashed in epoch `INTERRUPTED`."""
    begin = runner.NewEpoch.on_train_epoch_start

    def crash(callback, trainer, module):
        if trainer.current_epoch == INTERRUPTED:
            raise CrashError
        begin(callback, trainer, module)

    with monkeypatch.context() as patch:
        patch.setattr(runner.NewEpoch, "on_train_epoch_start", crash)
        with pytest.raises(CrashError):
            train_teacher(captures, longer, tmp_path / "crashed", None)
    return tmp_path / "crashed"


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def pickle_in_place(path):
    path.write_bytes(pickle.dumps({"epoch": 1}))


DAMAGES = {
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: os.truncate(path, 0),
    "bit": flip_a_bit,
    "pickle": pickle_in_place,
}


@pytest.mark.parametrize(
    ("damage", "damaged"), [*((damage, (LAST,)) for damage in DAMAGES), ("bit", (LAST, BEFORE))]
)
def test_a_damaged_checkpoint_is_named_and_not_trained_on(
    crashed, captures, longer, tmp_path, caplog, damage, damaged
):
    assert read_checkpoint(crashed / LAST)["epoch"] == INTERRUPTED - 1
    assert read_checkpoint(crashed / BEFORE)["epoch"] == INTERRUPTED - 2
    for name in damaged:
        DAMAGES[damage](crashed / name)
    with caplog.at_level("INFO"):
        found = train_teacher(captures, longer, crashed, None)
    for name in damaged:
        assert f"{crashed / name} is damaged" in caplog.text
    resumed = f"Resuming from the checkpoint {crashed / BEFORE}"
    assert (resumed in caplog.text) == (damaged == (LAST,))
    undisturbed = train_teacher(captures, longer, tmp_path / "undisturbed", None)
    assert same_weights(found, undisturbed)


def test_a_finished_training_is_not_repeated_until_its_model_is_saved(
    captures, longer, tmp_path, caplog
):
    folder = tmp_path / "teacher"
    first = train_teacher(captures, longer, folder, None)
    with caplog.at_level("INFO"):
        second = train_teacher(captures, longer, folder, None)
    assert f"had finished: its weights are in {folder}" in caplog.text
    assert second.fingerprint == first.fingerprint
    flip_a_bit(folder / FINAL)
    assert train_teacher(captures, longer, folder, None).fingerprint == first.fingerprint
    runner.remove_checkpoints(folder)
    assert not folder.exists()


def test_a_checkpoint_is_whole_or_not_there(tmp_path, monkeypatch):
    path, content = tmp_path / LAST, {"epoch": 1, "weight": torch.rand(1000)}
    write_checkpoint(path, content)

    def full(_):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            write_checkpoint(path, content | {"epoch": 2})
    assert read_checkpoint(path)["epoch"] == 1
    write_checkpoint(path, content | {"epoch": 3})
    assert read_checkpoint(path)["epoch"] == 3
    assert read_checkpoint(tmp_path / BEFORE)["epoch"] == 1


def test_a_checkpoint_runs_no_code(tmp_path):
    class Code:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "run"),))

    write_checkpoint(tmp_path / LAST, {"code": Code()})
    with pytest.raises(ModelError, match="cannot be read"):
        read_checkpoint(tmp_path / LAST)
    assert not (tmp_path / "run").exists()
