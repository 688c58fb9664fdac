"""What a change of each field of the config leads to, as a table."""

from harness.fingerprinted import (
    ANY_JOBS,
    ANY_TASK,
    ANY_WORKERS,
    BRIGHT,
    CUT,
    FOUND,
    GAUSSIAN,
    GOES_ON,
    INEXACT,
    LOCAL,
    LSF,
    MEDIAN,
    NDSAFIR,
    OF_CELLS,
    OTHER_BLOCKS,
    POISSON,
    SLURM,
    SOFT,
    TWICE,
    AnotherRun,
    Change,
    DoneAgain,
    Fields,
    GoesOn,
    Refused,
    Unusable,
    again,
    bright_again,
    soft_again,
)

TABLE: dict[str, tuple[str, str, Fields]] = {
    "Config": (
        "gaussian",
        "",
        {
            "$schema": ("other.schema.json", GOES_ON),
            "input": None,
            "output": None,
            "noise": None,
            "denoise": None,
            "blocks": None,
            "workers": None,
            "notify": None,
            "tasks": ([TWICE, SOFT], GoesOn(("twice",))),
        },
    ),
    "Input": (
        "median",
        "input",
        {
            "path": ("copy.czi", GOES_ON),
            "scene": (1, Refused("input.scene was 0, is 1")),
            "roi": (
                {"t": [0, 1], "x": [8, 48]},
                Refused(
                    "input.roi was [[0, 2], [0, 4], [0, 64], [0, 48]],"
                    " is [[0, 1], [0, 4], [0, 64], [8, 48]]"
                ),
            ),
            "channels": ([1, 0], Refused("input.channels was None, is [1, 0]")),
            "select": ({"h": 1}, Unusable("has no dimension H")),
            "axes": ("tczyx", Unusable("input.axes is 'tczyx'")),
            "voxel_size_um": (
                {"z": 2.0},
                again(
                    "scale_um was [None, None, None], is [2.0, None, None]",
                    "cells.table",
                ),
            ),
            "time_step_s": (
                2.0,
                again("time_step_s was None, is 2.0", "cells.table"),
            ),
            "channel_names": (
                ["a", "b"],
                again(
                    "channel_names was [['Channel 0'], ['Channel 0', 'Channel 1']],"
                    " is [['a'], ['a', 'b']]",
                    "cells.table",
                ),
            ),
        },
    ),
    "Output": (
        "median",
        "output",
        {
            "path": ("other.zarr", AnotherRun()),
            "ome_version": (
                "0.4",
                Refused("output.ome_version was None, is '0.4'"),
            ),
            "dtype": ("uint8", Refused("output.dtype was 'uint16', is 'uint8'")),
            "chunks": (
                {"z": 4, "y": 32, "x": 16},
                Refused("output.chunks was [1, 1, 4, 16, 16], is [1, 1, 4, 32, 16]"),
            ),
            "shards": (
                None,
                Refused("output.shards was [1, 2, 4, 32, 48], is None"),
            ),
            "compression_level": (
                5,
                Refused("output.compression_level was 1, is 5"),
            ),
            "durability": ("none", GOES_ON),
        },
    ),
    "PoissonGaussian": (
        "ndsafir",
        "noise",
        {
            "kind": (
                {"kind": "gaussian", "noise_std": 20.0},
                Refused("noise.kind was 'poisson-gaussian', is 'gaussian'"),
            ),
            "gains": (
                [3.9, 4.1],
                Refused("noise.gains was [3.9, 3.9], is [3.9, 4.1]"),
            ),
            "offsets": (
                [-367, 0],
                Refused("noise.offsets was [-367.0, -367.0], is [-367.0, 0.0]"),
            ),
            "method": ("ndsafir", GOES_ON),
            "shared": (True, GOES_ON),
        },
    ),
    "GaussianNoise": (
        "gaussian noise",
        "noise",
        {
            "kind": (
                POISSON,
                Refused("noise.kind was 'gaussian', is 'poisson-gaussian'"),
            ),
            "noise_std": (21.0, Refused("noise.noise_std was 20.0, is 21.0")),
            "method": ("ndsafir", GOES_ON),
            "shared": (True, GOES_ON),
        },
    ),
    "Ndsafir": (
        "calibrated",
        "denoise",
        {
            "kind": (MEDIAN, Refused("denoise.kind was 'ndsafir', is 'median'")),
            "patch": (
                {"y": 1, "x": 2},
                Refused("denoise.patch was [0, 0, 1, 1], is [0, 0, 1, 2]"),
            ),
            "active_dimensions": (
                "tyx",
                Refused("denoise.active_dimensions was 'zyx', is 'tyx'"),
            ),
            "max_iter": (3, Refused("denoise.max_iter was 2, is 3")),
            "pvalue": (0.2, Refused("denoise.pvalue was 0.1, is 0.2")),
            "cover": ("all", Refused("denoise.cover was None, is 'all'")),
            "precision": (
                "float32",
                Refused("denoise.precision was None, is 'float32'"),
            ),
            "inverse": (
                "unbiased",
                Refused("denoise.inverse was None, is 'unbiased'"),
            ),
            "time_as_z": Change(
                "movie",
                "denoise.time_as_z",
                False,
                Refused("denoise.time_as_z was True, is None"),
            ),
            "engine": ("ndsafir", GOES_ON),
        },
    ),
    "MedianFilter": (
        "median",
        "denoise",
        {
            "kind": (GAUSSIAN, Refused("denoise.kind was 'median', is 'gaussian'")),
            "size": (
                {"y": 5, "x": 3},
                Refused("denoise.size was {'y': 3, 'x': 3}, is {'y': 5, 'x': 3}"),
            ),
        },
    ),
    "GaussianFilter": (
        "gaussian",
        "denoise",
        {
            "kind": (NDSAFIR, Refused("denoise.kind was 'gaussian', is 'ndsafir'")),
            "sigma": (
                {"y": 1.0, "x": 0.5},
                Refused("denoise.sigma was {'y': 1.0}, is {'y': 1.0, 'x': 0.5}"),
            ),
        },
    ),
    "Blocks": (
        "ndsafir",
        "blocks",
        {
            "shape": ({"y": 64}, GOES_ON),
            "context": ({"y": 2}, INEXACT),
            "skip": None,
            "memory_gib": (3, GOES_ON),
        },
    ),
    "Skip": (
        "skipping",
        "blocks.skip",
        {
            "below": (
                301,
                Refused("blocks.skip was {'below': 300.0}, is {'below': 301.0}"),
            ),
        },
    ),
    "LocalWorkers": (
        "ndsafir",
        "workers",
        ANY_WORKERS
        | {
            "kind": (LSF, GOES_ON),
            "threads_per_worker": (2, GOES_ON),
        },
    ),
    "SlurmWorkers": (
        "slurm",
        "workers",
        ANY_JOBS
        | {
            "partition": ("long", GOES_ON),
            "account": ("lab", GOES_ON),
            "qos": ("high", GOES_ON),
            "time": ("2-0", GOES_ON),
            "cpus_per_task": Change(
                "slurm, ndsafir", "workers.cpus_per_task", 2, GOES_ON
            ),
            "constraint": ("avx2", GOES_ON),
            "nodelist": ("node[1-4]", GOES_ON),
            "exclude": ("node5", GOES_ON),
        },
    ),
    "LsfWorkers": (
        "lsf",
        "workers",
        ANY_JOBS
        | {
            "queue": ("long", GOES_ON),
            "project": ("lab", GOES_ON),
            "walltime_minutes": (600, GOES_ON),
            "cores": Change("lsf, ndsafir", "workers.cores", 2, GOES_ON),
        },
    ),
    "Notify": ("gaussian", "notify", {"command": (["true"], GOES_ON)}),
    "TaskBlocks": (
        "median",
        "tasks.cells.blocks",
        {"shape": ({"y": 16}, again(CUT, *OF_CELLS))},
    ),
    "FunctionBlocks": (
        "median",
        "tasks.twice.blocks",
        {
            "shape": ({"y": 16}, again(CUT, "twice")),
            "context": (
                {"y": 2},
                again("context was [0, 0, 0, 0], is [0, 0, 2, 0]", "twice"),
            ),
        },
    ),
    "Pyramid": (
        "median",
        "tasks.levels",
        ANY_TASK
        | {
            "kind": (SOFT | {"name": "levels"}, GoesOn(("levels",))),
            "name": ("other", GoesOn(("other.1",))),
            "input": ("twice", again("", "levels.1")),
            "levels": (2, GoesOn(("levels.2",))),
            "method": (
                "nearest",
                again("method was 'mean', is 'nearest'", "levels.1"),
            ),
        },
    ),
    "Smooth": (
        "median",
        "tasks.soft",
        ANY_TASK
        | {
            "kind": (
                BRIGHT | {"name": "soft", "input": "raw", "channel": None},
                soft_again("kind was 'smooth', is 'threshold'"),
            ),
            "name": Change("gaussian", "tasks.soft.name", "other", GoesOn(("other",))),
            "input": ("raw", soft_again("reads was ['denoised'], is ['raw']")),
            "sigma": (
                {"y": 1.5},
                soft_again("sigma was {'y': 1.0}, is {'y': 1.5}"),
            ),
            "dtype": ("uint8", soft_again("dtype was 'float32', is 'uint8'")),
        },
    ),
    "Threshold": (
        "median",
        "tasks.bright",
        ANY_TASK
        | {
            "kind": Change(
                "median",
                "tasks.found",
                SOFT | {"name": "found"},
                again("kind was 'threshold', is 'smooth'", "found"),
            ),
            "name": Change(
                "median", "tasks.found.name", "other", GoesOn(("other.value", "other"))
            ),
            "input": ("raw", bright_again("reads was ['soft'], is ['raw']")),
            "value": (501.0, bright_again("value was 500.0, is 501.0")),
            "method": Change(
                "median",
                "tasks.found.method",
                "li",
                again("method was 'otsu', is 'li'", "found.value", "found"),
            ),
            "channel": (
                1,
                DoneAgain(
                    bright_again("channel was 0, is 1").stages
                    | {
                        "cells.table": "channel_names was [['Channel 0'], ['Channel 0',"
                        " 'Channel 1']], is [['Channel 1'], ['Channel 0', 'Channel 1']]"
                    }
                ),
            ),
        },
    ),
    "Label": (
        "median",
        "tasks.cells",
        ANY_TASK
        | {
            "kind": (
                SOFT | {"name": "cells"},
                again("kind was 'label', is 'smooth'", "cells"),
            ),
            "name": (
                "other",
                GoesOn(("other.pieces", "other.union", "other", "other.table")),
            ),
            "input": (
                "found",
                DoneAgain(
                    {"cells": "reads was ['bright'], is ['found']"}
                    | dict.fromkeys(
                        ("cells.pieces", "cells.union", "cells.table"),
                        "reads was ['bright', 'denoised'], is ['found', 'denoised']",
                    )
                ),
            ),
            "connectivity": (2, again("connectivity was 1, is 2", *OF_CELLS)),
            "min_voxels": (
                9,
                again("min_voxels was 1, is 9", "cells.union", "cells", "cells.table"),
            ),
            "table": (
                "parquet",
                again("table was 'csv', is 'parquet'", "cells.table"),
            ),
            # The labels themselves do not change with what is measured.
            "intensity": (
                "soft",
                again(
                    "reads was ['bright', 'denoised'], is ['bright', 'soft']",
                    *("cells.pieces", "cells.union", "cells.table"),
                ),
            ),
        },
    ),
    "Function": (
        "median",
        "tasks.twice",
        ANY_TASK
        | {
            "kind": (
                SOFT | {"name": "twice"},
                again("kind was 'function', is 'smooth'", "twice"),
            ),
            "name": ("other", GoesOn(("other",))),
            "input": (
                ["denoised", "raw"],
                again("reads was ['denoised'], is ['denoised', 'raw']", "twice"),
            ),
            "function": (
                "own:triple",
                again("function was 'own:double', is 'own:triple'", "twice"),
            ),
            "setup": ("own:begin", again("setup was None, is 'own:begin'", "twice")),
            "teardown": ("own:end", again("teardown was None, is 'own:end'", "twice")),
            "folder": ("moved", GOES_ON),
            "params": ({"gain": 2}, again("params was {}, is {'gain': 2}", "twice")),
            "output": ("labels", again("output was 'image', is 'labels'", "twice")),
            "dtype": ("uint32", again("dtype was 'uint16', is 'uint32'", "twice")),
            "channels": (1, again("channels was 2, is 1", "twice")),
            "span": ("t", again("span was '', is 't'", "twice")),
            "read_write_conflict": (
                True,
                again("read_write_conflict was False, is True", "twice"),
            ),
        },
    ),
}
"""Every field by its section: the run, the section's place in its config, the change.
"""

