"""Training: what each network learns from, and what is shared."""

import logging
import multiprocessing
import shutil
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from rangefinder.captures.images import write_distance_png
from rangefinder.captures.manifest import read_captures
from rangefinder.errors import WorkerError
from rangefinder.models.io import load_model, save_model
from rangefinder.models.student import Student
from rangefinder.optics.border import ThinBlur, TracedBlur
from rangefinder.training.fit import teacher_key, train_teacher
from rangefinder.training.photos import Photos
from rangefinder.training.sources import label_digest

from .conftest import same_weights, student_of

SCENES = 240


def test_training_is_reproducible_and_leaves_no_checkpoints_or_processes(
    captures, params, teacher, tmp_path
):
    again = train_teacher(captures, params, tmp_path / "teacher", None)
    assert same_weights(teacher, again)
    assert list(tmp_path.iterdir()) == []
    assert multiprocessing.active_children() == []


def test_another_seed_trains_another_teacher(captures, params, teacher, tmp_path):
    other = params.model_copy(update={"seed": 1})
    assert not same_weights(teacher, train_teacher(captures, other, tmp_path / "teacher", None))


def test_another_blur_trains_another_teacher(captures, params, teacher, tmp_path):
    assert isinstance(captures.blur, ThinBlur)
    nodes = (np.array([0.2, 1.4]), np.array([0.0, 9.0]), np.array([0.0, 9.0]))
    wide = replace(captures, blur=TracedBlur(np.full((2, 2, 2), 20.0), *nodes))
    assert teacher_key(wide, params) != teacher_key(captures, params)
    assert not same_weights(teacher, train_teacher(wide, params, tmp_path / "teacher", None))


@pytest.mark.parametrize("workers", [0, 2])
def test_whoever_draws_the_crops_trains_the_same_teacher(
    captures, params, teacher, tmp_path, workers
):
    assert params.compute.workers == 1
    compute = params.compute.model_copy(update={"workers": workers})
    other = params.model_copy(update={"compute": compute})
    assert same_weights(teacher, train_teacher(captures, other, tmp_path / "teacher", None))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_convolutions_learn_in_the_precision_asked_for(captures, params, tmp_path, precision):
    compute = params.compute.model_copy(update={"precision": precision})
    multiplied = set()

    def look(module, _, found):
        if isinstance(module, torch.nn.Conv2d) and module.training:
            multiplied.add(found.dtype)

    with torch.nn.modules.module.register_module_forward_hook(look):
        changed = params.model_copy(update={"compute": compute})
        found = train_teacher(captures, changed, tmp_path / "teacher", None)
    assert multiplied == {getattr(torch, precision)}
    assert {p.dtype for p in found.network.parameters()} == {torch.float32}


def test_a_killed_process_that_draws_crops_is_explained(captures, params, tmp_path):
    def kill_a_child():
        deadline = time.monotonic() + 60
        while not (children := multiprocessing.active_children()):
            assert time.monotonic() < deadline, "no process came"
            time.sleep(0.01)
        children[0].kill()

    changed = params.teacher.model_copy(update={"max_epochs": 500, "patience_epochs": 500})
    killer = threading.Thread(target=kill_a_child)
    killer.start()
    with pytest.raises(WorkerError, match=r"compute\.workers"):
        train_teacher(
            captures, params.model_copy(update={"teacher": changed}), tmp_path / "teacher", None
        )
    killer.join()


def test_a_model_survives_the_disk(teacher, tmp_path):
    save_model(tmp_path / "model", teacher)
    loaded = load_model(tmp_path / "model")
    assert same_weights(teacher, loaded)
    assert loaded.fingerprint == teacher.fingerprint


def test_the_student_never_reads_a_photos_distance(captures, params, teacher, cache, tmp_path):
    table = captures.table.copy()
    unlabelled = table["role"].eq("unlabelled")
    table.loc[unlabelled, ["distance_m", "distance_map"]] = None
    blind = replace(captures, table=table)
    with_truth = student_of(captures, teacher, cache, params, tmp_path)
    without = student_of(blind, teacher, cache, params, tmp_path)
    assert unlabelled.sum() == 6
    assert same_weights(with_truth, without)


