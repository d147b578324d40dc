"""Query of a running deployment about one customer."""

import time
from collections.abc import Callable

from livesegments.analysis.customer.answer import answer, nothing_kept
from livesegments.analysis.customer.explanation import Json
from livesegments.analysis.customer.history import History, read_history
from livesegments.analysis.customer.lookup import StoredCustomer, look_up
from livesegments.config.clients import kafka_config, redis_client
from livesegments.config.settings import Settings
from livesegments.domain import Model
from livesegments.operations.model_loader import current_model, rules_of
from livesegments.store.partitions import Partitions


def query_customer(
    settings: Settings,
    customer_id: str,
    *,
    newest: int,
    searched: int,
    progress: Callable[[int], None] = lambda _: None,
) -> Json:
    """Return the answer about a customer.

    Reads a few keys of the store, the segment definitions, and the end of the customer's partition
    of the change log; writes nothing and joins no group.

    Parameters
    ----------
    settings
        Of the deployment.
    customer_id
        Of the customer.
    newest, searched
        Number of changes to return, and of records of the change log to search for them.
    progress
        Called with the number of records searched.

    Raises
    ------
    CustomerError
        If the customer is not known.
    """
    config = kafka_config(settings)
    store = Partitions(redis_client(settings), settings.group_id)
    found = look_up(store, customer_id)
    forgotten = nothing_kept(found)
    if forgotten is not None:
        return forgotten
    history = (
        read_history(
            config,
            found.partition,
            customer_id,
            newest=newest,
            since_us=found.marker.cutoff_us,
            searched=searched,
            progress=progress,
        )
        if newest
        else None
    )
    segmentation = settings.read_segmentation()
    model = current_model(config, store, found.deployment, segmentation).model({})
    return answer_now(settings, found, model, history)


def answer_now(
    settings: Settings, found: StoredCustomer, model: Model | None, history: History | None
) -> Json:
    """Return the answer about a customer at the time of their partition's clock."""
    clock_us = found.progress.clock_us
    if settings.clock == "wall":
        clock_us = max(clock_us, time.time_ns() // 1_000)
    rules = rules_of(settings, found.deployment)
    return answer(found, model, rules, dict(rules.segments), clock_us, history)
