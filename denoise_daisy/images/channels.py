"""Channels as a person names them: by number, or by the name that the file has."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from denoise_daisy.errors import InputError
from denoise_daisy.wording import meant

Value = TypeVar("Value")

MOST_LISTED = 20
"""Channels in a message."""


def channel_numbers(
    asked: Sequence[int | str], names: Sequence[str], key: str, of: str
) -> tuple[int, ...]:
    """The numbers of channels, counted from 0, of an image with channels so named.

    `key` is where they are asked for, `of` whose they are to be, both for a message.

    Raises
    ------
    InputError
        There is no such channel, or several have that name, or one is there twice.
    """
    numbers = tuple(_number(channel, names, key, of) for channel in asked)
    if len(set(numbers)) < len(numbers) or max(numbers) >= len(names):
        raise InputError(
            f"{key} is {list(asked)}, but {of} has {len(names)} channels:"
            f" {_listed(names)}. Expected some of {[*range(len(names))][:MOST_LISTED]},"
            " or of these names, each once."
        )
    return numbers


def by_number(
    values: Mapping[str, Value], names: Sequence[str], key: str, of: str
) -> tuple[Value, ...]:
    """The values of an object keyed by the names of channels, in their order.

    Raises
    ------
    InputError
        There is not one for each channel, or a name is not that of just one.
    """
    numbers = [_number(name, names, key, of) for name in values]
    lacking = [name for i, name in enumerate(names) if i not in numbers]
    if lacking:
        raise InputError(
            f"{key} has no number for the channel {lacking[0]!r} of {of}. Expected one"
            f" for each that is denoised: {_listed(names)}."
        )
    by_place = dict(zip(numbers, values.values(), strict=True))
    return tuple(by_place[i] for i in range(len(names)))


def told_apart(names: Sequence[str]) -> tuple[str, ...]:
    """The names, each after its number if several channels have one name."""
    if len(set(names)) == len(names):
        return tuple(names)
    return tuple(f"{i} {name}" for i, name in enumerate(names))


def _number(channel: int | str, names: Sequence[str], key: str, of: str) -> int:
    if isinstance(channel, int):
        return channel
    there = [i for i, name in enumerate(names) if name == channel]
    if len(there) == 1:
        return there[0]
    if there:
        raise InputError(
            f"{key} names the channel {channel!r}, but {of} has {len(there)} of that"
            f" name: {_listed(names)}. Expected their numbers."
        )
    raise InputError(
        f"{key} names the channel {channel!r}{meant(channel, names)}, but {of} has"
        f" {_listed(names)}. Expected one of these."
    )


def _listed(names: Sequence[str]) -> str:
    listed = ", ".join(f"{i} {name!r}" for i, name in enumerate(names[:MOST_LISTED]))
    more = len(names) - MOST_LISTED
    return f"{listed} and {more} more" if more > 0 else listed
