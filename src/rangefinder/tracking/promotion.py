"""Promotion: a registered student becomes the champion if it passes the gate, and may step back.

Candidate and champion are scored anew, on the same pixels of the test captures that are there now.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rangefinder.captures.manifest import CaptureSet, read_captures
from rangefinder.common.files import atomic_write
from rangefinder.common.locks import exclusive_lock
from rangefinder.common.timing import Effort, Timing, time_in_turns
from rangefinder.config import Parameters
from rangefinder.config.project import STUDENT_NAME, Project
from rangefinder.errors import ModelError
from rangefinder.evaluation import gate
from rangefinder.evaluation.baselines import constant_model
from rangefinder.evaluation.gate import Check
from rangefinder.evaluation.headline import CONSTANT
from rangefinder.evaluation.scoring import evaluate, held_out
from rangefinder.inference.predictor import Box, Predictor, capture_predictions, common_support
from rangefinder.models.device import configure_cpu
from rangefinder.models.model_files import TrainedModel
from rangefinder.tracking import descriptions
from rangefinder.tracking.mlflow_run import Dataset, MlflowRun
from rangefinder.tracking.registry import (
    CANDIDATE,
    CHAMPION,
    Version,
    describe,
    find_version,
    load_registered,
    open_registry,
    record_scores,
    set_alias,
    tag_version,
    versions,
)
from rangefinder.tracking.runs import TrackedRun
from rangefinder.tracking.store import Store, reading

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)
PROMOTED, FORCED, REFUSED, UNCHANGED = "promoted", "forced", "refused", "unchanged"
PREDECESSOR = "the student it was made from"
DECISION, REPLACED = "promotion", "promotion.replaced"  # tags of a version
_SCORES = ("overall", "coverage", "selective_risk_50", "ci95")  # kept in promotion.json
_LEAST_TURNS, _SECONDS = 3, 60.0  # of timing: after both, for each model, no turn begins


@dataclass(frozen=True)
class Decision:
    """What the gate decided, and why.

    Attributes:
        outcome: `promoted`, `forced` (in spite of a rule), `refused`, or `unchanged`: the version
            is the champion.
        version: The candidate.
        champion: Number of the champion's version then; None: there was none.
        against: What it was compared with, in words.
        captures: Digest of the test captures.
        checks: The rules.
        summary: Scores, as in evaluation.json; empty if nothing was scored.
    """

    outcome: str
    version: Version
    champion: str | None
    against: str
    captures: str
    checks: tuple[Check, ...]
    summary: dict[str, Any]

    @property
    def broken(self) -> list[Check]:
        """Rules that do not hold."""
        return [check for check in self.checks if not check.holds]

    @property
    def is_champion(self) -> bool:
        """Whether the version is the champion after this."""
        return self.outcome != REFUSED

    def content(self) -> dict[str, Any]:
        """Content of promotion.json."""
        scored = self.summary.get("models", {})
        return {
            "outcome": self.outcome,
            "model": self.version.name,
            "version": self.version.number,
            "fingerprint": self.version.tags.get("fingerprint"),
            "champion": self.champion,
            "against": self.against,
            "captures": self.captures,
            "checks": [asdict(check) for check in self.checks],
            "scores": {
                name: {key: content[key] for key in _SCORES} for name, content in scored.items()
            },
        }


@dataclass(frozen=True)
class Gate:
    """Decides on promotions in one registry.

    Attributes:
        client: Of the registry.
        root: The project.
        captures: All captures; those held out for the test are scored.
        params: `seed`, `range`, `captures`, `cache`, `evaluation`, `promotion` and `compute` are
            used.
    """

    client: MlflowClient
    root: Path
    captures: CaptureSet
    params: Parameters

    @classmethod
    def of(cls, project: Project) -> Self:
        """The gate of a project, with its configuration and captures."""
        client = open_registry(project)
        return cls(client, project.root, read_captures(project.captures), project.parameters())

    def promote(
        self,
        version: Version,
        run: MlflowRun | None,
        *,
        force: bool = False,
        instead: TrainedModel | None = None,
    ) -> Decision:
        """Score, decide, and let the alias follow. A second promotion waits for the first.

        Args:
            version: The candidate.
            run: Where scores and decision are recorded; None: nothing is, and nothing changes.
            force: Promote also if a rule is broken; that is recorded.
            instead: Whom to compare with if there is no champion; None: the best constant alone.

        Raises:
            CameraMismatchError: If the candidate is of another camera than the captures.
            CaptureError: If there are no test captures.
            ModelError: If a model cannot be loaded, or the champion changed meanwhile.
        """
        with lock(self.root):
            before = find_version(self.client, STUDENT_NAME, CHAMPION)
            if before is not None and before.number == version.number:
                return Decision(UNCHANGED, version, before.number, "itself", "", (), {})
            decision = self._decide(version, before, instead)
            if force and decision.broken:
                decision = replace(decision, outcome=FORCED)
            if run is not None:
                self._record(run, decision, before)
            return decision

    def _decide(
        self, version: Version, before: Version | None, instead: TrainedModel | None
    ) -> Decision:
        configure_cpu(self.params.compute)
        test, _ = held_out(self.captures)
        candidate = self._load(version)
        champion = instead if before is None else self._load(before)
        against = "the best constant"
        if champion is not None:
            against = f"the champion, version {before.number}" if before else PREDECESSOR
        compared = version, before.number if before else None, against, test.digest
        self.captures.camera.require(candidate.card.camera_fingerprint, str(version))
        if champion and champion.card.camera_fingerprint != candidate.card.camera_fingerprint:
            other = champion.card.camera.name
            broken = Check("of the champion's camera", False, f"the champion is of camera {other}")
            return Decision(REFUSED, *compared, (broken,), {})
        networks = {gate.CHAMPION: champion} if champion else {}
        networks[gate.CANDIDATE] = candidate
        summary = self._score(test, networks)
        latency = self._time(test, networks) if champion else {}
        found = tuple(gate.checks(summary, latency, self.params.promotion))
        outcome = PROMOTED if all(check.holds for check in found) else REFUSED
        return Decision(outcome, *compared, found, summary)

    def _load(self, version: Version) -> TrainedModel:
        return load_registered(self.client, version.uri, self.root)

    def _score(self, test: CaptureSet, networks: dict[str, TrainedModel]) -> dict[str, Any]:
        params = self.params
        models = {CONSTANT: constant_model(self.captures, test)} | {
            name: capture_predictions(network, test, params.cache, params.compute.device)
            for name, network in networks.items()
        }
        return evaluate(test, models, params, _support(list(networks.values()), test)).summary

    def _time(self, test: CaptureSet, networks: dict[str, TrainedModel]) -> dict[str, Timing]:
        """Time of one test photo by each network, in turns."""
        image, placement = test.image(0), test.placement(0)

        def work(network: TrainedModel) -> Callable[[], object]:
            predict = Predictor(network, self.params.compute.device, self.params.cache)
            return lambda: predict(image, placement)

        turns = self.params.promotion.latency_turns
        works = {name: work(network) for name, network in networks.items()}
        return time_in_turns(works, Effort(_LEAST_TURNS, turns, _SECONDS))

    def _record(self, run: MlflowRun, decision: Decision, before: Version | None) -> None:
        """Scores to both models, reasons to the version; the champion's alias if it passed."""
        version, models = decision.version, decision.summary.get("models", {})
        if models:
            test = Dataset.scored(decision.summary, str(self.captures.folder))
            record_scores(run, version, models[gate.CANDIDATE], test)
            if before is not None:
                record_scores(run, before, models[gate.CHAMPION], test)
        reasons = "\n".join(
            f"- {'yes' if check.holds else '**no**'}: {check.rule} ({check.numbers})"
            for check in decision.checks
        )
        outcome = decision.outcome.capitalize()
        text = f"{outcome} against {decision.against}, on test captures `{decision.captures}`."
        tags = {
            DECISION: decision.outcome,
            "promotion.against": decision.against,
            "promotion.captures": decision.captures,
            "promotion.reasons": "; ".join(
                f"{check.rule}: {check.numbers}" for check in decision.broken or decision.checks
            )[:5000],
        }
        if decision.is_champion:
            self._require_champion(before)
            tags[REPLACED] = before.number if before else ""
            set_alias(self.client, version, CHAMPION)
        tag_version(self.client, version, tags)
        describe(self.client, version, descriptions.DECISION, f"{text}\n\n{reasons}")

    def _require_champion(self, before: Version | None) -> None:
        """Refuse a decision about a champion that another machine has replaced meanwhile."""
        now = find_version(self.client, STUDENT_NAME, CHAMPION)
        if (now and now.number) != (before and before.number):
            raise ModelError(
                "the champion changed while its successor was scored",
                got=now and f"version {now.number}",
                expected=before and f"version {before.number}",
                todo="Promote again: the comparison was with another one.",
            )


