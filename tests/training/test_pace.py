"""Steps of distillation, timed by where their targets come from."""

from __future__ import annotations

from collections import Counter

import torch

from rangefinder.config import PredictionParams
from rangefinder.models.io import TrainedModel
from rangefinder.models.prediction import Prediction
from rangefinder.models.teacher import Teacher
from rangefinder.training.fit import teacher_card
from rangefinder.training.pace import ROUNDS, batches_of, step_times


def test_every_source_is_asked_anew_in_every_round(captures, params):
    prediction = Prediction(PredictionParams())
    network = Teacher(params.teacher, prediction.bins)
    teacher = TrainedModel(network, teacher_card(captures, network, params))
    side = (48 - network.patch_px) // 4 + 1, (64 - network.patch_px) // 4 + 1
    probs = torch.full((*side, prediction.bins), 1 / prediction.bins)
    asked: Counter[str] = Counter()

    def live(capture_id):
        asked[capture_id] += 1
        return probs.clone()

    packed = prediction.pack(probs)
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
    assert all(asked[name] == ROUNDS for name in first)
