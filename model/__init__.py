"""The segmentation model: pure functions and values, with no I/O, no clock and no hidden chance.

`fit` finds clusters in a sample and a `Generation` keeps them; `ClusterStatistics` count every
customer exactly once; a `ModelSnapshot` of the two assigns. `match` names clusters, `model.drift`
watches them, and `MiniBatchKMeans` is all of it as one River estimator.
"""

from model import drift
from model.batch_kmeans import Fit, fit, inertia
from model.cluster_statistics import LIMIT, SCALE, UNKNOWN, ClusterStatistics, dequantize, quantize
from model.distance import feature_weights, squared_distances
from model.drift import psi
from model.generation import Generation
from model.histogram import Histogram
from model.kmeans import MiniBatchKMeans
from model.personas import PERSONAS, POSITIONS, Persona, match, match_generations
from model.snapshot import Assignment, ModelSnapshot
from model.types import NOWHERE, read_only

__all__ = [
    "LIMIT",
    "NOWHERE",
    "PERSONAS",
    "POSITIONS",
    "SCALE",
    "UNKNOWN",
    "Assignment",
    "ClusterStatistics",
    "Fit",
    "Generation",
    "Histogram",
    "MiniBatchKMeans",
    "ModelSnapshot",
    "Persona",
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
