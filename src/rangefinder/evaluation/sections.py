"""Sections of the report: what was decided, scores, where errors are, calibration, photos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from rangefinder.captures.manifest import ROLES, CaptureSet
from rangefinder.captures.splits import SPLITS
from rangefinder.common.lengths import length_unit, span
from rangefinder.common.page import Facts, Grid, Notice, Numbers, Part, Picture, Section
from rangefinder.evaluation.figures import capture_index
from rangefinder.evaluation.headline import CONSTANT, STUDENT
from rangefinder.evaluation.report import (
    compared,
    defocus_aucs,
    overall_table,
    region_table,
    rule_table,
    text_table,
    two_distances_table,
    two_possible,
    verdict,
)
from rangefinder.evaluation.scoring import CHARTS_ONLY

TEACHER = "teacher"
MODELS = {
    CONSTANT: "the one distance that fits the validation captures best; it looks at no photo",
    "row constant": "the best distance for each row of the photo; it looks at no photo either",
    TEACHER: "patch network: predicts one small piece of the photo at a time",
    STUDENT: "whole-image network, distilled from the teacher: this is the one to use",
}
SCORES = {
    "AbsRel": "mean of |predicted - true| / true",
    "MAE, RMSE": "mean absolute error and root mean square error",
    "d1, d2, d3": "share of pixels whose ratio to the truth is below 1.25, 1.25² and 1.25³",
    "risk@50%": "AbsRel of the least uncertain half of the pixels",
    "in 80 %": "share of pixels whose truth lies within the 80 % interval; so for 50 and 95 %",
    "bold": "the best value",
}
ROLE_WORDS = {
    "chart": "flat sheets at one known distance, for the teacher",
    "labelled": "photos with a distance map, to calibrate and to score on",
    "unlabelled": "photos without distances, which the student is distilled on",
    "rgbd": "sharp photos with a distance map, to render from",
}


@dataclass(frozen=True)
class Scored:
    """What an evaluation left behind.

    Attributes:
        summary: Content of evaluation.json.
        per_image: Content of per_image.csv.
        figures: PNG of each figure, by name.
    """

    summary: dict[str, Any]
    per_image: pd.DataFrame
    figures: Mapping[str, bytes]

    @property
    def models(self) -> dict[str, Any]:
        """Scores of each model."""
        return dict(self.summary["models"])

    def picture(self, name: str, alt: str, caption: str = "") -> list[Part]:
        """A figure, if it was drawn."""
        return [Picture(self.figures[name], alt, caption)] if name in self.figures else []


def decision_section(scored: Scored, decision: dict[str, Any] | None, todo: str) -> Section:
    """The numbers that sum the run up, and whether the student became the champion.

    Args:
        scored: The evaluation.
        decision: Content of promotion.json; None: nothing was decided on this student.
        todo: What to do then.
    """
    models = scored.models
    inside = models[STUDENT]["coverage"]["0.8"]
    numbers = [
        (_percent(models[name]["overall"]["abs_rel"]), f"mean error, {what}", _spread(models[name]))
        for name, what in ((STUDENT, STUDENT), (TEACHER, TEACHER), (CONSTANT, "best constant"))
    ]
    numbers.append((_percent(inside), "within 80 % intervals", "of true distances, student"))
    parts: list[Part] = [Numbers(numbers)]
    if decision is None:
        parts.append(Notice("open", todo))
    elif decision["outcome"] == "unchanged":
        parts.append(Notice("good", verdict(decision)))
    else:
        mood = "bad" if decision["outcome"] == "refused" else "good"
        parts += [Notice(mood, verdict(decision)), Grid(rule_table(decision), compared(decision))]
    return Section("Result and decision", parts)


def scores_section(scored: Scored, champion: Mapping[str, Any]) -> Section:
    """All scores over all pixels, and what the models and scores are.

    Args:
        scored: The evaluation.
        champion: The champion's scores by its name, if there was another one.
    """
    protocol, models = scored.summary["protocol"], scored.models | dict(champion)
    unit = length_unit(tuple(protocol["report_m"]))
    before = "the student that was the champion before, scored where both students predict"
    words = MODELS | dict.fromkeys(champion, before)
    parts: list[Part] = [
        f"Errors on {scored.summary['dataset']['captures']} test captures of {protocol['scenes']} "
        f"scenes that no network was trained on, over {protocol['pixels']['overall']:,} pixels at "
        f"{span(tuple(protocol['report_m']))}, the same for every model.",
        Grid(overall_table(models, unit), "Scores over all these pixels"),
        Facts("Models", {name: words[name] for name in models if name in words}),
        Facts("Columns", SCORES),
    ]
    if "limits" in scored.summary:
        parts.insert(0, Notice("bad", CHARTS_ONLY))
    return Section("Scores", parts)


def error_section(scored: Scored) -> Section:
    """Where errors are: by distance, by place on the sensor, by texture and edge."""
    models, protocol = scored.models, scored.summary["protocol"]
    unit = length_unit(tuple(protocol["report_m"]))
    by_place = "; ".join(
        f"{name} {_percent(model['by_position']['centre']['abs_rel'])} in the centre, "
        f"{_percent(model['by_position']['corner']['abs_rel'])} in the corners"
        for name, model in models.items()
        if name in (TEACHER, STUDENT)
    )
    distances = _listed(models[STUDENT]["by_distance_m"])
    parts: list[Part] = [
        *scored.picture(
            "error_by_distance",
            f"Curves of the mean relative error at each true distance. Student: {distances}.",
            "Mean relative error at each true distance; thick bars are its mean in each bin.",
        ),
        *scored.picture(
            "error_by_field_position",
            f"Heat map of the mean relative error on the sensor: {by_place}.",
            "Mean relative error by place on the sensor, as the photo is seen: the lens blurs "
            "otherwise in the corners. Grey cells were not scored.",
        ),
        *scored.picture(
            "predicted_against_true",
            "Predicted against true distance, with median and 10 and 90 % quantiles of the "
            f"predictions; AbsRel: {_by_model(models)}.",
            "Predictions at each true distance. On the dashed line they are right.",
        ),
        Grid(region_table(models, protocol["pixels"], unit), "AbsRel by region of the photos"),
        "Texture: gradient of the sharp picture around the pixel. Centre and corner: by distance "
        "from the optical centre. Near an edge: within some pixels of a step in depth.",
    ]
    return Section("Where errors are", parts)


def calibration_section(scored: Scored) -> Section:
    """Whether intervals hold what they promise, and uncertainty finds the errors."""
    student = scored.models[STUDENT]
    held = _listed_shares(student["coverage"])
    parts: list[Part] = [
        f"The student's intervals hold the truth as often as they promise if these are equal: "
        f"{held}.",
        *scored.picture(
            "reliability",
            f"Reliability: share of pixels within an interval against its level. Student: {held}.",
            "On the dashed line coverage is the nominal level; below it intervals are too narrow.",
        ),
        *scored.picture(
            "sparsification",
            "Mean relative error of the remaining pixels as the most uncertain are removed; at "
            f"half, the student's falls from {_percent(student['overall']['abs_rel'])} to "
            f"{_percent(student['selective_risk_50'])}.",
            "The lower the line, the better the uncertainty ranks the errors; dotted: the best "
            "that is possible.",
        ),
        *_two_distances(scored),
    ]
    return Section("Calibration", parts)


def _two_distances(scored: Scored) -> list[Part]:
    """Intervals where two distances are possible, and over all pixels."""
    if not two_possible(scored.models):
        return []
    found = scored.models[STUDENT]["two_distances"]
    given, one = (found["all"][kind]["coverage"] for kind in ("given", "one_interval"))
    unit = length_unit(tuple(scored.summary["protocol"]["report_m"]))
    return [
        Grid(
            two_distances_table(scored.models, unit),
            f"Where two distances are possible: share of truths within both {found['level']:.0%} "
            "intervals together and within the one in their place, and mean total width",
        ),
        f"Over all pixels the student's intervals, two of them where two distances are possible, "
        f"hold {_percent(given)}; one everywhere holds {_percent(one)}.",
    ]


def focus_section(scored: Scored) -> Section:
    """Errors before and behind the focus, where blur alone may be the same."""
    aucs = defocus_aucs(scored.models)
    sides = "; ".join(
        f"{name} {_percent(model['by_side']['before']['abs_rel'])} before, "
        f"{_percent(model['by_side']['behind']['abs_rel'])} behind"
        for name, model in scored.models.items()
    )
    parts: list[Part] = [
        f"Things before and behind the focus ({scored.summary['protocol']['focus_m']:g} m) can be "
        f"equally blurred. AbsRel on either side: {sides}.",
        *scored.picture(
            "defocus_sign",
            f"ROC curve of the predicted defocus sign (AUC: {aucs or 'unknown'}), and bars "
            f"of the mean relative error on either side: {sides}.",
            "Left: how well the defocus sign is predicted; chance is the dashed line. Right: "
            "the error on either side, and the black line what it would be if the side were known.",
        ),
    ]
    return Section("Before and behind the focus", parts)


def photos_section(scored: Scored) -> Section:
    """Real scenes, the best and the worst of the photos drawn, with their maps."""
    rows = scored.per_image[scored.per_image["model"] == STUDENT].reset_index(drop=True)
    rank = rows["abs_rel"].rank(method="first").astype("Int64")
    real_scenes = scored.models[STUDENT]["real_scenes"]
    drawn = {name: index for name in scored.figures if (index := capture_index(name)) is not None}
    real = [name for name in drawn if rows["scene"][drawn[name]] in real_scenes]
    others = sorted((n for n in drawn if n not in real), key=lambda n: rows["abs_rel"][drawn[n]])
    chosen = dict.fromkeys([*real, *others[:1], *others[-1:]])
    parts: list[Part] = []
    for name in chosen:
        row = rows.iloc[drawn[name]]
        kind = row["source"]
        if name in real and kind == "simulated":
            kind = "a real scene, rendered through the lens"
        parts += scored.picture(
            name,
            f"Photo of scene {row['scene']}, its true distances, and for teacher and student "
            f"predicted distances, errors and 80 % intervals; AbsRel {row['abs_rel']:.3f}.",
            f"Scene {row['scene']} ({kind}): the student's AbsRel is {row['abs_rel']:.3f}, "
            f"number {rank[drawn[name]]} of {rank.count()}, best first.",
        )
    parts.append("More are in `data/08_reporting/figures`; `overview.png` has them side by side.")
    return Section("Best and worst photos", parts)


def lens_section(scored: Scored) -> Section:
    """What the lens allows: the Cramer-Rao bound, and errors as a multiple of it."""
    found = scored.summary.get("crlb_ratio")
    more = "`rangefinder lens` draws blur, bound and front/back ambiguity of the camera record."
    if found is None:
        return Section(
            "What the lens allows", [f"Not known for photos that no lens model made. {more}"]
        )
    unit = length_unit(tuple(scored.summary["protocol"]["report_m"]))
    names = [name for name in found["models"] if name in (TEACHER, STUDENT)]
    rows = [
        [
            _distances(where),
            "-" if bound is None else f"{bound * unit.per_m:.2g}",
            *(_times(found["models"][name][where]) for name in names),
        ]
        for where, bound in found["bound_m"].items()
    ]
    head = ["distance", f"least error [{unit.name}]", *(f"{name}: times that" for name in names)]
    return Section(
        "What the lens allows",
        [
            scored.summary["identifiability"],
            *scored.picture(
                "cramer_rao",
                "Mean error of teacher and student against true distance, above the Cramer-Rao "
                "bound of strong and of weak texture.",
                "No unbiased estimate from one patch is better than the bound. Networks may be: "
                "they have learnt a prior over distances, and the student sees the whole photo.",
            ),
            Grid(text_table(head, rows), "Cramer-Rao bound and errors where texture is strong"),
            more,
        ],
    )


def data_section(captures: CaptureSet) -> Section:
    """The camera, and how many captures there are of each kind."""
    table = captures.table.assign(source=captures.sources)
    rows = []
    for role in ROLES:
        for source, own in table[table["role"] == role].groupby("source"):
            split = own["split"].value_counts()
            counts = (str(split.get(name, 0)) for name in SPLITS)
            rows.append([role, str(source), *counts, str(own["scene"].nunique())])
    words = {role: text for role, text in ROLE_WORDS.items() if (table["role"] == role).any()}
    return Section(
        "Data",
        [
            f"Camera {captures.camera.in_words}.",
            Grid(
                text_table(["captures", "source", *SPLITS, "scenes"], rows),
                "Number of captures by use; a scene is never in two splits",
            ),
            Facts("Captures", words),
        ],
    )


def _distances(where: str) -> str:
    near, far = map(float, where.split("-"))
    return span((near, far))


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _spread(model: Mapping[str, Any]) -> str:
    low, high = model["ci95"]["abs_rel"]
    spread = "" if low is None else f"; 95 % over scenes: {100 * low:.1f} to {_percent(high)}"
    return f"of the distance{spread}"


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.1f}"


def _listed(bins: Mapping[str, Any]) -> str:
    return ", ".join(f"{_percent(found['abs_rel'])} at {name} m" for name, found in bins.items())


def _listed_shares(coverage: Mapping[str, float]) -> str:
    return ", ".join(
        f"{float(level):.0%} hold {_percent(share)}" for level, share in coverage.items()
    )


def _by_model(models: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {model['overall']['abs_rel']:.3f}" for name, model in models.items())
