"""The segmentation model: pure functions and values, without I/O, clock or hidden randomness.

`MiniBatchKMeans` is the model: a River estimator that workers learn, revert and predict with. It is
a `generation` (a batch fit with names), the `cluster_statistics` of the rows counted since, and the
`snapshot` of the two, which assigns. `personas` names clusters, `drift` and `detectors` watch them,
and `counterfactuals` explain an assignment.
"""

from livesegments.model.kmeans import MiniBatchKMeans

__all__ = ["MiniBatchKMeans"]
