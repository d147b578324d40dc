from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from livesegments.contracts.segments import SegmentChange
from livesegments.contracts.topics import PROFILES
from livesegments.domain import Model
from livesegments.model.vectors import Floats, dequantize
from tests.consumers.harness import (
    LAYOUT,
    RETIREE,
    RULES,
    SEGMENTS,
    STD,
    STUDENT,
    World,
    erasure,
    generation,
    model,
    model_of,
    profile,
    purchase,
    switching,
)
from tests.segmentations import PERSONAS

FEATURES = PERSONAS.feature_names
PROFILE_FEATURES = [each.name for each in PERSONAS.features if each.is_profile]
CUSTOMERS = ("a", "b")
ROUNDED = 1e-3

customers = st.sampled_from(CUSTOMERS)
amounts = st.tuples(st.sampled_from([1, 3, 12]), st.sampled_from([1.0, 20.0, 400.0, -30.0]))
known: dict[str, Any] = {
    "age": st.sampled_from([19, 40, 75]),
    "income": st.sampled_from([15_000, 60_000, 150_000]),
    "location": st.sampled_from(["urban", "rural"]),
}
steps = st.one_of(
    st.tuples(st.just("purchases"), customers, amounts),
    st.tuples(st.just("purchases"), customers, amounts),
    st.tuples(st.just("profile"), customers, st.fixed_dictionaries({}, optional=known)),
    st.tuples(st.just("deletion"), customers, st.none()),
    st.tuples(st.just("erasure"), customers, st.sampled_from(["erase", "suppress", "restore"])),
    st.tuples(st.just("days"), st.just(""), st.sampled_from([1, 5, 9, 16])),
    st.tuples(st.just("refit"), st.just(""), st.sampled_from([-0.6, 0.3, 1.0])),
)


@dataclass
class Place:
    """Vector and model of a customer's last change, recomputed by the test."""

    vector: Floats
    model: Model
    tile: int
    bought: bool = False


def shifted(number: int, shift: float) -> Model:
    """A model whose centroids differ from the personas', each in its own direction."""
    fitted = generation(number, turn=number % 5)
    directions = np.linspace(-1, 1, len(SEGMENTS))[list(map(SEGMENTS.index, fitted.segments))]
    moved = fitted.centroids + shift * STD * directions[:, None]
    return model_of(replace(fitted, centroids=moved))


def gap(vector: Floats, by: Model, left: str, entered: str) -> float:
    """Return by feature how much nearer one segment's centroid is than another's, squared."""
    places = dict(zip(by.generation.segments, by.snapshot.centroids, strict=True))
    total = 0.0
    for i, value in enumerate(vector.tolist()):
        if value == value:
            z = [(value - places[segment][i]) / by.snapshot.std[i] for segment in (left, entered)]
            total += z[0] ** 2 - z[1] ** 2
    return total


def parts_of(change: SegmentChange) -> float:
    others = change.other_contributions
    assert others is not None
    named = sum(each.contribution or 0.0 for each in change.explanation)
    return named + (others.model or 0.0) + others.profile


def check(change: SegmentChange, vector: Floats, before: Place | None, by: Model) -> None:
    """Compare the explanation of a change with the places that the test has remembered."""
    names = {each.feature for each in change.explanation}
    assert len(names) == len(change.explanation)
    contributions = [each.contribution or 0.0 for each in change.explanation]
    assert contributions == sorted(contributions, reverse=True)
    if change.origin == "expiry":
        assert not names & set(PROFILE_FEATURES)
    assert change.segment is not None
    assert change.other_contributions is not None
    for each in change.explanation:
        place = FEATURES.index(each.feature)
        z = by.snapshot.zscores(vector)[place]
        assert abs(each.z_score - z) < 0.006
        assert each.direction == ("above" if each.z_score >= 0 else "below")
        if before is None or np.isnan(before.vector[place]):
            assert each.previous_z_score is None
        else:
            assert before.vector[place] != vector[place], "names a feature that did not change"
            assert each.previous_z_score is not None
            assert abs(each.previous_z_score - by.snapshot.zscores(before.vector)[place]) < 0.006
    assert change.runner_up is not None
    left = change.previous_segment or change.runner_up
    whole = gap(vector, by, left.id, change.segment.id)
    if before is None:
        assert change.other_contributions.model is None
        assert abs(parts_of(change) - whole) < ROUNDED
        return
    start = gap(before.vector, before.model, left.id, change.segment.id)
    today = gap(before.vector, by, left.id, change.segment.id)
    error = ROUNDED + 2**-10 * (abs(start) + abs(today))
    assert abs(parts_of(change) - (whole - start)) < error
    if before.model is by:
        assert change.other_contributions.model == 0


