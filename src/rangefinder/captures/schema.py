"""What a table of captures must hold."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Literal, get_args

from rangefinder.captures.splits import SPLITS, check_splits
from rangefinder.errors import CaptureError

if TYPE_CHECKING:
    import pandas as pd
    import pandera.pandas as pa

Role = Literal["chart", "labelled", "unlabelled", "rgbd"]
ROLES: tuple[Role, ...] = get_args(Role)


@cache
def manifest_schema() -> pa.DataFrameSchema:
    """The pandera schema of the manifest."""
    import pandera.pandas as pa

    file = pa.Check.str_matches(r"^(?!/)(?!.*\.\.).+$", error="a path inside the set's folder")
    positive = pa.Check.gt(0)
    columns = {
        "capture_id": pa.Column(str, pa.Check.str_matches(r"^[0-9a-f]{16}$"), unique=True),
        "image": pa.Column(str, file),
        "role": pa.Column(str, pa.Check.isin(ROLES)),
        "distance_m": pa.Column(float, positive, nullable=True),
        "distance_map": pa.Column(str, file, nullable=True),
        "texture_map": pa.Column(str, file, nullable=True),
        "valid_mask": pa.Column(str, file, nullable=True),
        "scene": pa.Column(str, pa.Check.str_length(min_value=1)),
        "split": pa.Column(str, pa.Check.isin(SPLITS)),
        "texture_sources": pa.Column(str),
        "origin_x_px": pa.Column(float),
        "origin_y_px": pa.Column(float),
        "scale": pa.Column(float, positive),
        "exposure": pa.Column(float, positive),
        "width_px": pa.Column(int, positive),
        "height_px": pa.Column(int, positive),
        "camera": pa.Column(str, pa.Check.str_matches(r"^[0-9a-f]{16}$")),
    }
    return pa.DataFrameSchema(columns, index=pa.Index(int), coerce=True, strict=True)


def validate_manifest(table: pd.DataFrame, owner: str) -> pd.DataFrame:
    """Check a manifest: columns, one label per labelled capture, splits apart.

    Args:
        table: The manifest.
        owner: What to call it in errors.

    Raises:
        CaptureError: Naming what is wrong.
    """
    import pandera.errors

    try:
        table = manifest_schema().validate(table.reset_index(drop=True), lazy=True)
    except pandera.errors.SchemaErrors as exc:
        cases = exc.failure_cases[["column", "check", "failure_case"]].head(5)
        listed = "; ".join(f"{c}: {f!r} fails {k}" for c, k, f in cases.itertuples(index=False))
        raise CaptureError(f"{owner} does not fit the manifest's schema ({listed})") from exc
    charts = table["role"].eq("chart")
    mapped = table["role"].isin(["labelled", "rgbd"])
    for rows, column in ((charts, "distance_m"), (mapped, "distance_map")):
        missing = table.loc[rows & table[column].isna(), "capture_id"]
        if len(missing):
            raise CaptureError(
                f"{owner}: {len(missing)} captures lack their {column}", got=", ".join(missing[:5])
            )
    sources = [tuple(filter(None, text.split(";"))) for text in table["texture_sources"]]
    check_splits(zip(table["split"], table["scene"], sources, strict=True))
    return table
