"""What tests of all kinds need.

`images` to denoise and the oracle, `opened` or refused, the `program` run for real,
`waiting` for a state, `properties` with how many examples, and what is made once and
`shared`.  `hook` puts faults into processes of a run; `trials` and `chains` are runs to
be hurt; `clusters` are the batch systems, and `frames` and `pools` runs on these; a
`batch_site` has one that says what a test wants; `other_machine` is one at the other
end of a wire.

The others have one subject each, which several files of tests share: `czi_files`,
`engine_scenes`, `examples`, `functions`, `ledgers`, `noise_scenes`, `oracles` of tasks,
`refused` and its `mistakes`, `fingerprinted` and its `fingerprint_fields`.
"""

from harness.images import REAL_DATA, ROOT, small_czi, small_image, whole_image
from harness.program import (
    GAINS,
    OFFSETS,
    Run,
    cli,
    config_for,
    environment,
    here,
    ledger_lines,
    load,
    ome_of,
    output_of,
    processes_of,
    start,
    voxels_of,
    write_config,
)
from harness.waiting import REAL_WAITS, SHORT_WAITS, short_waits, wait_until

__all__ = [
    "GAINS",
    "OFFSETS",
    "REAL_DATA",
    "REAL_WAITS",
    "ROOT",
    "SHORT_WAITS",
    "Run",
    "cli",
    "config_for",
    "environment",
    "here",
    "ledger_lines",
    "load",
    "ome_of",
    "output_of",
    "processes_of",
    "short_waits",
    "small_czi",
    "small_image",
    "start",
    "voxels_of",
    "wait_until",
    "whole_image",
    "write_config",
]
