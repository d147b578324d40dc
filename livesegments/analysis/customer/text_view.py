"""An answer for people to read: lines of at most 80 columns, but for ids and names."""

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Any

from contracts.segments import Feature
from features.catalogue import BY_NAME
from livesegments.analysis.customer.models import Answer
from livesegments.rendering.formats import UNKNOWN, number

Json = dict[str, Any]
_BECAUSE = {
    "consent": "consent to profiling was denied",
    "no_purchase": "no purchase in the window",
    "no_model": "there is no model yet (livesegments doctor says what it waits for)",
    "not_scored": "not scored as yet: the next purchase or sweep does it",
}
_NOTHING = {
    "erased": "was erased: nothing is kept",
    "suppressed": "is suppressed by an erasure request: nothing is kept, and nothing is taken",
}
_WITH_CENTS = 100_000
_SHOWN_TILES = 4
_SHOWN_MOMENTS = 6


def lines(answer: Answer) -> Iterator[str]:
    """Yield an answer, top to bottom."""
    if answer.status in _NOTHING:
        yield f"Customer {answer.customer_id} {_NOTHING[answer.status]}"
        return
    yield f"Customer {answer.customer_id}"
    yield from _where(answer)
    yield from _what_is_known(answer)
    if answer.why is not None:
        yield ""
        yield from _why(answer.why)
    if answer.outlook is not None:
        yield ""
        yield from _outlook(answer)
    if answer.history is not None:
        yield ""
        yield from _history(answer.history)


def _where(answer: Answer) -> Iterator[str]:
    if answer.segment is None:
        yield _row("Segment", f"none: {_BECAUSE[answer.because or 'not_scored']}")
    else:
        since = f"since {_minute(answer.since)}, version {answer.version}"
        yield _row("Segment", f"{answer.segment['name']}, {since}")
    why, outlook = answer.why, answer.outlook
    if why is not None:
        yield _row("Nearest", f"{_name(why['nearest'])} (cluster {why['cluster']})")
        yield from _runner_up(why)
    if outlook is not None and outlook["moves_when_next_scored"]:
        then = _name(outlook["when_next_scored"])
        yield _row("Due", f"{then}, at the next purchase or sweep")


def _runner_up(why: Json) -> Iterator[str]:
    margin, name = why["margin"], _name(why["runner_up"])
    nearer, dwells = margin["nearer_by"], _minute(margin["dwells_until"])
    if nearer is None:
        yield _row("Runner-up", name)
        return
    # Rounded down, or what is not quite enough would look as if it were.
    apart = f"{int(nearer * 1000) / 10:g}% nearer" if nearer > 0 else f"{-nearer:.0%} farther"
    yield _row("Runner-up", f"{name}, {apart}")
    if margin["held_by"] == "dwell":
        yield _row("", f"held back until {dwells} (MIN_DWELL)")
        return
    held = "held back: " if margin["held_by"] else ""
    yield _row("", f"{held}{margin['needed']:.0%} nearer is needed to switch (SWITCH_MARGIN)")
    if margin["dwells_until"]:
        yield _row("", f"no switch before {dwells} (MIN_DWELL)")


def _what_is_known(answer: Answer) -> Iterator[str]:
    window, profile, consent = answer.window or {}, answer.profile or {}, answer.consent or {}
    yield _row(
        "Window",
        f"{_purchases(window['purchases'])}, {_money(window, window['spend'])}"
        f" in {window['days']} days to {_minute(answer.as_of)}",
    )
    tiles = window["tiles"]
    if len(tiles) > _SHOWN_TILES:
        yield _row("", f"{len(tiles) - _SHOWN_TILES} tiles with purchases before, then")
    for tile in tiles[-_SHOWN_TILES:]:
        yield _row(
            "",
            f"from {tile['from'][:10]} {_purchases(tile['purchases'])},"
            f" {_money(window, tile['spend'])}; leave {tile['leaves'][:10]}",
        )
    known = [
        f"age {profile['age']:g}" if profile["age"] is not None else "age unknown",
        f"income {profile['income']:,.0f}" if profile["income"] is not None else "income unknown",
        profile["location"] or "location unknown",
    ]
    updated = f" ({profile['updated_at'][:10]})" if profile["updated_at"] else ""
    yield _row("Profile", ", ".join(known) + updated)
    given = {None: "not said", True: "given", False: "denied"}
    yield _row(
        "Consent",
        f"marketing {given[consent['marketing']]}, profiling {given[consent['profiling']]}",
    )
    if answer.erased_before:
        yield _row("Erasure", f"nothing of before {_minute(answer.erased_before)} counts")
    model = answer.model
    if model is not None:
        last = model["scored_under"]
        under = f", last scored under {last}" if last != model["generation"] and last else ""
        early = ", provisional while windows fill" if model["provisional"] else ""
        yield _row("Model", f"generation {model['generation']}{under}{early}")
    yield _row("Partition", f"{answer.partition}")


