"""Both networks: exactly dense teacher, aligned student, inference copies that agree."""

import pytest
import torch

from rangefinder.camera import Camera
from rangefinder.config import StudentParams, TeacherParams
from rangefinder.location import PatchGrid, Placement, grid_location, location_map
from rangefinder.models.agreement import agreed_logits
from rangefinder.models.lattice import Lattice, resample
from rangefinder.models.layers import Mix, fused, log_light, root_light
from rangefinder.models.student import Student, full_frame
from rangefinder.models.teacher import Teacher

CAMERA = Camera(width_px=96, height_px=72)
BINS = 12
TEACHER = TeacherParams(stem_channels=(8, 12), channels=16, blocks=2, stem_blocks=1)


def scramble(network):
    """Weights and normalisation as after some training, so that nothing is zero by default."""
    generator = torch.Generator().manual_seed(1)
    for tensor in network.state_dict().values():
        if tensor.dtype.is_floating_point:
            tensor += 0.1 * torch.rand(tensor.shape, generator=generator) - 0.05
    return network.eval()


def small_teacher(**changes):
    return scramble(Teacher(TEACHER.model_copy(update=changes), BINS))


def small_student(teacher=TEACHER, **changes):
    return scramble(Student(StudentParams(channels=(8, 8, 8), **changes), teacher, BINS))


@torch.inference_mode()
def teacher_on(teacher, image, placement):
    grid = PatchGrid(*image.shape[1:], teacher.patch_px, teacher.stride_px)
    location = torch.from_numpy(grid_location(CAMERA, placement, grid))
    return teacher(image[None], location[None])[0]


def test_a_patch_gives_one_prediction_and_a_dense_pass_one_per_grid_place():
    teacher = small_teacher()
    size = teacher.patch_px
    assert teacher_on(teacher, torch.rand(3, size, size), Placement()).shape == (BINS, 1, 1)
    grid = PatchGrid(72, 96, size, teacher.stride_px)
    logits = teacher_on(teacher, torch.rand(3, 72, 96), Placement())
    assert logits.shape == (BINS, grid.rows, grid.cols)


