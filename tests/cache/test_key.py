"""The key of a cache: a mismatch names what differs."""

from __future__ import annotations

import pytest

from rangefinder.cache.key import cache_key
from rangefinder.errors import StaleCacheError

from .conftest import make_teacher, some


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("teacher", lambda: make_teacher(4)),
        ("teacher", lambda: make_teacher(3, dataset="1" * 16)),
        ("patch_px", lambda: make_teacher(3, patch_px=33)),
        ("stride_px", lambda: make_teacher(3, stride_px=8)),
    ],
)
def test_a_mismatch_names_its_field(teacher, photos, field, other):
    with pytest.raises(StaleCacheError, match=f"another {field}; found"):
        cache_key(other(), photos).require(cache_key(teacher, photos))


def test_a_mismatch_of_the_photos_is_named_too(teacher, photos):
    with pytest.raises(StaleCacheError, match="another photos"):
        cache_key(teacher, photos).require(cache_key(teacher, some(photos, 9)))
