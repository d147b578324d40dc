"""The answer about a customer as plain data, as `livesegments customer --json` writes it."""

from livesegments.analysis.customer.explanation import Explanation, Json, instant
from livesegments.analysis.customer.lookup import StoredCustomer
from livesegments.consumers.modelling.definitions import to_definitions
from livesegments.consumers.scoring import NONE
from livesegments.domain import Model, ProcessingConfig
from livesegments.features.record_codec import NEVER
from livesegments.features.window import window
from livesegments.operations.export import LOCATIONS
from livesegments.rendering.formats import is_doubted, known

_CONSENTS = {-1: None, 0: False, 1: True}


def nothing_kept(found: StoredCustomer) -> Json | None:
    """Return the answer for a suppressed or erased customer, None for any other."""
    if found.marker.suppressed or found.record["suppressed"][0]:
        return {"customer_id": found.customer_id, "status": "suppressed"}
    return {"customer_id": found.customer_id, "status": "erased"} if found.is_empty else None


def answer(
    found: StoredCustomer,
    model: Model | None,
    config: ProcessingConfig,
    clock_us: int,
    history: Json | None,
) -> Json:
    """Return the answer for a customer with a record.

    There is no model during the warm-up, and no history when it is not requested.

    Returns
    -------
    ``because`` is the reason for no segment: ``consent``, ``no_purchase``, ``no_model`` or
    ``not_scored``. The window ends at ``as_of``; events before ``erased_before`` no longer count,
    by an erasure request. ``segment``, ``since`` and ``version`` are as last published; ``why`` has
    the distances and the contribution of each feature, ``outlook`` the changes that would move the
    customer. ``doubted`` are the ids of segments whose customers are far from what the name says.
    """
    record, names = found.record[0], dict(config.segments)
    published = int(record["segment"])
    refs: list[Json | None] = [
        {"id": each, "name": names.get(each, each)} for each in found.deployment.segments
    ]
    refs.append(None)  # index NONE
    assigned = published != NONE
    in_window = _window(found, clock_us)
    explanation = model and Explanation(found.record, model, config, clock_us, refs)
    because = (
        "consent"
        if record["profiling"] == 0
        else "no_purchase"
        if not in_window["purchases"]
        else "no_model"
        if model is None
        else "not_scored"
    )
    updated = int(record["profile_updated"])
    return {
        "customer_id": found.customer_id,
        "status": "assigned" if assigned else "unassigned",
        "because": None if assigned else because,
        "partition": found.partition,
        "as_of": instant(clock_us),
        "erased_before": instant(found.marker.cutoff_us) if found.marker.cutoff_us else None,
        "segment": refs[published],
        "doubted": [
            each["id"]
            for each in (to_definitions(model, config.segmentation) if model else ())
            if is_doubted(each["persona_distance"])
        ],
        "since": instant(int(record["since"])) if assigned else None,
        "version": int(record["version"]) or None,
        "window": in_window,
        "profile": {
            "age": known(record["age"], 2),
            "income": known(record["income"], 2),
            "location": LOCATIONS.get(float(record["urbanicity"])),
            "updated_at": None if updated == NEVER else instant(updated),
        },
        "consent": {
            "marketing": _CONSENTS[int(record["marketing"])],
            "profiling": _CONSENTS[int(record["profiling"])],
        },
        "model": model
        and {
            "generation": model.generation.number,
            "scored_under": int(record["generation"]) or None,
            "provisional": model.generation.provisional,
        },
        "why": explanation.why() if explanation and explanation.counted else None,
        "outlook": explanation.outlook() if explanation and assigned else None,
        "history": history,
    }


def _window(found: StoredCustomer, clock_us: int) -> Json:
    layout, record = found.layout, found.record[0]
    clock_tile = layout.tile(clock_us)
    at = window(found.record, clock_tile, layout)
    slots = layout.tiles
    tiles = [
        {
            "from": instant(layout.end(tile - 1)),
            "until": instant(layout.end(tile)),
            "leaves": instant(layout.end(tile + slots - 1)),
            "purchases": int(record["counts"][tile % slots]),
            "spend": int(record["cents"][tile % slots]) / 100,
        }
        for tile in range(clock_tile - slots + 1, int(record["head"]) + 1)
        if record["counts"][tile % slots] or record["cents"][tile % slots]
    ]
    return {
        "days": layout.window_days,
        "tile_days": layout.window_days / layout.tiles,
        "purchases": int(at.purchases[0]),
        "spend": int(at.cents[0]) / 100,
        "currency": found.deployment.currency,
        "tiles": tiles,
    }
