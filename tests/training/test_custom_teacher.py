"""A custom teacher: trained, saved, loaded, swept, and distilled into a student."""

import shutil
import sys
from pathlib import Path

import pytest
import torch

from rangefinder.cache.fill import fill_cache
from rangefinder.config import parse_parameters
from rangefinder.errors import ConfigError
from rangefinder.models.consent import trust
from rangefinder.models.model_files import load_model, save_model
from rangefinder.sweep.sweep import Sweep
from rangefinder.training.assembly import Distillation, train_teacher

NETWORKS = Path(__file__).parents[1] / "custom_networks.py"


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    """Name of an importable module of networks."""
    folder = tmp_path_factory.mktemp("src")
    shutil.copy(NETWORKS, folder / "networks_of_a_user.py")
    sys.path.insert(0, str(folder))
    yield "networks_of_a_user"
    sys.path.remove(str(folder))


def with_network(params, path, sharing="none"):
    raw = params.model_dump()
    raw["teacher"]["network"], raw["student"]["sharing"] = path, sharing
    return parse_parameters(raw)


@pytest.mark.parametrize(("name", "dense"), [("Pooled", False), ("Convolutional", True)])
def test_a_custom_teacher_is_trained_saved_swept_and_distilled(
    captures, params, module, tmp_path, name, dense
):
    params = with_network(params, f"{module}:{name}")
    trained = train_teacher(captures, params, tmp_path / "ckpt", None)
    save_model(tmp_path / "teacher", trained)
    trust(params.teacher.network)
    teacher = load_model(tmp_path / "teacher")
    assert teacher.fingerprint == trained.fingerprint
    patch_px, stride_px = teacher.card.patch_px, teacher.card.stride_px
    assert (patch_px, stride_px) == ((11, 2) if dense else (16, 8))
    sweep = Sweep(teacher.network, captures.camera, params.cache, patch_px, stride_px)
    image, placement = captures.image(0), captures.placement(0)
    probs = sweep(image, placement)
    assert sweep.dense is dense
    torch.testing.assert_close(probs, sweep.patch_loop(image, placement), atol=1e-5, rtol=0)
    cache = fill_cache(teacher, captures, params.cache, tmp_path / "cache")
    student = Distillation(captures, teacher, cache, params, tmp_path / "ckpt2").distil()
    save_model(tmp_path / "student", student)
    assert load_model(tmp_path / "student").fingerprint == student.fingerprint


def test_training_moves_the_weights(captures, params, module, tmp_path):
    params = with_network(params, f"{module}:Pooled")
    trained = train_teacher(captures, params, tmp_path / "ckpt", None)
    fresh = type(trained.network)(params.teacher.network, params.prediction.bins)
    before, after = (net.state_dict()["network.head.weight"] for net in (fresh, trained.network))
    assert (before - after).abs().max() > 1e-3
    assert trained.network.state_dict()["network.norm.num_batches_tracked"] > 0


def test_validation_predicts_every_patch_alone(module, params):
    from rangefinder.models.teacher import CustomTeacher

    network = CustomTeacher(f"{module}:Pooled", 12).eval()
    image, location = torch.rand(2, 3, 40, 50), torch.rand(2, 2, 2, 3)
    with torch.inference_mode():
        logits = network.side_by_side(image, location)
        one = network(image[1:, :, 16:32, 32:48], location[1:, :, 1:, 2:])
    assert logits.shape == (2, 12, 2, 3)
    torch.testing.assert_close(logits[1:, :, 1:, 2:], one)


def test_other_code_makes_another_fingerprint(captures, params, module, tmp_path):
    teacher = train_teacher(
        captures, with_network(params, f"{module}:Pooled"), tmp_path / "ckpt", None
    )
    before, file = teacher.fingerprint, Path(sys.modules[module].__file__)
    file.write_text(file.read_text() + "\n# other code for the same weights\n")
    assert teacher.fingerprint != before


@pytest.mark.parametrize("sharing", ["init", "frozen", "joint"])
def test_sharing_a_stem_with_a_custom_teacher_is_refused(
    captures, params, module, tmp_path, sharing
):
    path = f"{module}:Pooled"
    with pytest.raises(ConfigError, match=r"student\.sharing must be 'none'"):
        with_network(params, path, sharing)
    valid = with_network(params, path)
    teacher = train_teacher(captures, valid, tmp_path / "ckpt", None)
    cache = fill_cache(teacher, captures, params.cache, tmp_path / "cache")
    student = params.student.model_copy(update={"sharing": sharing})
    params = params.model_copy(update={"student": student})
    with pytest.raises(ConfigError, match="no stem to share"):
        Distillation(captures, teacher, cache, params, tmp_path / "ckpt").distil()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no_such_module:Net", "No module named"),
        ("networks_of_a_user:NoSuchClass", "NoSuchClass"),
        ("networks_of_a_user:not_a_class", "not_a_class"),
        ("os:system", "system"),
        ("networks_of_a_user:Sizeless", "patch_px = None"),
    ],
)
def test_what_is_not_a_patch_network_is_refused(captures, params, module, tmp_path, path, message):
    with pytest.raises(ConfigError, match=message) as caught:
        train_teacher(captures, with_network(params, path), tmp_path / "ckpt", None)
    assert "forward takes patches [N, 3, patch_px, patch_px]" in str(caught.value)