def promote(
    project: Project, number: str | None, *, force: bool = False, dry_run: bool = False
) -> Decision:
    """Promote a version of the project's student, and write promotion.json.

    Args:
        project: Its captures and configuration are used.
        number: Of the version; None: the candidate.
        force: Promote it in spite of a broken rule.
        dry_run: Decide only.

    Raises:
        ModelError: If there is no such version.
    """
    with reading(Store.of(project.root, project.tracking())):
        return _promoted(project, Gate.of(project), number, force, dry_run)


def _promoted(
    project: Project, found: Gate, number: str | None, force: bool, dry_run: bool
) -> Decision:
    version = find_version(found.client, STUDENT_NAME, number or CANDIDATE)
    if version is None:
        raise ModelError(
            f"there is no {STUDENT_NAME} "
            + (f"of version {number}" if number else f"with the alias {CANDIDATE}"),
            todo="Train one with 'kedro run'; it becomes candidate if it beats the best constant.",
        )
    if dry_run:
        return found.promote(version, None, force=force)
    tracking = project.tracking()
    store = Store.of(project.root, tracking)
    title = f"promote {version.uri}"
    run = TrackedRun.start(store, tracking.experiment, title, {"model": version.uri})
    with run.ending():
        decision = found.promote(version, run.mlflow, force=force)
        run.add_result(decision.outcome)
        write(project, decision)
        run.log_files(project.promotion_report)
    return decision


