"""Ask a running deployment about one customer."""

import time
from collections.abc import Callable

from livesegments.analysis.customer.history import read_history
from livesegments.analysis.customer.lookup import find
from livesegments.analysis.customer.models import Answer, answer, nothing_kept
from livesegments.clients import kafka_config, redis_client
from livesegments.current_model import current_model
from livesegments.settings import Settings
from livesegments.worker import rules
from store.partitions import Partitions


def ask(
    settings: Settings,
    customer_id: str,
    *,
    newest: int,
    searched: int,
    progress: Callable[[int], None] = lambda _: None,
) -> Answer:
    """Return what there is to say of a customer.

    Reads a few keys of the store, the segment definitions, and of the change log the end of the
    customer's partition; it writes nothing and joins no group.

    Parameters
    ----------
    settings
        Of the deployment.
    customer_id
        Whose.
    newest, searched
        How many changes to tell, and how many records of the change log to look through for them.
    progress
        Given the number of records looked through.

    Raises
    ------
    CustomerError
        If the customer is not known.
    """
    config = kafka_config(settings)
    store = Partitions(redis_client(settings), settings.group_id)
    found = find(store, customer_id)
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
    clock_us = found.progress.clock_us
    if settings.clock == "wall":
        clock_us = max(clock_us, time.time_ns() // 1_000)
    return answer(
        found,
        current_model(config, store, found.deployment.partitions, found.deployment.segments).model(
            {}
        ),
        rules(settings).switching,
        {persona.id: persona.name for persona in settings.personas},
        clock_us,
        history,
    )
