"""Splits by scene: no scene or texture source of training is in validation or test."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, get_args

from rangefinder.errors import CaptureError

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


def check_splits(rows: Iterable[tuple[str, str, Sequence[str]]]) -> None:
    """Refuse scenes and texture sources in two splits; rows are (split, scene, sources).

    Raises:
        CaptureError: Naming the scenes and sources, with their splits.
    """
    seen: dict[str, set[str]] = defaultdict(set)
    for split, scene, sources in rows:
        seen[f"scene {scene!r}"].add(split)
        for source in sources:
            seen[f"texture source {source!r}"].add(split)
    shared = {name: sorted(splits) for name, splits in seen.items() if len(splits) > 1}
    if shared:
        listed = [f"{name} in {' and '.join(splits)}" for name, splits in sorted(shared.items())]
        rest = f", and {len(listed) - 5} more" if len(listed) > 5 else ""
        raise CaptureError(
            "splits are not kept apart",
            got=", ".join(listed[:5]) + rest,
            expected="every scene and texture source in one split only",
            todo="Give captures that share a scene or a texture the same split.",
        )


def hashed_order(scenes: Iterable[str], salt: str = "") -> list[str]:
    """Scenes in the order of their names' salted hashes."""
    return sorted(
        set(scenes), key=lambda scene: hashlib.sha256(f"{salt}{scene}".encode()).hexdigest()
    )


def assign_splits(
    scenes: Iterable[str], shares: Mapping[Split, float], given: Mapping[str, Split], fold: int = 0
) -> dict[str, Split]:
    """Assign whole scenes to splits, by a hash of their names.

    Args:
        scenes: Names of one kind of scene, such as all sheets.
        shares: Share of validation and test. Each gets at least one scene if its share is not 0,
            test first, as long as one remains for training.
        given: Splits that are fixed already.
        fold: Fold of a cross-validation: the test scenes start so many test shares later.

    Returns:
        The split of every scene.
    """
    order = hashed_order(scenes)
    first = round(fold * shares["test"] * len(order)) % max(len(order), 1)
    order = order[first:] + order[:first]
    free = [scene for scene in order if scene not in given]
    splits: dict[str, Split] = {scene: given[scene] for scene in order if scene in given}
    for split in ("test", "validation"):
        has = sum(found == split for found in splits.values())
        wanted = max(round(shares[split] * len(order)), int(shares[split] > 0)) - has
        taken = free[: max(min(wanted, len(free) - 1), 0)]
        splits.update(dict.fromkeys(taken, split))
        free = free[len(taken) :]
    return splits | dict.fromkeys(free, "train")
