"""The split guard: nothing seen in training comes back in validation or test."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
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
