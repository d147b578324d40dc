"""Initial fit: from a sample of all customers, once there are enough of them."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from livesegments.domain import ProcessingConfig
from livesegments.features.record_codec import decode, may_be_profiled
from livesegments.features.segmentation import Segmentation
from livesegments.features.window import is_full, purchases_by_tile, window
from livesegments.model.drift import Histogram
from livesegments.model.generation import Generation
from livesegments.model.naming import match
from livesegments.store.partitions import Partitions

SAMPLE, SAMPLE_PER_SEGMENT = 3_000, 600
"""Customers that a fit takes in all, or for each segment if that is more: of a smaller sample the
rarest customers would decide where many centroids are (`python -m bench segmentations`)."""
MOST_DRAWN = 90_000
"""Customers that a draw reads at most, however few of them have bought."""
LEAST_ROWS, MOST_SMALL = 100, 100


@dataclass(frozen=True, slots=True)
class Sample:
    """Sample of the customers with a purchase in their window.

    Attributes
    ----------
    vectors
        Their feature vectors, (n, d).
    customers
        Estimated number of customers in the sampled population.
    full
        Whether purchases fill the window; until then windows are still filling.
    """

    vectors: np.ndarray[tuple[int, int], np.dtype[np.float64]]
    customers: float
    full: bool = True

    def histograms(self) -> tuple[Histogram, ...]:
        """Return the histogram of each feature."""
        return tuple(Histogram.of(column) for column in self.vectors.T)


def sample_size(segmentation: Segmentation) -> int:
    """Return the number of customers that a fit takes."""
    return max(SAMPLE, SAMPLE_PER_SEGMENT * len(segmentation.segments))


def to_draw(sizes: Sequence[int], least: int, buyers: int | None = None) -> dict[int, int]:
    """Return partition -> customers to draw from it, by the ``sizes`` of all partitions.

    Inactive customers are drawn and discarded, so the number of ``buyers`` helps if it is known.
    """
    total = sum(sizes)
    drawn = least if not buyers else min(max(least * total // buyers, least), MOST_DRAWN)
    return {p: -(-drawn * size // total) for p, size in enumerate(sizes) if size}


def draw(
    store: Partitions,
    partitions: int,
    config: ProcessingConfig,
    buyers: int | None = None,
    parts: int = 1,
) -> Sample:
    """Sample customers with a purchase in their window, from each partition: see `to_draw`.

    The sample is ``parts`` times that of a fit.
    """
    layout, sizes = config.layout, store.sizes(range(partitions))
    wanted = to_draw(sizes, parts * sample_size(config.segmentation), buyers)
    vectors = []
    customers, bought = 0.0, np.zeros(layout.tiles, np.int64)
    for partition, (checkpoint, blobs) in store.sample(wanted).items() if wanted else ():
        records = decode(blobs, config.record_shape)
        at = window(records, layout.tile(checkpoint.clock_us), layout)
        counted = (at.purchases > 0) & may_be_profiled(records)
        vectors.append(config.segmentation.vectors(records, at)[counted])
        bought += purchases_by_tile(records, layout.tile(checkpoint.clock_us))
        customers += sizes[partition] * np.count_nonzero(counted) / max(len(blobs), 1)
    found = np.concatenate(vectors) if vectors else np.empty((0, len(config.segmentation.features)))
    return Sample(found, customers, is_full(bought))


class Draws:
    """Draws for the first fit, accumulated once a draw is too small for it.

    If far more customers have a profile than have bought, a draw contains few buyers: too few to
    fit the clusters, and their estimated number may be off by a factor of two.
    """

    def __init__(self, warmup_customers: int) -> None:
        self._warmup_customers = warmup_customers
        self._least = min(warmup_customers, LEAST_ROWS)
        self._small: deque[Sample] = deque(maxlen=MOST_SMALL)

    def draw(self, store: Partitions, partitions: int, config: ProcessingConfig) -> Sample:
        """Draw again; return the accumulated sample."""
        sample = draw(store, partitions, config)
        if len(sample.vectors) >= self._least:
            return sample
        self._small.append(draw(store, partitions, config, self._warmup_customers))
        return Sample(
            vectors=np.concatenate([each.vectors for each in self._small]),
            customers=float(np.mean([each.customers for each in self._small])),
            full=any(each.full for each in self._small),
        )

    def are_enough(self, sample: Sample) -> bool:
        """Return whether the sample suffices for a first generation."""
        return len(sample.vectors) >= self._least and sample.customers >= self._warmup_customers


def first_generation(sample: Sample, number: int, segmentation: Segmentation) -> Generation:
    """Fit a sample and name each cluster after its nearest segment.

    Raises
    ------
    ValueError
        If all customers of the sample are the same.
    """
    fit = segmentation.estimator().fit_arrays(sample.vectors, seed=number)
    return Generation.of(
        fit,
        number=number,
        segments=match(fit.zscores(fit.centroids), segmentation.segments),
        histograms=sample.histograms(),
        provisional=not sample.full,
    )
