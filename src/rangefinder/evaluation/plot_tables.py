"""Tables that `dvc plots` draws over those of other experiments: the student's curves."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from rangefinder.evaluation.headline import STUDENT
from rangefinder.evaluation.scoring import Evaluation

_POINTS = 21  # of the risk-coverage curve


def error_by_distance(evaluation: Evaluation) -> pd.DataFrame:
    """AbsRel in each distance bin that has pixels, at its geometric middle [m]."""
    bins = evaluation.summary["models"][STUDENT]["by_distance_m"]
    middles = [math.sqrt(math.prod(map(float, name.split("-")))) for name in bins]
    table = pd.DataFrame({"distance_m": middles, "abs_rel": [x["abs_rel"] for x in bins.values()]})
    return table.dropna().reset_index(drop=True)


def reliability(evaluation: Evaluation) -> pd.DataFrame:
    """Share of pixels whose truth lies within the central interval of each level."""
    found = evaluation.summary["models"][STUDENT]["coverage"]
    levels = [float(level) for level in found]
    return pd.DataFrame({"level": levels, "coverage": list(found.values())})


def risk_coverage(evaluation: Evaluation) -> pd.DataFrame:
    """Selective risk: mean AbsRel of the least uncertain pixels against their share."""
    curve = evaluation.curves[STUDENT].sparsification
    at = np.linspace(0, len(curve.removed) - 1, _POINTS).round().astype(int)
    return pd.DataFrame({"coverage": 1 - curve.removed[at], "abs_rel": curve.by_uncertainty[at]})
