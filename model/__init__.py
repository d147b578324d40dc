"""The segmentation model: pure functions and values, with no I/O, no clock and no hidden chance.

`fit` finds clusters in a sample and a `Generation` keeps them; `Statistics` count every customer
exactly once; a `ModelView` of the two assigns. `match` names clusters, `model.drift` watches them,
and `MiniBatchKMeans` is all of it as one River estimator.
"""

from model import drift
from model.arrays import NOWHERE, read_only
from model.distance import feature_weights, squared_distances
from model.drift import psi
from model.generation import Generation
from model.histogram import Histogram
from model.kmeans import MiniBatchKMeans
from model.lloyd import Fit, fit, inertia
from model.personas import PERSONAS, POSITIONS, Persona, match, match_generations
from model.statistics import LIMIT, SCALE, UNKNOWN, Statistics, dequantize, quantize
from model.view import Assignment, ModelView

__all__ = [
    "LIMIT",
    "NOWHERE",
    "PERSONAS",
    "POSITIONS",
    "SCALE",
    "UNKNOWN",
    "Assignment",
    "Fit",
    "Generation",
    "Histogram",
    "MiniBatchKMeans",
    "ModelView",
    "Persona",
    "Statistics",
    "dequantize",
    "drift",
    "feature_weights",
    "fit",
    "inertia",
    "match",
    "match_generations",
    "psi",
    "quantize",
    "read_only",
    "squared_distances",
]
