"""Initial fit: from a sample of all customers, once there are enough of them."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from livesegments.domain import ProcessingConfig
from livesegments.features.record_codec import Records, decode, may_be_profiled
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

Drawn: TypeAlias = tuple[Records, int, float]
"""Records of one partition, its clock, and the number of customers per record."""


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
    """Sample customers with a purchase in their window, from each partition: see `draw_records`."""
    return sample_of(draw_records(store, partitions, config, buyers, parts), config)


def draw_records(
    store: Partitions, partitions: int, config: ProcessingConfig, buyers: int | None, parts: int
) -> Iterator[Drawn]:
    """Draw customers of each partition, ``parts`` times as many as for a fit: see `to_draw`."""
    sizes = store.sizes(range(partitions))
    wanted = to_draw(sizes, parts * sample_size(config.segmentation), buyers)
    for partition, (checkpoint, blobs) in store.sample(wanted).items() if wanted else ():
        if blobs:
            records = decode(blobs, config.record_shape)
            yield records, checkpoint.clock_us, sizes[partition] / len(blobs)


def sample_of(drawn: Iterable[Drawn], config: ProcessingConfig) -> Sample:
    """Return the drawn customers with a purchase in their window."""
    layout, segmentation = config.layout, config.segmentation
    vectors = [np.empty((0, len(segmentation.features)))]
    customers, bought = 0.0, np.zeros(layout.tiles, np.int64)
    for records, clock_us, weight in drawn:
        tile = layout.tile(clock_us)
        at = window(records, tile, layout)
        counted = (at.purchases > 0) & may_be_profiled(records)
        vectors.append(segmentation.vectors(records, at)[counted])
        bought += purchases_by_tile(records, tile)
        customers += weight * np.count_nonzero(counted)
    return Sample(np.concatenate(vectors), customers, is_full(bought))


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
