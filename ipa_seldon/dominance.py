"""Which of many points no other one beats. Array work: points that are as good in a criterion are bits of words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ipa_seldon.programs import Floats

_BLOCK = 2048  # points that are compared at a time: the words for them are of the square of this many bits
_WORD = 64


def undominated(criteria: Sequence[Floats] | Floats) -> NDArray[np.intp]:
    """Rows that no other row beats: each array, shape (k,), holds one criterion, smaller is better.

    Of equal rows the first stays. It is fastest with the criteria of the fewest different values first.
    """
    values = np.asarray(criteria, dtype=np.float64)
    order = np.lexsort(values[::-1])
    order = order[_lows(values[:, order])]
    if len(values) <= 2:
        return np.sort(order)
    kept = order[:0]
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        rivals = np.concatenate((kept, block))
        # In lexicographic order only an earlier row can beat a later one, and the first criterion needs no comparison.
        place = np.arange(float(len(rivals)))
        points = np.vstack((values[1:, block], place[len(kept) :] - 0.5))
        beaten = beats(np.vstack((values[1:, rivals], place)), points)
        kept = np.concatenate((kept, block[~beaten]))
    return np.sort(kept)


def _lows(values: Floats) -> NDArray[np.bool_]:
    """Of rows in lexicographic order those that set a new low in the last criterion, among all that are equal in every
    criterion but the last two: the others are beaten.
    """
    if not values.size:
        return np.zeros(0, dtype=np.bool_)
    last = values[-1]
    if len(values) > 2:
        # Ranks of later runs lie below those of earlier ones: one running minimum starts again with each of them.
        starts = np.append(True, (values[:-2, 1:] != values[:-2, :-1]).any(axis=0))
        last = np.unique(last, return_inverse=True)[1] - len(starts) * np.cumsum(starts)
    return np.append(True, last[1:] < np.minimum.accumulate(last)[:-1])


def beats(rivals: Floats, points: Floats) -> NDArray[np.bool_]:
    """Which of ``points``, shape (criteria, n), some rival, shape (criteria, m), is at least as good as."""
    count = rivals.shape[1]
    common = np.full((points.shape[1], -(-count // _WORD)), ~np.uint64(0))
    for theirs, mine in zip(rivals, points, strict=True):
        order = np.argsort(theirs)
        # After the row of no rival one for every rival, in order: the set of it and of those before.
        sets = np.zeros((count + 1, common.shape[1]), dtype=np.uint64)
        sets[np.arange(1, count + 1), order // _WORD] = np.uint64(1) << (order % _WORD).astype(np.uint64)
        np.bitwise_or.accumulate(sets, axis=0, out=sets)
        common &= sets[np.searchsorted(theirs[order], mine, side="right")]
    beaten: NDArray[np.bool_] = common.any(axis=1)
    return beaten
