"""Tables of an evaluation and of the gate, and how tables are printed on the terminal."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from rich import box
from rich.console import Console, RenderableType
from rich.table import Column, Table
from rich.text import Text

from rangefinder.common.lengths import LengthUnit, length_unit
from rangefinder.evaluation.metrics import HIGHER_IS_BETTER
from rangefinder.models.prediction import INTERVAL_LEVELS

_COLUMNS = {
    "AbsRel": "abs_rel",
    "MAE [{}]": "mae_m",
    "RMSE [{}]": "rmse_m",
    "RMSE [dpt]": "rmse_dpt",
    "d1": "delta1",
    "d2": "delta2",
    "d3": "delta3",
}
_LENGTHS = ("mae_m", "rmse_m")
_SMALL = 0.05  # below which three decimals are too few
_WIDE = 1000  # characters; so no table is ever wrapped or cut


def text_table(head: Sequence[str], rows: Iterable[Sequence[RenderableType]]) -> Table:
    """A table with a rule below its head; the first column is to the left, the rest to the right.

    Args:
        head: Headings of the columns.
        rows: Cells.
    """
    table = Table(
        *(Column(text, justify="right" if place else "left") for place, text in enumerate(head)),
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
        show_edge=False,
        pad_edge=False,
        header_style="",
    )
    for row in rows:
        table.add_row(*row)
    return table


def print_parts(parts: Iterable[RenderableType], stream: TextIO | None = None) -> None:
    """Write texts and tables, each after a blank line; bold only on a terminal that may be styled.

    Args:
        parts: What is written.
        stream: Standard output by default.
    """
    console = Console(
        file=stream,
        width=_WIDE,
        color_system=None if "NO_COLOR" in os.environ else "auto",
        markup=False,
        emoji=False,
        highlight=False,
    )
    for part in parts:
        console.print("", part, sep="\n")


def print_summary(summary: dict[str, Any], stream: TextIO | None = None) -> None:
    """Compare models: overall scores, AbsRel by region, ratios; best values are bold.

    Args:
        summary: Content of evaluation.json.
        stream: Standard output by default.
    """
    models, protocol = summary["models"], summary["protocol"]
    near, far = protocol["report_m"]
    unit = length_unit((near, far))
    sources = protocol["sources"]
    kinds = " and ".join(f"{counts['captures']} {name}" for name, counts in sources.items())
    head = (
        f"Evaluation: {kinds} captures, {protocol['scenes']} scenes, "
        f"{protocol['pixels']['overall']:,} pixels within {unit.text(near)}-{unit.text(far)} "
        f"{unit.name}, the same for every model"
    )
    if "limits" in summary:
        head += "\n" + textwrap.fill(summary["limits"], 100)
    regions = region_table(models, protocol["pixels"], unit)
    parts: list[RenderableType] = [head, overall_table(models, unit), "AbsRel by region", regions]
    if aucs := defocus_aucs(models):
        parts.append(f"AUC of the predicted defocus sign: {aucs}")
    if two_possible(models):
        parts += ["Where two distances are possible", two_distances_table(models, unit)]
    if ratios := _ratios(summary["comparisons"]):
        parts.append(ratios)
    if len(sources) > 1:
        for name, counts in reversed(sources.items()):
            if not counts["pixels"]["overall"]:
                continue
            own = {model: content["by_source"][name] for model, content in models.items()}
            parts += [f"The {counts['captures']} {name} captures alone", overall_table(own, unit)]
            parts += ["AbsRel by region", region_table(own, counts["pixels"], unit)]
    print_parts(parts, stream)


def print_decision(decision: dict[str, Any], stream: TextIO | None = None) -> None:
    """Print whether a student became the champion, rule by rule.

    Args:
        decision: Content of promotion.json.
        stream: Standard output by default.
    """
    if decision["outcome"] == "unchanged":
        print_parts([verdict(decision)], stream)
        return
    print_parts([compared(decision), rule_table(decision), verdict(decision)], stream)


def compared(decision: dict[str, Any]) -> str:
    """What the gate compared: content of promotion.json in words."""
    name = f"{decision['model']}, version {decision['version']}"
    return f"{name}, against {decision['against']}, on test captures {decision['captures']}"


def rule_table(decision: dict[str, Any]) -> Table:
    """The rules of the gate, whether each holds, and its numbers."""
    rows = [
        ("yes" if check["holds"] else Text("NO", "bold"), check["rule"], check["numbers"])
        for check in decision["checks"]
    ]
    table = text_table(("", "rule", "numbers"), rows)
    for column in table.columns:
        column.justify = "left"
    return table


def verdict(decision: dict[str, Any]) -> str:
    """What the gate decided, as a sentence."""
    broken = ", ".join(check["rule"] for check in decision["checks"] if not check["holds"])
    return {
        "promoted": "Promoted: it is the champion.",
        "forced": f"Promoted by force; broken: {broken}.",
        "refused": f"Refused; broken: {broken}.",
        "unchanged": f"{decision['model']}, version {decision['version']}, is the champion.",
    }[decision["outcome"]]


def overall_table(models: dict[str, Any], unit: LengthUnit) -> Table:
    """Scores over all pixels, a row per model.

    Args:
        models: `models` of evaluation.json, or entries like them.
        unit: Of the errors.
    """
    columns: dict[str, list[RenderableType]] = {"model": list(models)}
    for heading, score in _COLUMNS.items():
        ideal = 1.0 if score in HIGHER_IS_BETTER else 0.0
        values = [model["overall"][score] for model in models.values()]
        if score in _LENGTHS:
            values = [value and value * unit.per_m for value in values]
        columns[heading.format(unit.name)] = _cells(values, ideal)
    columns["risk@50%"] = _cells([model["selective_risk_50"] for model in models.values()])
    for level in INTERVAL_LEVELS:
        shares = [model["coverage"][str(level)] for model in models.values()]
        columns[f"in {100 * level:g} %"] = _cells(shares, level, ".0%")
    return text_table(list(columns), zip(*columns.values(), strict=True))


def region_table(models: dict[str, Any], pixels: dict[str, Any], unit: LengthUnit) -> Table:
    """AbsRel in each region, a column per model.

    Args:
        models: `models` of evaluation.json, or entries like them.
        pixels: `protocol.pixels` of evaluation.json.
        unit: Of the distance bins.
    """
    rows: list[list[RenderableType]] = []
    groups = {
        **{"texture": "by_texture", "": "by_position", "edge": "by_edge"},
        **{"m": "by_distance_m", "the focus": "by_side"},
    }
    total = pixels["overall"]
    for suffix, group in groups.items():
        for region, count in pixels[group].items():
            values = [model[group][region]["abs_rel"] for model in models.values()]
            label = f"{region} {suffix}".strip()
            if group == "by_edge":
                label = f"{region} {'an' if region == 'near' else 'from'} edge"
            if group == "by_distance_m" and unit.per_m > 1:
                label = "-".join(unit.text(float(end)) for end in region.split("-"))
                label += f" {unit.name}"
            rows.append([label, f"{count / total:.0%}", *_cells(values)])
    signs = [model["defocus_sign"] for model in models.values()]
    if any(signs):
        known = [sign and sign["abs_rel_if_known"]["overall"] for sign in signs]
        rows.append(["if the side were known", "", *_cells(known)])
    for scene in next(iter(models.values())).get("real_scenes", ()):
        values = [model["real_scenes"][scene]["abs_rel"] for model in models.values()]
        rows.append([f"{scene} (real)", "", *_cells(values)])
    return text_table(["region", "pixels", *models], rows)


def defocus_aucs(models: Mapping[str, Any]) -> str:
    """AUC of the predicted defocus sign, of each model that has one."""
    signs = {name: model["defocus_sign"] for name, model in models.items()}
    return ", ".join(
        f"{name} {sign['auc']:.3f}"
        for name, sign in signs.items()
        if sign and sign["auc"] is not None
    )


def two_possible(models: Mapping[str, Any]) -> bool:
    """Whether any model gives two distances anywhere."""
    return any(model["two_distances"]["share"] for model in models.values())


def two_distances_table(models: Mapping[str, Any], unit: LengthUnit) -> Table:
    """Coverage and width of the intervals given, and of the one in their place, a row per model.

    Args:
        models: `models` of evaluation.json, or entries like them.
        unit: Of the widths.
    """
    kinds = {"two": "given", "one": "one_interval"}
    head = ["two possible", "pixels", *(f"in {kind}" for kind in kinds)]
    head += [f"{kind}: width [{name}]" for name in (unit.name, "dpt") for kind in kinds]
    rows = []
    for name, model in models.items():
        found = model["two_distances"]
        if not found["share"]:
            continue
        where = [found["two"][key] for key in kinds.values()]
        cells = [f"{found['share']:.1%}", *(f"{one['coverage']:.0%}" for one in where)]
        for score, factor in (("width_m", unit.per_m), ("width_dpt", 1.0)):
            cells += [_width(one[score], factor) for one in where]
        rows.append([name, *cells])
    return text_table(head, rows)


def _width(value: float | None, factor: float) -> str:
    return "-" if value is None else f"{value * factor:.3g}"


def _ratios(comparisons: dict[str, Any]) -> str:
    lines = []
    for pair, scores in comparisons.items():
        ratio = scores["abs_rel"]
        if ratio["ratio"] is None:
            continue
        line = f"AbsRel {pair}: {ratio['ratio']:.2f}"
        if ratio["low"] is not None:
            line += f" (95 % over scenes: {ratio['low']:.2f} to {ratio['high']:.2f})"
        lines.append(line)
    return "\n".join(lines)


def _cells(
    values: Sequence[float | None], ideal: float = 0.0, form: str = ".3f"
) -> list[RenderableType]:
    """Formatted values, `-` for None; those nearest to the ideal are bold.

    Where three decimals are too few for all of them, they have two digits.
    """
    if form == ".3f" and max((value for value in values if value is not None), default=1) < _SMALL:
        form = ".2g"
    least = min((abs(value - ideal) for value in values if value is not None), default=None)
    return [
        "-"
        if value is None
        else Text.styled(format(value, form), "bold" if abs(value - ideal) == least else "")
        for value in values
    ]
