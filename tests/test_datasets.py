"""Datasets of results: what was not made, figures in a folder, and what Kedro-Viz shows of them."""

from __future__ import annotations

import base64
import inspect

import pytest
from matplotlib.figure import Figure

from rangefinder.datasets import FigureDataset, FiguresDataset, ResultDataset


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


def test_kedro_viz_gets_a_picture(tmp_path):
    figures = FiguresDataset(str(tmp_path / "figures"), shown="b")
    figures.save({"a": drawn(1.0), "b": drawn(2.0)})
    assert base64.b64decode(figures.preview()) == figures.load()["b"]
    figure = FigureDataset(str(tmp_path / "figures/a.png"))
    assert base64.b64decode(figure.preview()) == figure.load()


@pytest.mark.parametrize("kind", [FigureDataset, FiguresDataset])
def test_kedro_viz_knows_that_it_is_a_picture(kind):
    assert str(inspect.signature(kind.preview).return_annotation) == "ImagePreview"
