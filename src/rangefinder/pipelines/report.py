"""report: all that a run left behind, on one page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kedro.pipeline import Pipeline, node

from rangefinder.errors import ModelError

if TYPE_CHECKING:
    import pandas as pd

    from rangefinder.captures.manifest import CaptureSet
    from rangefinder.common.page import Section
    from rangefinder.models.model_files import TrainedModel
    from rangefinder.tracking.lineage import Link
    from rangefinder.tracking.runs import TrackedRun

Result = tuple[dict[str, Any] | None, bytes | None]  # of a study, if it was run: JSON and figure
AGAIN = "`kedro run --pipelines {},report`"


def write_report(
    captures: CaptureSet,
    student: TrainedModel,
    evaluation: dict[str, Any],
    per_image: pd.DataFrame,
    figures: dict[str, bytes],
    promotion: dict[str, Any] | None,
    ablation: dict[str, Any] | None,
    ablation_figure: bytes | None,
    benchmark: dict[str, Any] | None,
    benchmark_figure: bytes | None,
) -> bytes:
    """The page. What is None has not been run; studies of another student or set are left out.

    Raises:
        ModelError: If the evaluation is of another student.
    """
    from rangefinder.common.page import page
    from rangefinder.evaluation import sections

    if _of(evaluation, "student", student.fingerprint) is None:
        raise ModelError(
            "the scores are not those of the student",
            got=f"student {evaluation.get('student')}",
            expected=student.fingerprint,
            todo="kedro run --pipelines evaluation,report",
        )
    scored = sections.Scored(evaluation, per_image, figures)
    decided = _of(promotion, "fingerprint", student.fingerprint)
    decision = _of(decided, "captures", evaluation["dataset"]["digest"])
    todo = (
        f"Not decided yet: {AGAIN.format('promotion')} compares this student with the champion and "
        "makes this page anew."
    )
    shown = [
        sections.decision_section(scored, decision, todo),
        sections.scores_section(scored, _champion(decision)),
        sections.error_section(scored),
        sections.calibration_section(scored),
        sections.focus_section(scored),
        sections.photos_section(scored),
        sections.lens_section(scored),
        *_studies(
            (_of(ablation, "captures", captures.digest), ablation_figure),
            (_of(benchmark, "student", student.fingerprint), benchmark_figure),
        ),
        sections.data_section(captures),
        _lineage(student),
    ]
    camera = captures.camera
    lead = (
        f"Distance from the blur in one photo, by camera {camera.in_words}. What one run made and "
        f"how good it is: student `{student.fingerprint}`. `kedro run --pipeline report` makes "
        "this page anew."
    )
    return page(f"Rangefinder report: {camera.name}", lead, shown).encode()


def _of(result: dict[str, Any] | None, key: str, fingerprint: str) -> dict[str, Any] | None:
    """A result, if it is of what has this fingerprint."""
    return result if result and result.get(key) == fingerprint else None


def _champion(decision: dict[str, Any] | None) -> dict[str, Any]:
    """Scores of the champion that the student was compared with, by its name; empty if none."""
    from rangefinder.evaluation.gate import CHAMPION

    if decision is None or CHAMPION not in decision["scores"]:
        return {}
    return {f"{CHAMPION}, version {decision['champion']}": decision["scores"][CHAMPION]}


def _studies(ablation: Result, benchmark: Result) -> list[Section]:
    """Sections of the studies that were run, and how the others are run."""
    from rangefinder.common.page import Section
    from rangefinder.studies.ablation import report as ablation_report
    from rangefinder.studies.benchmark import report as benchmark_report

    found, missing = [], []
    if ablation[0]:
        found.append(ablation_report.section(ablation[0], ablation[1]))
    else:
        missing.append(f"What each part of the method is worth: {AGAIN.format('ablation')}, hours.")
    if benchmark[0]:
        found.append(benchmark_report.section(benchmark[0], benchmark[1]))
    else:
        missing.append(f"Speed on this machine: {AGAIN.format('benchmark')}, minutes.")
    return [*found, *([Section("Not run yet", missing)] if missing else [])]


def _lineage(student: TrainedModel) -> Section:
    """What the student was made from, by the registry."""
    from rangefinder.common.page import Section
    from rangefinder.tracking.lineage import section
    from rangefinder.tracking.runs import current_run

    run = current_run()
    why = "it is not registered" if run else "tracking is off (`conf/base/tracking.yml`)"
    try:
        links = _links(run, student.fingerprint) if run else []
    except ModelError as exc:
        links, why = [], exc.finding
    if links:
        return section(links)
    return Section("Lineage", [f"No lineage of student `{student.fingerprint}`: {why}."])


def _links(run: TrackedRun, fingerprint: str) -> list[Link]:
    from rangefinder.config.project import STUDENT_NAME
    from rangefinder.tracking.lineage import lineage
    from rangefinder.tracking.registry import versions
    from rangefinder.tracking.store import reading

    with reading(run.store):
        found = versions(run.client, STUDENT_NAME, fingerprint)
        return lineage(run.client, found[0].uri) if found else []


def create_pipeline() -> Pipeline:
    """Write the page."""
    return Pipeline(
        [
            node(
                write_report,
                [
                    "captures",
                    "student",
                    "evaluation",
                    "per_image",
                    "figures",
                    "promotion",
                    "ablation",
                    "ablation_figure",
                    "benchmark",
                    "benchmark_figure",
                ],
                "report",
                name="write_report",
            )
        ]
    )