@pytest.mark.parametrize(("left", "top"), [(0, 0), (8, 4), (20, 16)])
def test_answers_on_a_crop_are_those_on_the_whole_image(left, top):
    teacher, image = small_teacher(), torch.rand(3, 72, 96)
    whole = teacher_on(teacher, image, Placement())
    crop = teacher_on(
        teacher, image[:, top : top + 40, left : left + 44], Placement().crop(left, top)
    )
    rows, cols = crop.shape[1:]
    part = whole[:, top // 4 : top // 4 + rows, left // 4 : left // 4 + cols]
    torch.testing.assert_close(crop, part, atol=1e-5, rtol=0)


def test_nothing_outside_a_patch_changes_its_prediction():
    teacher, image = small_teacher(), torch.rand(3, 72, 96)
    changed = image.clone()
    changed[:, :, teacher.patch_px :] = 0.9
    before, after = (teacher_on(teacher, x, Placement()) for x in (image, changed))
    torch.testing.assert_close(before[:, 0, 0], after[:, 0, 0], atol=1e-6, rtol=0)
    assert (before[:, 0, 1] - after[:, 0, 1]).abs().max() > 1e-3


def test_location_changes_the_answer_unless_switched_off():
    image = torch.rand(3, 72, 96)
    for location, differs in ((True, True), (False, False)):
        teacher = small_teacher(location=location)
        here = teacher_on(teacher, image, Placement())
        there = teacher_on(teacher, image, Placement((50.0, 20.0)))
        assert bool((here - there).abs().max() > 1e-3) is differs


def test_exposure_and_white_balance_are_offsets_that_the_colour_filters_do_not_see():
    first, image = small_teacher().stem.filters.first, 0.5 + 0.5 * torch.rand(1, 3, 72, 96)
    balance = torch.tensor([0.9, 0.6, 0.8])[:, None, None]
    with torch.inference_mode():
        plain, tinted = (first(log_light(x)) for x in (image, image * balance))
        assert (plain - tinted).abs().max() < 0.02 * plain.abs().max()


def test_photon_noise_is_the_same_everywhere_in_the_root():
    light = torch.tensor([0.1, 0.4, 0.9])[None, :, None, None].expand(1, 3, 200, 200)
    photons = torch.poisson(light * 10000, generator=torch.Generator().manual_seed(2))
    sd = root_light(photons / 10000)[0].flatten(1).std(dim=1)
    torch.testing.assert_close(sd, sd.mean().expand(3), rtol=0.03, atol=0)


@pytest.mark.parametrize(("height", "width"), [(72, 96), (73, 97), (70, 94), (33, 65)])
def test_the_student_answers_on_its_lattice_whatever_the_size(height, width):
    student = small_student()
    location = torch.from_numpy(location_map(CAMERA, Placement(), height, width))[None]
    with torch.inference_mode():
        logits = student(torch.rand(1, 3, height, width), location)
        assert logits.shape[2:] == (-(-height // 4), -(-width // 4))
        assert full_frame(logits[0], height, width).shape == (BINS, height, width)


def tensors(early):
    return [early.features, *early.products]


@pytest.mark.parametrize("stem_blocks", [0, 1, 2])
def test_shared_layers_see_the_same_place_in_teacher_and_student(stem_blocks):
    """Away from the edges, what the stem finds of the whole photo is what it finds of patches."""
    stem, image = small_teacher(stem_blocks=stem_blocks).stem, torch.rand(1, 3, 72, 96)
    with torch.inference_mode():
        valid, centred = tensors(stem(image)), tensors(stem.centred(image))
    for mine, yours in zip(valid, centred, strict=True):
        assert yours.shape[2:] == (18, 24)
        border = (yours.shape[2] - mine.shape[2]) // 2
        inside = yours[:, :, border:-border, border:-border]
        torch.testing.assert_close(inside, mine, atol=1e-5, rtol=0)


@pytest.mark.parametrize("stem_blocks", [0, 1, 2])
def test_student_cells_sit_where_the_lattice_says(stem_blocks):
    """What a cell of the shared layers sees is centred on the cell's place."""
    image = torch.rand(1, 3, 72, 96, requires_grad=True)
    lattice, stem = Student.lattice, small_teacher(stem_blocks=stem_blocks).stem
    for found in tensors(stem.centred(image)):
        (change,) = torch.autograd.grad(found[:, :, 8, 10].abs().sum(), image, retain_graph=True)
        rows, cols = change.abs().sum((0, 1)).nonzero(as_tuple=True)
        seen = torch.stack([rows.min() + rows.max(), cols.min() + cols.max()]) / 2 + 0.5
        assert seen.tolist() == [lattice.positions(9)[8].item(), lattice.positions(11)[10].item()]


@pytest.mark.parametrize("filters", [0, 3])
def test_colour_filters_are_optional_in_both_networks(filters):
    teacher = small_teacher(filters=filters)
    student = small_student(teacher.params)
    for network in (teacher, student):
        names = [name for name, _ in network.named_modules()]
        assert ("stem.filters" in names) is bool(filters)
    image, location = torch.rand(1, 3, 72, 96), torch.rand(1, 2, 72, 96)
    whole = teacher_on(teacher, image[0], Placement())
    size = teacher.patch_px
    patch = teacher_on(teacher, image[0, :, :size, :size], Placement())
    torch.testing.assert_close(patch[:, 0, 0], whole[:, 0, 0], atol=1e-5, rtol=0)
    with torch.inference_mode():
        assert student(image, location).shape == (1, BINS, 18, 24)


@pytest.mark.parametrize("build", [small_teacher, small_student])
def test_the_inference_copy_agrees(build):
    torch.manual_seed(5)
    network = build()
    grid = PatchGrid(72, 96, 25, 4)
    size = (grid.rows, grid.cols) if isinstance(network, Teacher) else (72, 96)
    inputs = torch.rand(2, 3, 72, 96), torch.rand(2, 2, *size)
    with torch.inference_mode():
        copy, original = (net(*inputs).softmax(1) for net in (fused(network), network))
    torch.testing.assert_close(copy, original, atol=1e-5, rtol=0)


def test_the_inference_copy_goes_by_the_place_it_is_given():
    network = small_student().eval()
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    copy, image = fused(network), torch.rand(1, 3, 72, 96)
    here, there = torch.rand(2, 1, 2, 72, 96)
    with torch.inference_mode():
        said = {}
        for name, location in (("here", here), ("there", there), ("here again", here)):
            said[name] = network(image, location).softmax(1)
            found = copy(image, location).softmax(1)
            torch.testing.assert_close(found, said[name], atol=1e-5, rtol=0)
    assert (said["here"] - said["there"]).abs().max() > 1e-3


def test_resampling_reproduces_a_linear_ramp_and_holds_the_border():
    lattice = Lattice(first_px=2.5, stride_px=4)
    ramp = lattice.positions(6)[None, None, :, None].expand(1, 1, 6, 5)
    wanted = torch.tensor([0.0, 2.5, 3.7, 11.0, 22.5, 40.0])
    values = resample(ramp, lattice, wanted, torch.tensor([8.0]))[0, 0, :, 0]
    torch.testing.assert_close(values, wanted.clamp(2.5, 22.5))


def test_cells_of_the_lattice_itself_are_picked_without_a_copy():
    lattice, values = Lattice(first_px=0.5, stride_px=4), torch.rand(2, 3, 6, 5)
    places = lattice.positions(6)
    inside = resample(values, lattice, places[1:5], places[:5])
    assert inside.untyped_storage().data_ptr() == values.untyped_storage().data_ptr()
    torch.testing.assert_close(inside, values[:, :, 1:5], atol=0, rtol=0)
    every_other = resample(values, lattice, places[::2], places[[4, 0]])
    torch.testing.assert_close(every_other, values[:, :, ::2][..., [4, 0]], atol=0, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(48, 64), (45, 61), (1, 3)])
def test_enlarging_is_the_interpolation_used_everywhere(height, width):
    cells = torch.rand(2, -(-height // 4), -(-width // 4))
    y, x = torch.arange(height) + 0.5, torch.arange(width) + 0.5
    wanted = resample(cells[None], Student.lattice, y, x)[0]
    torch.testing.assert_close(full_frame(cells, height, width), wanted)


@pytest.mark.parametrize("channels", [5, 16, 20])
def test_a_mix_begins_with_the_strongest_of_what_another_makes_of_its_last_inputs(channels):
    generator = torch.Generator().manual_seed(0)
    other, mine = Mix(10, 16), Mix(6, channels)
    for norm in (other.norm, other.mix.norm):
        for values in norm.state_dict().values():
            if values.ndim:
                values.copy_(0.5 + torch.rand(values.shape, generator=generator))
    x = torch.rand(2, 6, 3, 3, generator=generator)
    mine.begin_with(other)
    other.mix.conv.weight.data[:, :4] = 0
    theirs = other.eval()([torch.rand(2, 4, 3, 3), x])
    strength = other.mix.conv.weight.abs().sum((1, 2, 3))
    taken = strength.argsort(descending=True)[:channels]
    torch.testing.assert_close(mine.eval()([x])[:, : len(taken)], theirs[:, taken])


def test_a_student_begins_with_the_teachers_eyes():
    params = TeacherParams(stem_channels=(6, 8), channels=12, blocks=2, filters=4, mixed=16)
    teacher = Teacher(params, 10)
    student = Student(StudentParams(channels=(8, 12, 16)), params, 10)
    student.begin_with(teacher)
    image = torch.rand(1, 3, 40, 48)
    torch.testing.assert_close(student.stem(image).features, teacher.stem(image).features)
    strongest = teacher.mix.mix.conv.weight[:, -24:].abs().sum((1, 2, 3)).max()
    for level in student.levels:
        found = level.comparison.mix.mix.conv.weight.abs().sum((1, 2, 3))
        torch.testing.assert_close(found[0], strongest)


def test_a_newborn_student_sees_no_borders_and_one_without_charts_never_does():
    image, location = torch.rand(2, 3, 72, 96), torch.zeros(2, 2, 72, 96)
    newborn = Student(StudentParams(channels=(8, 8, 8)), TEACHER, BINS)
    borders = newborn.borders_in(image)
    assert newborn.alone(image, location).shape[2:] == borders.shape[2:]
    assert borders.shape[1] == 2
    assert borders.sigmoid().max() < 0.01
    assert small_student(laid_charts=0).borders_in(image) is None


def test_cells_answer_for_themselves_in_training_and_together_afterwards():
    together, alone = small_student(), small_student(agreement_sd=None)
    alone.load_state_dict(together.state_dict())
    image, location = torch.rand(2, 3, 72, 96), torch.zeros(2, 2, 72, 96)
    own = alone(image, location)
    borders = alone.borders_in(image)
    heard = agreed_logits(own, image, 4, together.params.agreement_sd, borders)
    torch.testing.assert_close(together(image, location), heard)
    assert not torch.allclose(together(image, location).softmax(1), own.softmax(1), atol=1e-3)
    torch.testing.assert_close(together.train()(image, location), alone.train()(image, location))