class Followed:
    """A world with few features that stay, and the places of its customers."""

    def __init__(self) -> None:
        self.world = World(config=switching(RULES, margin=0.0))
        self.day, self.model, self.places = 1.0, model(), dict[str, Place]()
        for name, who in zip(CUSTOMERS, (STUDENT, RETIREE), strict=True):
            self.take("profile", name, who)
            self.take("purchases", name, (1, 20.0))

    def take(self, kind: str, name: str, what: Any) -> None:
        """Do one step and check the changes that it makes."""
        seen = len(self.world.changes)
        self.day += 0.01
        if kind == "refit":
            self.model = shifted(self.model.generation.number + 1, what)
            self.world.sweep(self.model)
        elif kind == "days":
            self.day += what
            self.world.send(purchase("clock", self.day), model=self.model)
            self.world.sweep(self.model)
        else:
            self.world.send(*self._events(kind, name, what), model=self.model)
        if kind == "erasure":
            self.places.pop(name, None)
        elif kind == "purchases" and name in self.places:
            self.places[name].bought = True
        for change in self.world.changes[seen:]:
            self._check(change)
        for customer in (*CUSTOMERS, "clock"):
            self._remember(customer)

    def _events(self, kind: str, name: str, what: Any) -> list[Any]:
        if kind == "purchases":
            count, amount = what
            return [purchase(name, self.day + i / 10_000, amount) for i in range(count)]
        if kind == "deletion":
            return [(PROFILES, name.encode(), None)]
        if kind == "profile":
            return [profile(name, self.day, **what)]
        return [erasure(name, self.day, what)]

    def _vector(self, customer: str) -> Floats:
        [vector] = dequantize(self.world.stored(customer)["vector"])
        return np.asarray(vector)

    @property
    def _tile(self) -> int:
        return LAYOUT.tile(self.world.owned[0].checkpoint.clock_us)

    def _check(self, change: SegmentChange) -> None:
        before = self.places.pop(change.customer_id, None)
        if change.segment is None:
            assert (change.explanation, change.other_contributions) == ((), None)
            return
        vector = self._vector(change.customer_id)
        check(change, vector, before, self.model)
        alone = before and not before.bought and before.tile == self._tile
        if alone and change.origin == "profile":
            assert {each.feature for each in change.explanation} <= set(PROFILE_FEATURES)
        self.places[change.customer_id] = Place(vector, self.model, self._tile)

    def _remember(self, customer: str) -> None:
        """Forget the place of customers without a segment, and of those with a deleted value."""
        stored = customer in self.world.customers[0]
        if not stored or self.world.stored(customer)["segment"][0] < 0:
            self.places.pop(customer, None)
            return
        vector, kept = self._vector(customer), self.places.get(customer)
        if kept is None or (np.isnan(vector) & ~np.isnan(kept.vector)).any():
            self.places[customer] = Place(vector, self.model, self._tile)


@given(st.lists(steps, min_size=4, max_size=20))
def test_reasons_are_what_happened_since_the_last_change(drawn: list[tuple[str, str, Any]]) -> None:
    followed = Followed()
    for step in drawn:
        followed.take(*step)
    followed.world.check()


def test_a_customer_moved_by_the_model_alone_is_told_so() -> None:
    world = World()
    world.send(profile("c", 0, **STUDENT), purchase("c", 1, 40.0), model=model())
    world.sweep(model(2, turn=1))
    assert len(world.changes) == 1
    for shift in np.linspace(0.5, 5, 10).tolist():
        world.sweep(shifted(3 + round(shift * 10), shift))
    change = world.changes[1]
    assert change.origin == "model"
    assert change.explanation == ()
    assert change.other_contributions is not None
    assert change.other_contributions.model is not None
    assert change.other_contributions.model > 0


def test_time_names_no_profile_that_changed_before() -> None:
    world = World(config=switching(RULES, margin=0.0))
    spent = [purchase("c", 1 + i / 50, 300.0) for i in range(40)]
    world.send(profile("c", 0, age=45, income=90_000), *spent, model=model())
    world.send(profile("c", 2, age=60, income=40_000), model=model())
    assert len(world.changes) == 1, "the profile alone must not move them"
    world.send(purchase("c", 15, 5.0), purchase("clock", 15), model=model())
    world.send(purchase("clock", 23.0), model=model())
    world.sweep(model())
    change = next(each for each in world.changes[1:] if each.customer_id == "c")
    assert change.origin == "expiry"
    assert {each.feature for each in change.explanation} == {"purchases", "spend"}
    assert change.other_contributions is not None
    assert change.other_contributions.profile != 0


def test_nothing_of_before_an_erasure_goes_out_or_stays() -> None:
    world = World()
    world.send(profile("c", 0, **STUDENT), purchase("c", 1, 40.0), model=model())
    place = world.stored("c")["place"]
    assert (place == world.stored("c")["vector"]).all()
    more = [purchase("c", 9 + i / 50, 400.0) for i in range(30)]
    world.send(erasure("c", 5), *more, profile("c", 9, **RETIREE), model=model())
    world.sweep(model())
    change = world.changes[-1]
    assert (change.change, change.origin) == ("assigned", "erasure")
    assert [each.previous_z_score for each in change.explanation] == [None] * 5
    assert change.other_contributions is not None
    assert change.other_contributions.model is None
    found = world.stored("c")
    assert (found["place"] == found["vector"]).all()


def test_a_deleted_value_does_not_stay_in_the_place_of_a_customer() -> None:
    world = World()
    world.send(profile("c", 0, **STUDENT), purchase("c", 1, 40.0), model=model())
    world.send(profile("c", 2, age=20, income=20_000), model=model())
    assert len(world.changes) == 1
    found = world.stored("c")
    assert np.isnan(dequantize(found["place"])[0]).tolist() == [False] * 4 + [True]
