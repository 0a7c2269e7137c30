"""Which languages texts are in, by byte sequences that are frequent in each (py3langid)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

_LEAST_CHARACTERS = 200  # fewer do not tell neighbouring languages apart: texts are joined
SAMPLED = 200  # evenly spread, of more


def languages(texts: Sequence[str]) -> list[tuple[str, float]]:
    """ISO 639-1 codes and the share of `texts` in each, the commonest first.

    Short texts are judged together with those beside them, and of many every n-th is looked at, so
    the shares are estimates. Program code and lists of terms get the code they look most like.
    """
    import py3langid

    found: Counter[str] = Counter()
    joined: list[str] = []
    step = -(-len(texts) // SAMPLED) or 1
    for text in texts[::step]:
        joined.append(text)
        if sum(map(len, joined)) >= _LEAST_CHARACTERS:
            found[py3langid.classify(" ".join(joined))[0]] += len(joined)
            joined = []
    if joined:
        # too little for itself: as the others are, where there are others
        code = found.most_common(1)[0][0] if found else py3langid.classify(" ".join(joined))[0]
        found[code] += len(joined)
    total = found.total()
    return [(code, n / total) for code, n in sorted(found.items(), key=lambda i: (-i[1], i[0]))]