def _why(why: Json) -> Iterator[str]:
    own, other = _name(why["of"]), _name(why["runner_up"])
    verb = "nearest to" if why["of"] == why["nearest"] else "published as"
    yield f"Why: {verb} {own}, and next to {other}"
    yield f"{'':24}{own:>26}{other:>26}"
    yield (
        f"{'feature':<12}{'value':>12}" + f"{'z':>7}{'mean':>10}{'z':>7}{'part':>6}"
        f"{'mean':>13}{'z':>7}{'part':>6}"
    )
    for each in why["features"]:
        mine, theirs = each["own"], each["runner_up"]
        yield (
            f"{each['feature']:<12}{_number(each['feature'], each['value']):>12}"
            f"{_z(each['z_score']):>7}{_number(each['feature'], mine['centroid']):>10}"
            f"{_z(mine['z_score']):>7}{_share(each, mine):>6}"
            f"{_number(each['feature'], theirs['centroid']):>13}"
            f"{_z(theirs['z_score']):>7}{_share(each, theirs):>6}"
        )
    yield "(z: standard deviations from the mean of all; part: of the squared distance)"
    distances = ", ".join(
        f"{_name(each['segment'])} {each['distance']:.2f}" for each in why["distances"]
    )
    yield from wrap(f"Distances: {distances}", 80, subsequent_indent=" " * 11)


def _outlook(answer: Answer) -> Iterator[str]:
    outlook, window = answer.outlook or {}, answer.window or {}
    yield "What would move them, the least of each alone:"
    bought = outlook["purchases_like_theirs"]
    if bought:
        amount = _money(window, bought["spend_each"])
        what = f"{_purchases(bought['purchases'])} more of {amount}"
        yield f"  {what:<50} -> {_name(bought['segment'])}"
    for each in outlook["one_feature"]:
        yield f"  {_change(each):<50} -> {_name(each['segment'])}"
    if not bought and not outlook["one_feature"]:
        yield "  nothing that a person could be thought to change"
    yield from _time_alone(outlook["time_alone"], answer.segment, window)


def _change(each: Json) -> str:
    feature, change = each["feature"], each["change"]
    now, then = _number(feature, each["from"]), _number(feature, each["to"])
    if not change:
        return f"{feature} {now} as it is"
    by, direction = _number(feature, abs(change)), "more" if change > 0 else "less"
    return f"{feature} {now}, if it were {then} ({by} {direction})"


def _time_alone(moments: Sequence[Json], now: Json | None, window: Json) -> Iterator[str]:
    yield "If they buy no more, as the clock goes on:"
    # What leaves first, and every move; the other expiries say little.
    before = [now, *(each["segment"] for each in moments)]
    told = [
        (each, each["segment"] != segment)
        for i, (each, segment) in enumerate(zip(moments, before, strict=False))
        if i == 0 or each["segment"] != segment
    ]
    for each, moves in told[:_SHOWN_MOMENTS]:
        left = f"{_purchases(each['purchases'])}, {_money(window, each['spend'])} left"
        where = f"-> {_name(each['segment'])}" if moves else f"still {_name(each['segment'])}"
        yield f"  {each['at'][:10]}  {left:<38} {where}"


def _history(history: Json) -> Iterator[str]:
    changes = history["changes"]
    yield "Changes, newest first:" if changes else "No changes:"
    for each in changes:
        before, after = _name(each["previous_segment"]), _name(each["segment"])
        yield (
            f"  {_minute(each['occurred_at'])}  {before} -> {after}"
            f"  ({each['origin']}, version {each['version']})"
        )
    if history["whole"]:
        yield "  and none before, as far back as the log goes"
    elif not changes:
        yield f"  none among the newest {history['searched']:,} of their partition (--search)"


def _row(label: str, text: str) -> str:
    return f"  {label:<10}{text}"


def _name(segment: Json | None) -> str:
    return "no segment" if segment is None else str(segment["name"])


def _purchases(count: int) -> str:
    return f"{count:,} purchase" + ("" if count == 1 else "s")


def _money(window: Json, amount: float) -> str:
    return f"{amount:,.2f} {window['currency']}"


def _minute(text: str | None) -> str:
    """Return an RFC 3339 time in UTC to the minute."""
    return UNKNOWN if text is None else f"{text[:10]} {text[11:16]} UTC"


def _number(feature: Feature, value: float | None) -> str:
    if value is None:
        return UNKNOWN
    of = BY_NAME[feature]
    if of.step < 1:
        return number(value, 0 if value >= _WITH_CENTS else 2 if of.is_money else 1)
    return number(value, of.digits).removesuffix(".0")


def _z(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:+.2f}"


def _share(feature: Json, part: Json) -> str:
    return UNKNOWN if feature["value"] is None else f"{part['share']:.0%}"