MORE: dict[str, Change] = {
    "no task any more": Change("median", "tasks", [], GOES_ON),
    "tasks in another order": Change("median", "tasks", [TWICE, SOFT, FOUND], GOES_ON),
    "the whole image by its numbers": Change(
        "median", "input.roi", {"y": [0, 64]}, GOES_ON
    ),
    "the whole image by open ends": Change(
        "median", "input.roi", {"y": [None, 64], "x": [0, None]}, GOES_ON
    ),
    "a part of it by an open end": Change(
        "median",
        "input.roi",
        {"x": [8, None]},
        Refused(
            "input.roi was [[0, 2], [0, 4], [0, 64], [0, 48]],"
            " is [[0, 2], [0, 4], [0, 64], [8, 48]]"
        ),
    ),
    "shards as they were chosen": Change(
        "median", "output.shards", {"z": 4, "y": 32, "x": 48}, GOES_ON
    ),
    "noise to be calibrated that was given": Change(
        "ndsafir", "noise", {"kind": "poisson-gaussian"}, GOES_ON
    ),
    "noise that was calibrated another way": Change(
        "calibrated",
        "noise",
        {"kind": "poisson-gaussian", "method": "ndsafir"},
        GOES_ON,
    ),
    "a standard deviation to be calibrated that was given": Change(
        "gaussian noise", "noise.noise_std", None, GOES_ON
    ),
    "a radius of 0 that was left out": Change(
        "ndsafir", "denoise.patch", {"z": 0, "y": 1, "x": 1}, GOES_ON
    ),
    "layers that were mirrored": Change(
        "mirrored",
        "denoise.cover",
        "ndsafir",
        Refused("denoise.cover was 'all', is None"),
    ),
    "the inverse that was another": Change(
        "unbiased",
        "denoise.inverse",
        "ndsafir",
        Refused("denoise.inverse was 'unbiased', is None"),
    ),
    "blocks to be chosen": Change("ndsafir", "blocks.shape", "auto", GOES_ON),
    "blocks of a filter": Change("median", "blocks.shape", {"y": 64}, GOES_ON),
    "blocks of too little context": Change(
        "little context", "blocks.shape", {"y": 64}, OTHER_BLOCKS
    ),
    "blocks where some are skipped": Change(
        "skipping", "blocks.shape", {"y": 64}, OTHER_BLOCKS
    ),
    "blocks to be chosen where some are skipped": Change(
        "skipping", "blocks.shape", "auto", GOES_ON
    ),
    "blocks to be skipped": Change("ndsafir", "blocks.skip", {"below": 300.0}, INEXACT),
    "no blocks to be skipped any more": Change(
        "skipping",
        "blocks.skip",
        None,
        Refused("blocks.skip was {'below': 300.0}, is None"),
    ),
    "blocks of several threads": Change(
        "two threads", "blocks.shape", {"y": 64}, OTHER_BLOCKS
    ),
    "more context than is needed": Change(
        "ndsafir", "blocks.context", {"y": 40}, GOES_ON
    ),
    "a filter's context too little": Change(
        "median", "blocks.context", {"y": 0}, INEXACT
    ),
    "less too little a context": Change(
        "little context",
        "blocks.context",
        {"z": 1, "y": 3, "x": 2},
        Refused("blocks.context was [0, 1, 2, 2], is [0, 1, 3, 2]"),
    ),
    "exact after all": Change(
        "little context",
        "blocks.context",
        "exact",
        Refused("exact was False, is True"),
    ),
    "memory where it is inexact": Change(
        "little context", "blocks.memory_gib", 3, GOES_ON
    ),
    "workers where it is inexact": Change("two threads", "workers.count", 5, GOES_ON),
    "threads where there were several": Change(
        "two threads",
        "workers.threads_per_worker",
        3,
        Refused("workers.threads_per_worker was 2, is 3"),
    ),
    "threads that this machine decides": Change(
        "ndsafir", "workers.threads_per_worker", "auto", GOES_ON
    ),
    "threads where there was too little context": Change(
        "little context", "workers.threads_per_worker", 2, GOES_ON
    ),
    "ndsafir itself where there were several threads": Change(
        "several threads", "denoise.engine", "ndsafir", INEXACT
    ),
    "the engine in C where there were several threads": Change(
        "two threads", "denoise.engine", "auto", Refused("exact was False, is True")
    ),
    "CPUs of ndsafir itself": Change(
        "slurm, ndsafir itself", "workers.cpus_per_task", 2, INEXACT
    ),
    "cores of ndsafir itself": Change(
        "lsf, ndsafir itself", "workers.cores", 2, INEXACT
    ),
    "from here to Slurm": Change("median", "workers", SLURM, GOES_ON),
    "a task's own workers in LSF": Change("median", "tasks.soft.workers", LSF, GOES_ON),
    "a task's own workers of more threads": Change(
        "ndsafir", "tasks.soft.workers", LOCAL | {"threads_per_worker": 2}, GOES_ON
    ),
    "a task's blocks with other shards": Change(
        "median",
        "tasks.soft.blocks.shape",
        {"y": 16},
        soft_again("shards was [1, 2, 4, 32, 48], is [1, 2, 4, 16, 48]"),
    ),
    "a task's blocks without shards": Change(
        "no shards", "tasks.soft.blocks.shape", {"y": 16}, GOES_ON
    ),
    "a label's blocks without shards, for its pieces are others": Change(
        "no shards", "tasks.cells.blocks.shape", {"y": 16}, again(CUT, *OF_CELLS)
    ),
    "a task's blocks as they were chosen": Change(
        "median", "tasks.cells.blocks.shape", {"y": 32}, GOES_ON
    ),
    "no levels any more": Change("median", "tasks.levels.levels", 0, GOES_ON),
    "the usual method by its name": Change(
        "median", "tasks.levels.method", "auto", GOES_ON
    ),
    "a channel whose value is found": Change(
        "median",
        "tasks.found.channel",
        0,
        again("channel was None, is 0", "found.value", "found"),
    ),
    "inputs the other way round": Change(
        "median",
        "tasks.both.input",
        ["raw", "denoised"],
        again("reads was ['denoised', 'raw'], is ['raw', 'denoised']", "both"),
    ),
}
"""What hangs on other things than the field alone."""
