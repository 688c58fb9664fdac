"""`plan`: what a run would do, of one image or of many."""

from collections.abc import Callable, Sequence

from denoise_daisy.config import AnyConfig, Config
from denoise_daisy.runs import many_views, planning
from denoise_daisy.runs.many_views import PlanOfMany
from denoise_daisy.runs.plan import Plan

Say = Callable[[str], None]


def plan(
    config: AnyConfig,
    *,
    tasks: Sequence[str] = (),
    unchecked_ndsafir: bool = False,
    probe: bool = False,
    extend: bool = False,
    say: Say = lambda _: None,
) -> Plan:
    """What a run of this config would do: blocks, context, memory, hours, disk.

    Nothing is started or written.

    Parameters
    ----------
    config
        A config, its path or a dict, of one image; see `plan_many`.
    tasks
        Only these tasks of the config (``denoise`` is the first); none: all.
    unchecked_ndsafir
        Accept a version of ndsafir that blocks were not checked with.
    probe
        Denoise one block, to measure its time and memory; may take minutes.
    extend
        Plan to go on where the image has got longer along t.
    say
        Takes what a person should read meanwhile.

    Returns
    -------
    Plan
        Values by name, shapes of ``(t, z, y, x)`` in voxels unless said otherwise;
        `str` and a notebook show them.

    Raises
    ------
    InputError, RefusedError
        As `run` would; or that block can't be done.
    """
    return planning.plan(
        Config.of(config),
        tasks=tasks,
        unchecked_ndsafir=unchecked_ndsafir,
        probe=probe,
        extend=extend,
        say=say,
    )


def plan_many(
    config: AnyConfig,
    *,
    tasks: Sequence[str] = (),
    unchecked_ndsafir: bool = False,
    probe: bool = False,
    extend: bool = False,
    say: Say = lambda _: None,
) -> PlanOfMany:
    """What a run of a config that names many images would do, image by image.

    Arguments are those of `plan`.

    Raises
    ------
    InputError, RefusedError
        As `run` would.
    """
    return many_views.plan_many(
        Config.of(config),
        tasks=tasks,
        unchecked_ndsafir=unchecked_ndsafir,
        probe=probe,
        extend=extend,
        say=say,
    )
