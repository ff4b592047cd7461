"""The split guard: nothing seen in training comes back in validation or test."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, get_args

from rangefinder.errors import CaptureError

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


def check_splits(rows: Iterable[tuple[str, str, Sequence[str]]]) -> None:
    """Refuse captures whose scene or texture source stands in two splits.

    Args:
        rows: For every capture its split, scene and texture sources.

    Raises:
        CaptureError: Naming the scenes and sources, with the splits they stand in.
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
    """Scenes in an order that only their names settle."""
    return sorted(
        set(scenes), key=lambda scene: hashlib.sha256(f"{salt}{scene}".encode()).hexdigest()
    )


def share_out(
    scenes: Iterable[str],
    shares: Mapping[Split, float],
    given: Mapping[str, Split],
    fold: int = 0,
) -> dict[str, Split]:
    """Put whole scenes into splits, by a hash of their names.

    Args:
        scenes: Names; those that belong together are handed in together, such as all sheets.
        shares: Share of the scenes that validation and test get. Each gets at least one scene,
            test first, as long as one remains for training.
        given: Splits that somebody has settled already.
        fold: Fold of a cross-validation: so many test shares later in the order, others are tested.

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
