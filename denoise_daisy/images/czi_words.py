"""What a CZI holds, in words for a message."""

from collections.abc import Mapping, Sequence

MOST_LISTED = 20
"""Scenes, positions or channels in a message."""


def size_text(sizes: Mapping[str, int]) -> str:
    """Numbers of indices by dimension."""
    return " ".join(f"{d} {sizes[d]}" for d in "TCZYXHVIRB" if d in sizes)


def listed(words: Sequence[str], count: int) -> str:
    """So many words, of which the first are there."""
    more = f" and {count - len(words)} more" if count > len(words) else ""
    return ", ".join(words) + more
