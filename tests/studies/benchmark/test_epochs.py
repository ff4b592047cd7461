"""Timed steps of distillation, by the source of their targets."""

from __future__ import annotations

from collections import Counter

import torch

from rangefinder.config import PredictionParams
from rangefinder.models.distribution import DistanceDistribution
from rangefinder.models.model_files import TrainedModel
from rangefinder.models.teacher import Teacher
from rangefinder.studies.benchmark.epochs import ROUNDS, batches_of, step_times
from rangefinder.training.assembly import teacher_card


def test_every_source_is_read_again_in_every_round(captures, params):
    distribution = DistanceDistribution(PredictionParams())
    network = Teacher(params.teacher, distribution.bins)
    teacher = TrainedModel(network, teacher_card(captures, network, params))
    side = (48 - network.patch_px) // 4 + 1, (64 - network.patch_px) // 4 + 1
    probs = torch.full((*side, distribution.bins), 1 / distribution.bins)
    reads: Counter[str] = Counter()

    def live(capture_id):
        reads[capture_id] += 1
        return probs.clone()

    packed = distribution.pack(probs)
    times = step_times(
        captures, teacher, {"cached": lambda _: packed}, {"live": live}, params, ROUNDS
    )
    assert {name: len(steps.seconds) for name, steps in times.items()} == {
        "cached": ROUNDS,
        "live": ROUNDS,
    }
    for steps in times.values():
        assert all(0 <= w < s for w, s in zip(steps.waited, steps.seconds, strict=True))
    train = captures.select(role="unlabelled", split="train")
    ids = train.table["capture_id"]
    first = {ids[i] for batch in batches_of(captures, params, 2) for i in batch}
    assert all(reads[name] == ROUNDS for name in first)
