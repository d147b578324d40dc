"""The segmentation model: pure functions and values, without I/O, clock or hidden randomness.

`MiniBatchKMeans` is the model: a River estimator with which workers learn, revert and predict. It
consists of a `generation` (a batch fit with cluster names) and the `cluster_statistics` of the rows
counted since; a `snapshot` combines the two and assigns rows. `naming` names clusters, `drift`
and `detectors` monitor them, and `counterfactuals` explains an assignment.
"""

from livesegments.model.kmeans import MiniBatchKMeans

__all__ = ["MiniBatchKMeans"]
