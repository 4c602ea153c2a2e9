"""What a log of events says: what people look for, what they do not find, and which results they take."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any

from serupa.events.log import Click, Event, Purchase, Search

RANKS = 20
"""Of how many ranks the share of clicks is told."""

_ROWS = 20
_FEWEST_TOGETHER = 2  # searches: once may be chance
_LARGEST_GROUP = 20
_CHANCE = 0.01
_FEWEST = 3  # searches that share their words: fewer might show what one person wrote


@dataclass(frozen=True, slots=True)
class Asked:
    """What was looked for in one way.

    Parameters
    ----------
    by : {"item", "kind", "words"}
        An item of the catalogue, the kind of garment that photos showed, or words.
    what : str
    searches, clicked, first, bought : int
        Searches; of them, those with a result that was followed, whose first result was, and that ended in a
        purchase.
    """

    by: str
    what: str
    searches: int = 0
    clicked: int = 0
    first: int = 0
    bought: int = 0


@dataclass(frozen=True, slots=True)
class Rank:
    """How often a rank was shown and followed."""

    rank: int
    shown: int
    clicked: int


@dataclass(frozen=True, slots=True)
class Insights:
    """What a log says.

    Parameters
    ----------
    searches, clicked, bought : int
        Searches; of them, those with a result that was followed, and that ended in a purchase.
    purchases : int
        All that the shop told, of a search or not.
    asked : list of Asked
        What people look for, most frequent first.
    not_found : list of Asked
        What found nothing, or nothing close.
    not_first : list of Asked
        Where results were followed, but never the first.
    filters : list of (str, int)
        The filters in use, and how often.
    ranks : list of Rank
        From 1 to at most `RANKS`.
    """

    searches: int = 0
    clicked: int = 0
    bought: int = 0
    purchases: int = 0
    asked: list[Asked] = field(default_factory=list)
    not_found: list[Asked] = field(default_factory=list)
    not_first: list[Asked] = field(default_factory=list)
    filters: list[tuple[str, int]] = field(default_factory=list)
    ranks: list[Rank] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return asdict(self)


def insights_of(events: Iterable[Event]) -> Insights:
    """Return what events say.

    A click or purchase counts for a search that is in the log and showed the item, once.
    """
    searches: dict[str, Search] = {}
    followed: dict[str, set[str]] = defaultdict(set)
    bought: dict[str, set[str]] = defaultdict(set)
    purchases = 0
    for event in events:
        match event:
            case Search():
                searches[event.id] = event
            case Click():
                followed[event.search].add(event.item)
            case Purchase():
                purchases += 1
                if event.search is not None:
                    bought[event.search].add(event.item)
    shown, taken = Counter[int](), Counter[int]()
    filters = Counter[str]()
    of: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    missing = Counter[tuple[str, str]]()
    begun = clicked_searches = bought_searches = 0
    for number, search in searches.items():
        ranked = {item: n for n, item in enumerate(search.shown, search.offset + 1)}
        clicked = followed[number] & ranked.keys()
        sold = bool(bought[number] & ranked.keys())
        shown.update(ranked.values())
        taken.update(ranked[item] for item in clicked)
        if search.offset:  # a further page of a search that counts already
            continue
        begun += 1
        filters.update(search.where)
        clicked_searches += bool(clicked)
        bought_searches += sold
        what = _what(search)
        if what is not None:
            of[what].update(
                searches=1, clicked=bool(clicked), first=any(ranked[one] == 1 for one in clicked), bought=sold
            )
            missing[what] += not search.shown or search.close is False
    known = {
        what: counts for what, counts in of.items() if what[0] != "words" or counts["searches"] >= _FEWEST
    }
    asked = sorted((_asked(what, counts) for what, counts in known.items()), key=lambda one: -one.searches)
    none = [Asked(*what, searches=count) for what, count in missing.most_common() if count and what in known]
    return Insights(
        searches=begun,
        clicked=clicked_searches,
        bought=bought_searches,
        purchases=purchases,
        asked=asked[:_ROWS],
        not_found=none[:_ROWS],
        not_first=[one for one in asked if one.clicked and not one.first][:_ROWS],
        filters=filters.most_common(_ROWS),
        ranks=[Rank(n, shown[n], taken[n]) for n in range(1, RANKS + 1) if shown[n]],
    )


def followed_together(events: Iterable[Event]) -> list[list[str]]:
    """Return groups of items that shoppers follow together, for a search to learn from.

    Two items go together when searches that were made with one, or led to it, led to the other more often
    than their places in the results explain, since people follow what stands on top [1]_: by how often each
    place is followed, chance would do that in less than 1 of 100 pairs. What goes with the same item is one
    group; one of more than `_LARGEST_GROUP` items says nothing.

    References
    ----------
    .. [1] T. Joachims, L. Granka, B. Pan, H. Hembrooke, G. Gay, "Accurately interpreting clickthrough data as
       implicit feedback", SIGIR 2005.
    """
    searches: dict[str, Search] = {}
    followed: dict[str, set[str]] = defaultdict(set)
    for event in events:
        if isinstance(event, Search):
            searches[event.id] = event
        elif isinstance(event, Click) and event.search in searches:
            followed[event.search].add(event.item)
    shown, taken = Counter[int](), Counter[int]()
    for number, search in searches.items():
        for rank, item in _ranked(search):
            shown[rank] += 1
            taken[rank] += item in followed[number]
    share = {rank: taken[rank] / shown[rank] for rank in shown}
    counts = Counter[tuple[str, str]]()
    expected: dict[tuple[str, str], float] = defaultdict(float)
    for number, search in searches.items():
        clicked = followed[number] & {item for _, item in _ranked(search)}
        counts.update(combinations(sorted(clicked | ({search.item} if search.item else set())), 2))
    counts = Counter({pair: count for pair, count in counts.items() if count >= _FEWEST_TOGETHER})
    for search in searches.values():
        chances = {item: share[rank] for rank, item in _ranked(search)}
        if search.item is not None:
            chances[search.item] = 1.0
        for one, other in combinations(sorted(chances), 2):
            if (one, other) in counts:
                expected[one, other] += chances[one] * chances[other]
    group = {item: {item} for pair in counts for item in pair}
    for (one, other), count in counts.items():
        if _by_chance(count, expected[one, other]) < _CHANCE:
            joined = group[one] | group[other]
            group |= dict.fromkeys(joined, joined)
    groups = {id(items): items for items in group.values()}
    return sorted(sorted(items) for items in groups.values() if 1 < len(items) <= _LARGEST_GROUP)


def _ranked(search: Search) -> Iterable[tuple[int, str]]:
    """Return what a search showed with its ranks, to `RANKS`."""
    return [(rank, item) for rank, item in enumerate(search.shown, search.offset + 1) if rank <= RANKS]


def _by_chance(count: int, expected: float) -> float:
    """Return how likely at least so many are where so many are expected, by Poisson's distribution."""
    return 1.0 - math.exp(-expected) * sum(expected**n / math.factorial(n) for n in range(count))


def _asked(what: tuple[str, str], counts: Mapping[str, int]) -> Asked:
    return Asked(*what, counts["searches"], counts["clicked"], counts["first"], counts["bought"])


def _what(search: Search) -> tuple[str, str] | None:
    """Return what a search was for, in words that many searches may share."""
    for by, what in (("words", search.words), ("item", search.item), ("kind", search.kind)):
        if what:
            return by, what
    return None