def promote_trained(
    run: TrackedRun, root: Path, captures: CaptureSet, student: TrainedModel, params: Parameters
) -> Decision:
    """Promote the newest version that holds this student; for pipelines, which have a run.

    Raises:
        ModelError: If it is not registered.
    """
    with reading(run.store):
        return _promote_trained(run, root, captures, student, params)


def _promote_trained(
    run: TrackedRun, root: Path, captures: CaptureSet, student: TrainedModel, params: Parameters
) -> Decision:
    found = versions(run.client, STUDENT_NAME, student.fingerprint)
    if not found:
        raise ModelError(
            "the student of data/06_models is not registered",
            got=f"fingerprint {student.fingerprint}",
            todo="Train it with tracking switched on (conf/base/tracking.yml).",
        )
    decision = Gate(run.client, root, captures, params).promote(found[0], run.mlflow)
    run.add_result(decision.outcome)
    return decision


def write(project: Project, decision: Decision) -> None:
    """Write promotion.json."""
    text = json.dumps(decision.content(), indent=2) + "\n"
    atomic_write(project.promotion_report, lambda path: path.write_text(text, encoding="utf-8"))


def rollback(project: Project) -> tuple[Version, Version]:
    """Let the champion step back for the one it replaced: the former and the new champion.

    Raises:
        ModelError: If there is no champion, or it replaced none.
    """
    with reading(Store.of(project.root, project.tracking())), lock(project.root):
        client = open_registry(project)
        champion = find_version(client, STUDENT_NAME, CHAMPION)
        if champion is None:
            raise ModelError("there is no champion", todo="'rangefinder promote' makes one.")
        former = champion.tags.get(REPLACED)
        earlier = find_version(client, STUDENT_NAME, former) if former else None
        if earlier is None:
            raise ModelError(
                f"version {champion.number} is the first champion: there is none to go back to"
            )
        set_alias(client, earlier, CHAMPION)
        tag_version(client, champion, {DECISION: "rolled back"})
        text = f"Was the champion; rolled back to version {earlier.number}."
        describe(client, champion, descriptions.DECISION, text)
    return champion, earlier


@contextmanager
def lock(project: Path) -> Iterator[None]:
    """Hold the lock of promotions in a project, after waiting for the one under way."""
    root = Path(os.environ.get("DVC_ROOT") or project)
    with exclusive_lock(root / "mlflow.db.promotion", "the choice of the champion"):
        yield


def _support(networks: list[TrainedModel], test: CaptureSet) -> Callable[[int], Box]:
    """Pixels that all networks cover, as `common_support` gives them for one."""
    each = [common_support(network.card, test) for network in networks]

    def box(index: int) -> Box:
        lefts, tops, rights, bottoms = zip(*(support(index) for support in each), strict=True)
        return max(lefts), max(tops), min(rights), min(bottoms)

    return box
