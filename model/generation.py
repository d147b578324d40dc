"""A generation of the model: a batch fit with the names of its clusters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from livesegments.model.batch_kmeans import Fit
from livesegments.model.drift import Histogram
from livesegments.model.vectors import Floats, read_only

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Generation:
    """Initial centroids, scale and cluster names, valid until the next fit.

    Attributes
    ----------
    number
        Increases with every generation, from 1.
    centroids
        Fitted centroids, shape (k, d), in feature units; NaN where it is unknown for all members.
    mean, variance
        Mean and variance of each feature at the fit, shape (d,); NaN where unknown.
    sizes
        Rows in each cluster at the fit, k integers.
    segments
        Segment id of each cluster, k distinct names.
    histograms
        Distribution of each feature at the fit, d of them, the baseline for drift; or empty.
    provisional
        Whether it was fitted before the windows were full. The model still moves as they fill, so
        it is not a baseline for drift.

    Raises
    ------
    ValueError
        If the parts do not match; the message names the field.

    Examples
    --------
    >>> import numpy as np
    >>> from livesegments.model.generation import Generation

    >>> generation = Generation(
    ...     number=1,
    ...     centroids=np.array([[1.0, np.nan], [3.0, 4.0]]),
    ...     mean=np.array([2.0, 4.0]),
    ...     variance=np.array([1.0, 0.5]),
    ...     sizes=(10, 20),
    ...     segments=("students", "retirees"),
    ... )
    >>> generation.to_dict()["centroids"]
    [[1.0, None], [3.0, 4.0]]
    >>> Generation.from_dict(generation.to_dict()) == generation
    True

    """

    number: int
    centroids: Floats
    mean: Floats
    variance: Floats
    sizes: tuple[int, ...]
    segments: tuple[str, ...]
    histograms: tuple[Histogram, ...] = ()
    provisional: bool = False

    def __post_init__(self) -> None:
        _require(_is_count(self.number) and self.number >= 1, "number", "must be an integer >= 1")
        for name in ("centroids", "mean", "variance"):
            try:
                array = read_only(getattr(self, name))
            except (TypeError, ValueError):
                raise ValueError(f"generation {name} must be a regular array of numbers") from None
            _require(not np.isinf(array).any(), name, "must be finite, or NaN when unknown")
            object.__setattr__(self, name, array)
        _require(self.centroids.ndim == 2, "centroids", "must have shape (k, d)")
        k, d = self.centroids.shape
        _require(2 <= k <= np.iinfo(np.int8).max, "centroids", "must be from 2 to 127")
        _require(self.mean.shape == (d,), "mean", f"must have shape ({d},)")
        _require(self.variance.shape == (d,), "variance", f"must have shape ({d},)")
        _require(not (self.variance < 0).any(), "variance", "must not be negative")
        _require(
            len(self.sizes) == k and all(_is_count(size) for size in self.sizes),
            "sizes",
            f"must be {k} integers >= 0",
        )
        _require(
            len(self.segments) == k and all(_is_name(segment) for segment in self.segments),
            "segments",
            f"must be {k} segment ids",
        )
        _require(len(set(self.segments)) == k, "segments", "must be distinct")
        _require(len(self.histograms) in (0, d), "histograms", f"must be {d}, or none")
        _require(isinstance(self.provisional, bool), "provisional", "must be true or false")
        object.__setattr__(self, "sizes", tuple(self.sizes))
        object.__setattr__(self, "segments", tuple(self.segments))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Generation):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.number, self.segments, self.sizes))

    @classmethod
    def of(cls, fit: Fit, *, number: int, segments: Sequence[str], **more: Any) -> Generation:
        """Create a generation from a batch fit; ``more`` are histograms and provisional."""
        return cls(
            number=number,
            centroids=fit.centroids,
            mean=fit.mean,
            variance=fit.variance,
            sizes=fit.sizes,
            segments=tuple(segments),
            **more,
        )

    def widened(self, columns: Sequence[int], d: int) -> Generation:
        """Map the features to the given columns of `d`; the others are unknown. No histograms."""

        def wide(array: Floats) -> Floats:
            moved = np.full((*array.shape[:-1], d), np.nan)
            moved[..., columns] = array
            return moved

        return replace(
            self,
            centroids=wide(self.centroids),
            mean=wide(self.mean),
            variance=wide(self.variance),
            histograms=(),
        )

    def to_dict(self) -> Json:
        """Return plain numbers, strings and lists for JSON, with None for NaN."""
        return {
            "number": self.number,
            "centroids": [_nullable(row) for row in self.centroids],
            "mean": _nullable(self.mean),
            "variance": _nullable(self.variance),
            "sizes": list(self.sizes),
            "segments": list(self.segments),
            "histograms": [
                {"edges": list(each.edges), "counts": list(each.counts)} for each in self.histograms
            ],
            "provisional": self.provisional,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Generation:
        """Inverse of `to_dict`.

        Raises
        ------
        ValueError
            If a field is missing or invalid; the message names it. Unknown fields are ignored;
            histograms and provisional are optional.

        """
        optional = ("histograms", "provisional")
        missing = [n for n in cls.__slots__ if n not in fields and n not in optional]
        if missing:
            raise ValueError(f"generation lacks {', '.join(missing)}")
        for name in ("centroids", "mean", "variance", "sizes", "segments"):
            _require(isinstance(fields[name], list | tuple), name, "must be a list")
        known = {name: fields[name] for name in cls.__slots__ if name in fields}
        try:
            histograms = tuple(
                Histogram(tuple(each["edges"]), tuple(each["counts"]))
                for each in fields.get("histograms", ())
            )
        except (KeyError, TypeError):
            raise ValueError("generation histograms must each have edges and counts") from None
        return cls(**{**known, "histograms": histograms})


def _require(condition: bool, name: str, rule: str) -> None:
    if not condition:
        raise ValueError(f"generation {name} {rule}")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _nullable(values: Floats) -> list[float | None]:
    return [None if np.isnan(value) else value for value in values.tolist()]
