"""A card that names code: nothing is imported unless the project or the user trusts it."""

import json
import os
import subprocess
import sys

import pytest

from rangefinder.models import consent
from rangefinder.models.card import Card
from rangefinder.models.consent import EVERYTHING, UntrustedCodeError, trust
from rangefinder.models.model_files import CARD, TrainedModel, load_model, save_model
from rangefinder.models.teacher import CustomTeacher

from ..conftest import ROOT
from ..tiny_camera import make_model

NETWORK = "networks_of_somebody:Pooled"
MAIN = "from rangefinder.commands import main; main()"


@pytest.fixture
def custom(tmp_path, monkeypatch):
    """A saved custom teacher, and the file that its module makes when it is imported."""
    monkeypatch.setattr(consent, "_trusted", set())
    code, trace = tmp_path / "code", tmp_path / "imported"
    code.mkdir()
    text = (ROOT / "tests/custom_networks.py").read_text()
    module = code / "networks_of_somebody.py"
    module.write_text(f"{text}\nfrom pathlib import Path\nPath({str(trace)!r}).touch()\n")
    monkeypatch.syspath_prepend(str(code))
    known = make_model("teacher").card
    network = CustomTeacher(NETWORK, known.prediction.bins)
    card = known.model_copy(
        update={
            "teacher": known.teacher.model_copy(update={"network": NETWORK}),
            "patch_px": network.patch_px,
            "stride_px": network.stride_px,
        }
    )
    save_model(tmp_path / "teacher", TrainedModel(network, card))
    del sys.modules["networks_of_somebody"]
    trace.unlink()
    yield tmp_path / "teacher", trace
    sys.modules.pop("networks_of_somebody", None)


def test_code_that_a_card_names_is_not_imported(custom):
    folder, trace = custom
    with pytest.raises(UntrustedCodeError, match=f"teacher.network {NETWORK}.*--trust-code"):
        load_model(folder)
    trust("another_module:Pooled")
    with pytest.raises(UntrustedCodeError):
        load_model(folder)
    assert not trace.exists()


@pytest.mark.parametrize("trusted", [NETWORK, EVERYTHING])
def test_code_that_is_trusted_is(custom, trusted):
    folder, trace = custom
    trust(trusted)
    assert isinstance(load_model(folder).network, CustomTeacher)
    assert trace.exists()


def test_the_seal_is_checked_before_anything_is_imported(custom):
    folder, trace = custom
    trust(EVERYTHING)
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps(card | {"seed": card["seed"] + 1}))
    with pytest.raises(consent.ModelError, match="was changed after training"):
        load_model(folder)
    assert not trace.exists()


def test_commands_run_such_code_only_if_told_to(custom, photo_folder):
    folder, trace = custom
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{folder.parent / 'code'}"}
    command = [sys.executable, "-c", MAIN, "measure", "--force"]
    for options, status in ([], 2), (["--trust-code"], 0):
        done = subprocess.run(
            [*command, *options, "--model", str(folder), str(photo_folder / "b.png")],
            env=environment,
            cwd=folder.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, trace.exists()) == (status, status == 0), done.stderr
        assert ("--trust-code" in done.stderr) == (status == 2)


@pytest.mark.parametrize(
    "change", [{"stem_channels": [100_000, 100_000]}, {"stem_channels": [0, 8]}, {"channels": -1}]
)
def test_a_card_of_a_network_too_large_or_empty_is_refused(change):
    content = json.loads(make_model("teacher").card.model_dump_json())
    content["teacher"] |= change
    with pytest.raises(ValueError, match=r"teacher\.\w*channels"):
        Card.read(content, "a model")
