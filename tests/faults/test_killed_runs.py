"""Runs killed at random moments: the last one ends with every byte of a run that nobody killed."""

from __future__ import annotations

import pytest

from .disturbed import RUN, Original, require_nothing_lost

pytestmark = pytest.mark.faults

REPRO = ("dvc", "repro", "evaluation")
ENDED = {"KILLED", "FINISHED"}  # before the signal came
CHAINS, KILLS = 6, 5  # runs that are killed so often before they may end


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    """`kedro run`."""
    return Original.of(tmp_path_factory.mktemp("run"), RUN)


@pytest.mark.parametrize("chain", range(CHAINS))
def test_a_run_killed_at_random_moments_ends_as_if_never_killed(
    original, tmp_path, chain, survived
):
    project = original.kill_until_whole(tmp_path / "project", RUN, KILLS, chain)
    require_nothing_lost(project, original.ended, "distill", ENDED)
    survived("kedro run killed at a random moment", KILLS)


def test_repro_killed_at_random_moments_ends_as_if_never_killed(tmp_path, survived):
    original = Original.of(tmp_path, REPRO)
    project = original.kill_until_whole(tmp_path / "project", REPRO, KILLS, CHAINS)
    require_nothing_lost(project, original.ended, "evaluation", ENDED)
    locks = [one.folder / "dvc.lock" for one in (project, original.ended)]
    assert locks[0].read_bytes() == locks[1].read_bytes()
    survived("dvc repro killed at a random moment", KILLS)
