"""Lineage: from a registered model back to cache, teacher, captures, camera, lens and commit.

Every link is found by its fingerprint among the tags of runs and versions, so it does not matter
whether one run made all of it, stages of DVC, or several people.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

from rangefinder.common.page import Facts, Section
from rangefinder.config.project import STUDENT_NAME, TEACHER_NAME
from rangefinder.errors import ModelError, masked
from rangefinder.tracking.origin import CHANGE, CLEAN, COMMIT, SOURCE, STAGE
from rangefinder.tracking.recorder import MANIFEST_FILE
from rangefinder.tracking.registry import EVALUATION, REGISTRY, Version, find_version, versions

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_MAKERS = {"captures": "gather_captures", "cache": "sweep_teacher"}  # node that makes a thing
_CAMERA = ("focal_length_mm", "f_number", "focus_distance_m", "width_px", "height_px")
_LENS = ("kind", "name", "file", "sha256")


@dataclass(frozen=True)
class Link:
    """One thing in the chain.

    Attributes:
        what: `student`, `cache`, `teacher`, `captures`, `camera`, `lens` or `commit`.
        fingerprint: Of it, or a name that stands for it; empty if it is not known.
        facts: What else is known, by name.
        command: What makes it again; empty if no run of the registry made it.
    """

    what: str
    fingerprint: str
    facts: Mapping[str, str] = field(default_factory=dict)
    command: str = ""


def lineage(client: MlflowClient, name: str) -> list[Link]:
    """The chain of a registered model, from the model back to the commit.

    Args:
        client: Of the registry.
        name: `models:/NAME@ALIAS` or `models:/NAME/VERSION`.

    Raises:
        ModelError: If it is not registered.
    """
    version = _version(client, name)
    return list(_links(client, version))


def _version(client: MlflowClient, name: str) -> Version:
    parts = re.fullmatch(rf"{REGISTRY}([^@/]+)[@/]([^/]+)", name)
    found = find_version(client, *parts.groups()) if parts else None
    if found is None:
        raise ModelError(
            f"{name} is not registered",
            expected=f"{REGISTRY}{STUDENT_NAME}@champion, or a number after a slash",
        )
    return found


def _links(client: MlflowClient, version: Version) -> Iterator[Link]:
    run, tags = client.get_run(version.run_id), version.tags
    kind = "teacher" if version.name == TEACHER_NAME else "student"
    yield _model(kind, version, run)
    if kind == "student":
        yield _made(client, "cache", tags.get("cache", ""))
        yield _teacher(client, tags.get("teacher", ""))
    captures = tags.get("captures", "")
    yield _captures(client, captures, run)
    yield _camera(tags.get("camera", ""), run)
    yield _lens(run)
    yield _commit(tags)


def _model(kind: str, version: Version, run: Run) -> Link:
    tags = version.tags
    facts = {"registered as": version.uri, "trained by": _called(run)}
    if "abs_rel" in tags:
        facts["AbsRel"] = f"{tags['abs_rel']} on test captures {tags.get('captures.test', '?')}"
    else:
        facts["AbsRel"] = tags.get(EVALUATION, "unknown")
    if "promotion" in tags:
        facts["promotion"] = tags["promotion"]
    facts["seed"] = tags.get("seed", "?")
    return Link(kind, tags.get("fingerprint", ""), facts, command_of(run))


def _teacher(client: MlflowClient, fingerprint: str) -> Link:
    found = versions(client, TEACHER_NAME, fingerprint)
    if not found:
        return Link("teacher", fingerprint, {"registered as": "nothing in this registry"})
    scored = [version for version in found if "abs_rel" in version.tags]
    first = (scored or found)[-1]  # a run that was killed may have registered it, too
    return _model("teacher", first, client.get_run(first.run_id))


def _made(client: MlflowClient, what: str, fingerprint: str) -> Link:
    """Something that is not registered, by the first run that made it."""
    run = _maker(client, what, fingerprint)
    if run is None:
        return Link(what, fingerprint, {"made by": "no run of this registry"})
    return Link(what, fingerprint, {"made by": _called(run)}, command_of(run))


def _captures(client: MlflowClient, fingerprint: str, user: Run) -> Link:
    made = _made(client, "captures", fingerprint)
    facts = dict(made.facts)
    for taken in user.inputs.dataset_inputs if user.inputs else ():
        if taken.dataset.digest == fingerprint:
            facts["number"] = re.sub(r'[{}"]', "", taken.dataset.profile or "")
    root = user.info.artifact_uri or ""
    path = unquote(urlparse(root).path) if root.startswith("file:") else root
    facts["listed in"] = masked(f"{path}/{MANIFEST_FILE}")
    return Link("captures", fingerprint, facts, made.command)


def _camera(fingerprint: str, run: Run) -> Link:
    params = run.data.params
    facts = {name: params[f"camera.{name}"] for name in _CAMERA if f"camera.{name}" in params}
    return Link("camera", fingerprint, {"name": params.get("camera.name", "?"), **facts})


def _lens(run: Run) -> Link:
    params = run.data.params
    known = {name: params.get(f"camera.lens.{name}", "None") for name in _LENS}
    facts = {name: value for name, value in known.items() if value != "None"}
    command = "rangefinder calibrate" if facts.get("kind") == "calibrated" else ""
    name = facts.pop("sha256", "")[:16] or facts.get("name", facts.get("kind", ""))
    return Link("lens", name, facts, command)


def _commit(tags: Mapping[str, str]) -> Link:
    commit, change = tags.get(COMMIT, ""), tags.get(CHANGE, "")
    facts = {} if change in (CLEAN, "") else {"changed since": f"{change}, which git does not have"}
    return Link("commit", commit, facts, f"git checkout {commit}" if commit else "")


def _maker(client: MlflowClient, what: str, fingerprint: str) -> Run | None:
    """The first run that made a thing of this fingerprint."""
    if not fingerprint:
        return None
    everywhere = [experiment.experiment_id for experiment in client.search_experiments()]
    query = f"tags.`{what}` = '{fingerprint}' and tags.`nodes` LIKE '%{_MAKERS[what]}%'"
    found = client.search_runs(everywhere, query, max_results=1, order_by=["start_time ASC"])
    return found[0] if found else None


def command_of(run: Run) -> str:
    """What repeats a run: its stage of DVC, or its command."""
    stage = run.data.tags.get(STAGE)
    return f"dvc repro {stage}" if stage else run.data.tags.get(SOURCE, "")


def _called(run: Run) -> str:
    day = datetime.fromtimestamp(run.info.start_time / 1000, UTC).date()
    return f"{run.info.run_name} (run {run.info.run_id[:8]}, {day})"


def as_text(links: list[Link]) -> str:
    """The chain for the terminal."""
    blocks = []
    for link in links:
        rows = [f"{link.what:<9} {link.fingerprint or 'unknown'}"]
        rows += [f"          {name}: {value}" for name, value in link.facts.items()]
        if link.command:
            rows.append(f"          again: {link.command}")
        blocks.append("\n".join(rows))
    return "\n    |\n".join(blocks)


def section(links: list[Link]) -> Section:
    """The chain for a page."""
    parts: list[Facts] = []
    for link in links:
        again = {"made again by": f"`{link.command}`"} if link.command else {}
        title = f"{link.what} `{link.fingerprint or 'unknown'}`"
        above = "made from" if parts else ""
        parts.append(Facts(title, {**link.facts, **again}, above))
    return Section("Lineage", parts)
