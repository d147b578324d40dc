"""A segmentation: the features that customers are clustered by, and the segments."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from livesegments.features.feature_specs import Feature
from livesegments.features.record_codec import Records
from livesegments.features.window import Window
from livesegments.model.cluster_statistics import ClusterStatistics
from livesegments.model.generation import Generation
from livesegments.model.kmeans import MiniBatchKMeans
from livesegments.model.naming import Segment, positions

STARTS, FEW_CLUSTERS, MORE_STARTS = 16, 5, 8
"""k-means++ initializations of a fit with few clusters, and how many more for each further one, as
there are more local optima (`python -m bench segmentations`)."""


@dataclass(frozen=True, slots=True)
class Segmentation:
    """Features and segments of a deployment.

    Attributes
    ----------
    features
        The d features, in the order of `livesegments.features.feature_specs.CATALOGUE`.
    segments
        The k segments; records hold their indexes.
    feature_names, segment_ids
        Name of each feature in the message contract, and id of each segment.
    """

    features: tuple[Feature, ...]
    segments: tuple[Segment, ...]
    feature_names: tuple[str, ...] = field(init=False, repr=False)
    segment_ids: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "feature_names", tuple(each.name for each in self.features))
        object.__setattr__(self, "segment_ids", tuple(each.id for each in self.segments))

    @property
    def most_valuable(self) -> int:
        """Index of the segment that is expected to be worth the most: by purchases, not profile."""
        worth = [feature.worth for feature in self.features]
        return int((positions(self.segments) @ worth).argmax())

    def vectors(self, records: Records, window: Window) -> NDArray[np.float64]:
        """Return the feature vectors (n, d): NaN where a profile field is unknown."""
        out = np.empty((len(records), len(self.features)))
        for column, feature in enumerate(self.features):
            out[:, column] = feature.scale.forward(feature.measure(records, window))
        return out

    def natural(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return vectors (n, d) in natural units."""
        out = np.empty(np.shape(vectors))
        for column, feature in enumerate(self.features):
            out[:, column] = feature.scale.backward(vectors[:, column])
        return out

    def estimator(
        self, generation: Generation | None = None, learned: bytes = b""
    ) -> MiniBatchKMeans:
        """Return an estimator over the features, with a cluster for each segment.

        Parameters
        ----------
        generation
            The fit; without one, the estimator counts customers assigned by the sum over
            partitions.
        learned
            Stored statistics of the learned customers; empty for none.
        """
        k, d = len(self.segments), len(self.features)
        statistics = ClusterStatistics.from_bytes(learned, k, d) if learned else None
        starts = STARTS + MORE_STARTS * max(0, k - FEW_CLUSTERS)
        return MiniBatchKMeans.of(
            self.feature_names, generation, statistics, n_clusters=k, starts=starts
        )
