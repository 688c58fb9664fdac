"""Warnings of settings of ndsafir that make little of an image's time points."""

from collections.abc import Iterator, Sequence

from denoise_daisy.denoisers.ndsafir_engine import Algorithm

SEARCHED_FROM = 4
"""The iteration from which on ndsafir searches along t."""

ADVICE = (
    f' Set denoise.active_dimensions to "tyx" and denoise.max_iter to {SEARCHED_FROM},'
    " or denoise.time_as_z to true."
)

OTHERWISE = (
    f" Set denoise.max_iter to {SEARCHED_FROM}, or leave t out of"
    " denoise.active_dimensions."
)


def time_warnings(algorithm: Algorithm, shape: Sequence[int]) -> Iterator[str]:
    """What is said of them, for an image of ``(t, z, y, x)``.

    The errors that are named were measured on a movie of 30 planes whose truth was
    known, and whose own error was 32.
    """
    t, z, *_ = shape
    few = algorithm.max_iter < SEARCHED_FROM
    if t == 1:
        return
    if "t" in algorithm.active_dimensions and few:
        yield (
            "denoise.active_dimensions names t, but ndsafir searches along t from"
            f" iteration {SEARCHED_FROM} on, and denoise.max_iter is"
            f" {algorithm.max_iter}: the result is the same as without t."
            + (ADVICE if z == 1 else OTHERWISE)
        )
    elif "t" not in algorithm.active_dimensions and z == 1:
        yield (
            f"The image is a movie of {t} single planes, and ndsafir searches each of"
            " them alone for similar patches: of a movie with known truth the error was"
            f" 5.65 so, and 3.39 with time searched as well.{ADVICE}"
        )