def test_the_student_is_taught_at_its_own_cells(captures, params, teacher, cache):
    photos = Photos.of(captures, cache.read, teacher.card, params).loaders["photos"]
    for batch in photos:
        rows, cols = batch["targets"].shape[1:3]
        for places, count in ((batch["y_px"], rows), (batch["x_px"], cols)):
            assert torch.equal(places, Student.lattice.positions(count).expand_as(places))


def test_a_student_learns_where_things_end_unless_no_charts_are_laid(
    captures, params, teacher, cache, tmp_path, caplog
):
    caplog.set_level(logging.INFO)
    shown = student_of(captures, teacher, cache, params, tmp_path)
    assert shown.network.borders.head.weight.abs().max() > 0
    never = student_of(captures, teacher, cache, params, tmp_path, laid_charts=0)
    assert never.network.borders is None
    table = captures.table[captures.table["role"].ne("chart")].reset_index(drop=True)
    chartless = replace(captures, table=table)
    assert "scenes of charts" not in caplog.text
    unshown = student_of(chartless, teacher, cache, params, tmp_path)
    assert f"0 scenes of charts show where things end, instead of {SCENES}" in caplog.text
    assert unshown.network.borders is None
    assert unshown.card.student.laid_charts == 0
    assert unshown.card.student.agreement_sd == never.card.student.agreement_sd == 0.1
    assert shown.card.student.agreement_sd == params.student.agreement_sd > 0.1
    assert shown.card.student.laid_charts == SCENES == params.student.laid_charts


def test_photos_fade_but_what_is_taught_of_them_stays(captures, params, teacher, cache):
    def shown(share):
        student = params.student.model_copy(update={"faded_share": share})
        own = params.model_copy(update={"student": student})
        photos = Photos.of(captures, cache.read, teacher.card, own)
        return next(iter(photos.loaders["photos"]))

    plain, faded = shown(0.0), shown(1.0)
    assert torch.equal(plain["targets"], faded["targets"])
    assert torch.equal(plain["location"], faded["location"])
    changed = (plain["image"] != faded["image"]).flatten(1).float().mean(1)
    assert bool((changed > 0.2).all())


def test_sharing_decides_what_becomes_of_the_teachers_early_layers(
    captures, params, teacher, cache, tmp_path
):
    def weights(model):
        return torch.cat([p.detach().flatten() for p in model.network.stem.parameters()])

    early = {"teacher": weights(teacher)}
    for sharing in ("none", "init", "frozen", "joint"):
        student = student_of(captures, teacher, cache, params, tmp_path, sharing=sharing)
        early[sharing] = weights(student)
        norm = student.network.stem.first.norm.running_mean
        same_norm = torch.equal(norm, teacher.network.stem.first.norm.running_mean)
        assert same_norm is (sharing == "frozen")

    def distance(name):
        return float((early[name] - early["teacher"]).norm())

    assert distance("frozen") == 0
    assert 0 < distance("init") < distance("none")
    assert 0 < distance("joint") < distance("none")
    assert not torch.equal(early["init"], early["joint"])


def test_joint_training_leaves_the_teacher_and_its_targets_alone(
    captures, params, teacher, cache, tmp_path
):
    before = teacher.fingerprint
    student_of(captures, teacher, cache, params, tmp_path, sharing="joint")
    assert teacher.fingerprint == before


def test_a_students_card_names_its_cache_and_its_teachers_patch(
    captures, params, teacher, cache, tmp_path
):
    card = student_of(captures, teacher, cache, params, tmp_path).card
    assert card.kind == "student"
    assert card.cache == cache.fingerprint
    assert (card.patch_px, card.stride_px) == (teacher.card.patch_px, teacher.card.stride_px)


def test_a_corrected_label_makes_another_training(captures, tmp_path):
    folder = tmp_path / "set"
    shutil.copytree(captures.folder, folder)
    copied = read_captures(folder)
    before = label_digest(copied)
    assert before == label_digest(captures)
    moved = copied.table.copy()
    moved.loc[moved["role"].eq("chart").idxmax(), "distance_m"] += 0.01
    assert label_digest(replace(copied, table=moved)) != before
    path = folder / copied.select(role="labelled").row(0)["distance_map"]
    write_distance_png(path, 1.01 * copied.select(role="labelled").distance_map(0))
    assert label_digest(copied) != before
