"""Datasets of results: what was not made, figures in a folder, and what Kedro-Viz shows of them."""

from __future__ import annotations

import base64
import inspect

import pandas as pd
import pytest
from matplotlib.figure import Figure

from rangefinder.datasets import (
    ContentDataset,
    CSVDataset,
    FigureDataset,
    FiguresDataset,
    JSONDataset,
    ResultDataset,
)

from .common.crashes import after_crashes


def drawn(inches: float) -> Figure:
    figure = Figure(figsize=(inches, 1.0))
    figure.add_subplot().plot([0, 1])
    return figure


def width_px(png: bytes) -> int:
    assert png.startswith(b"\x89PNG")
    return int.from_bytes(png[16:20], "big")


def test_what_was_not_made_is_none(tmp_path):
    result = ResultDataset(filepath=str(tmp_path / "result.json"))
    figure = FigureDataset(str(tmp_path / "figure.png"))
    assert result.load() is None
    assert figure.load() is None
    result.save({"a": 1})
    figure.save(drawn(2.0))
    assert result.load() == {"a": 1}
    assert width_px(figure.load()) == 240


def test_figures_replace_those_of_the_folder(tmp_path):
    figures = FiguresDataset(str(tmp_path / "figures"), shown="b")
    figures.save({"a": drawn(1.0), "b": drawn(2.0)})
    figures.save({"b": drawn(3.0), "c": drawn(4.0)})
    assert {name: width_px(png) for name, png in figures.load().items()} == {"b": 360, "c": 480}


RESULTS = {  # dataset in a folder, what it holds for a number
    "json": (lambda at: JSONDataset(filepath=str(at / "a.json")), lambda n: {"n": n}),
    "csv": (lambda at: CSVDataset(str(at / "a.csv")), lambda n: pd.DataFrame({"n": [n] * 3})),
    "page": (lambda at: ContentDataset(str(at / "a.html")), lambda n: b"x" * 100_000 * n),
    "figures": (
        lambda at: FiguresDataset(str(at / "figures"), shown="a"),
        lambda n: {name: drawn(float(n)) for name in ("ab" if n == 1 else "bc")},
    ),
}


@pytest.mark.parametrize("kind", RESULTS)
def test_a_result_is_the_old_or_the_new_one_wherever_its_writing_stops(tmp_path, kind):
    dataset, content = RESULTS[kind]
    place = tmp_path / "place"
    place.mkdir()
    dataset(place).save(content(1))
    old = str(dataset(place).load())
    found = [
        str(dataset(copy).load())
        for _, copy in after_crashes(place, lambda folder: dataset(folder).save(content(2)))
    ]
    assert len(found) > 2
    assert found[0] == old != found[-1]
    assert {*found} == {old, found[-1]}


def test_kedro_viz_gets_a_picture(tmp_path):
    figures = FiguresDataset(str(tmp_path / "figures"), shown="b")
    figures.save({"a": drawn(1.0), "b": drawn(2.0)})
    assert base64.b64decode(figures.preview()) == figures.load()["b"]
    figure = FigureDataset(str(tmp_path / "figures/a.png"))
    assert base64.b64decode(figure.preview()) == figure.load()


@pytest.mark.parametrize(
    ("kind", "preview"),
    [
        (FigureDataset, "ImagePreview"),
        (FiguresDataset, "ImagePreview"),
        (CSVDataset, "TablePreview"),
        (JSONDataset, "JSONPreview"),
    ],
)
def test_kedro_viz_knows_what_it_is(kind, preview):
    annotation = inspect.signature(kind.preview).return_annotation
    assert getattr(annotation, "__name__", annotation) == preview


def test_kedro_viz_gets_the_first_rows_of_a_table(tmp_path):
    table = CSVDataset(str(tmp_path / "a.csv"), load_args={"dtype": {"n": str}})
    table.save(pd.DataFrame({"n": ["01", "02", "03"], "x": [0.1, 0.2, 0.3]}))
    shown = table.preview(nrows=2)
    assert (shown["columns"], shown["data"]) == (["n", "x"], [["01", 0.1], ["02", 0.2]])
