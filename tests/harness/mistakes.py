"""Mistakes that a run refuses: in a config, in its text, in an image, at an output."""

import numpy as np

from harness.refused import (
    LFS_POINTER,
    Case,
    no_run,
    with_flat_image,
    with_image,
    with_input,
    with_run_json,
    with_tiles,
    with_zarr_json,
    with_zarr_json_that_links_to_itself,
)
from harness.task_mistakes import TASKS

GREY8, GREY16 = np.ones((40, 48), np.uint8), np.ones((40, 48), np.uint16)

CONFIGS = {
    "the image is nowhere": Case(
        ("absent.czi", "No such file"), {"input.path": "absent.czi"}
    ),
    "the image is a number": Case(("'input.path' is 7",), {"input.path": 7}),
    "the image has no name": Case(("'input.path' is \"\"",), {"input.path": ""}),
    "the image's name has a NUL": Case(("NUL",), {"input.path": "a\0.czi"}),
    "the image's name is too long": Case(
        ("File name too long",), {"input.path": "a" * 300}
    ),
    "the image is in nobody's home": Case(
        ("~nosuchuser",), {"input.path": "~nosuchuser/in.czi"}
    ),
    "the image is a device": Case(("/dev/null", "empty"), {"input.path": "/dev/null"}),
    "the image is an endless device": Case(("is no CZI",), {"input.path": "/dev/zero"}),
    "an unknown section": Case(("'worker'", "'workers'"), {"worker": {}}),
    "an unknown key": Case(("'denoise.patchs'", "'patch'"), {"denoise.patchs": {}}),
    "a key of another noise": Case(
        ("'noise.noise_stds'", "'noise_std'"),
        {"noise": {"kind": "gaussian", "noise_stds": 1}},
    ),
    "an unknown kind of noise": Case(
        ("'noise.kind' is \"x\"", "'gaussian'"), {"noise.kind": "x"}
    ),
    "a section that is null": Case(("'blocks' is null", "object"), {"blocks": None}),
    "a scene that is a string": Case(("'input.scene' is \"0\"",), {"input.scene": "0"}),
    "a scene that is a bool": Case(("'input.scene' is true",), {"input.scene": True}),
    "a scene in a file without": Case(("no scenes", "null"), {"input.scene": 1}),
    "a ROI outside": Case(
        ("input.roi.z is [2, 5]", "[0, 4]"), {"input.roi": {"z": [2, 5]}}
    ),
    "a ROI wholly outside": Case(
        ("input.roi.x is [99, 120]", "[0, 48]"), {"input.roi": {"x": [99, 120]}}
    ),
    "a ROI far outside": Case(
        ("input.roi.t", "[0, 1]"), {"input.roi": {"t": [0, 10**30]}}
    ),
    "an empty ROI": Case(
        ("'input.roi.y' is [7, 7]", "empty"), {"input.roi": {"y": [7, 7]}}
    ),
    "a reversed ROI": Case(
        ("'input.roi.y' is [9, 7]", "begin < end"), {"input.roi": {"y": [9, 7]}}
    ),
    "a ROI that begins outside": Case(
        ("input.roi.x is [48, null]", "[0, 48]"), {"input.roi": {"x": [48, None]}}
    ),
    "a negative ROI": Case(("'input.roi.y.0' is -1",), {"input.roi": {"y": [-1, 7]}}),
    "a ROI of channels": Case(("'input.roi.c'",), {"input.roi": {"c": [0, 1]}}),
    "a channel too many": Case(
        ("[0, 2]", "2 channels", "[0, 1]"), {"input.channels": [0, 2]}
    ),
    "a channel twice": Case(("[1, 1]", "each once"), {"input.channels": [1, 1]}),
    "no channels": Case(("'input.channels' is []",), {"input.channels": []}),
    "a negative channel": Case(("'input.channels.0' is -1",), {"input.channels": [-1]}),
    "an output type unknown": Case(
        ("'output.dtype'", "'uint8'"), {"output.dtype": "i"}
    ),
    "negative chunks": Case(("'output.chunks.z' is -1",), {"output.chunks": {"z": -1}}),
    "a chunk of 0": Case(("'output.chunks.c' is 0",), {"output.chunks": {"c": 0}}),
    "shards no multiple of chunks": Case(
        ("output.shards.y is 40", "16 voxels", "nearest that is: 32"),
        {"output.chunks": {"y": 16}, "output.shards": {"y": 40}},
    ),
    "shards where Zarr has none": Case(
        ("no shards with ome_version 0.4", "leave shards out"),
        {"output.ome_version": "0.4", "output.shards": {"y": 64}},
    ),
    "shards smaller than chunks": Case(
        ("output.shards.x is 8", "nearest that is: 16"),
        {"output.chunks": {"x": 16}, "output.shards": {"x": 8}},
    ),
    "shards of one channel": Case(
        ("output.shards.c is 1", "2 channels"), {"output.shards": {"c": 1}}
    ),
    "compression above 9": Case(
        ("'output.compression_level' is 10",), {"output.compression_level": 10}
    ),
    "gains of the wrong length": Case(
        ("noise.gains has 1 numbers", "2 channels"),
        {"noise.gains": [3.9], "noise.offsets": [-367]},
    ),
    "offsets of the wrong length": Case(
        ("noise.offsets has 3 numbers", "2 channels"), {"noise.offsets": [1, 2, 3]}
    ),
    "gains for channels not chosen": Case(
        ("noise.gains has 2 numbers", "1 channels"), {"input.channels": [1]}
    ),
    "only gains": Case(("both gains and offsets",), {"noise.offsets": None}),
    "only offsets": Case(("both gains and offsets",), {"noise.gains": None}),
    "a gain of 0": Case(("'noise.gains.1' is 0",), {"noise.gains": [1, 0]}),
    "a negative gain": Case(("'noise.gains.0' is -3.9",), {"noise.gains": [-3.9, 1]}),
    "a gain that is NaN": Case(("NaN", "JSON"), {"noise.gains": [float("nan"), 1]}),
    "an infinite offset": Case(("Infinity",), {"noise.offsets": [float("inf"), 1]}),
    "a noise of 0": Case(
        ("'noise.noise_std' is 0",), {"noise": {"kind": "gaussian", "noise_std": 0}}
    ),
    "a pvalue above 1": Case(("'denoise.pvalue' is 1.5",), {"denoise.pvalue": 1.5}),
    "a pvalue below 0": Case(("'denoise.pvalue' is -0.5",), {"denoise.pvalue": -0.5}),
    "no iterations": Case(("'denoise.max_iter' is 0",), {"denoise.max_iter": 0}),
    "too many iterations": Case(
        ("'denoise.max_iter' is 99",), {"denoise.max_iter": 99}
    ),
    "dimensions unknown": Case(("tzyx",), {"denoise.active_dimensions": "zyq"}),
    "a patch too large in y": Case(
        ("denoise.patch.y is 20", "40 voxels", "41", "19 or less"),
        {"denoise.patch": {"y": 20, "x": 1}},
    ),
    "a patch too large in x": Case(
        ("denoise.patch.x is 99", "48 voxels", "23 or less"),
        {"denoise.patch": {"y": 1, "x": 99}},
    ),
    "a patch too large in z": Case(
        ("denoise.patch.z is 2", "4 voxels", "1 or less"),
        {"denoise.patch": {"z": 2, "y": 1, "x": 1}},
    ),
    "a negative patch": Case(
        ("'denoise.patch.y' is -1",), {"denoise.patch": {"y": -1}}
    ),
    "a block no multiple of chunks": Case(
        ("t 1 z 4 y 20 x 48", "t 1 z 4 y 16 x 48", "nearest legal"),
        {"output.chunks": {"y": 16}, "output.shards": None, "blocks.shape": {"y": 20}},
    ),
    "a block no multiple of shards": Case(
        ("y 16 x 48", "nearest legal shape is t 1 z 4 y 32 x 48"),
        {
            "output.chunks": {"y": 8},
            "output.shards": {"y": 32, "x": 48},
            "blocks.shape": {"y": 16},
        },
    ),
    "a block of 0": Case(("'blocks.shape.y' is 0",), {"blocks.shape": {"y": 0}}),
    "a negative block": Case(("'blocks.shape.y' is -9",), {"blocks.shape": {"y": -9}}),
    "a negative context": Case(
        ("'blocks.context.y' is -1",), {"blocks.context": {"y": -1}}
    ),
    "too little memory": Case(
        ("0.20 GiB", "0.10 GiB", "blocks.memory_gib"), {"blocks.memory_gib": 0.1}
    ),
    "too little memory for that block": Case(
        ("0.20 GiB", "0.10 GiB", "blocks.memory_gib"),
        {"blocks.memory_gib": 0.1, "blocks.shape": {"y": 40}},
    ),
    "too little memory for so many": Case(
        ("workers.count",), {"workers.count": 1_000_000}
    ),
    "no workers": Case(("'workers.count' is -1",), {"workers.count": -1}),
    "half a worker": Case(("'workers.count' is 1.5",), {"workers.count": 1.5}),
    "more memory than a job asks for": Case(
        ("blocks.memory_gib is 8", "workers.memory_gib 4 only"),
        {
            "workers": {"kind": "slurm", "count": 2, "memory_gib": 4},
            "blocks.memory_gib": 8,
        },
    ),
    "noise for a filter": Case(
        ("no noise", "gaussian filter"),
        {"denoise": {"kind": "gaussian", "sigma": {"y": 1}}},
    ),
    "unknown workers": Case(
        ("'workers.kind' is \"sge\"", "'slurm'"), {"workers.kind": "sge"}
    ),
    "the output is the input": Case(
        ("in.czi", "an OME-Zarr, a folder, is written"), {"output.path": "in.czi"}
    ),
    "the output is in the input": Case(
        ("in.czi", "at or in the input"), {"output.path": "in.czi/out.zarr"}
    ),
    "the output is the root": Case(("'/'",), {"output.path": "/"}),
    "the output is the config's folder": Case(
        ("not made by this program",), {"output.path": "."}, code=4
    ),
    "the output's name is too long": Case(
        ("File name too long", "output.path"), {"output.path": "a" * 300}
    ),
    "the run directory's name is too long": Case(
        ("File name too long", "output.path"), {"output.path": "a" * 253}
    ),
    "the output is in a device": Case(
        ("/dev/null", "file; expected a folder"), {"output.path": "/dev/null/out.zarr"}
    ),
}

CONFIG_TEXTS = {
    "an empty config": Case(("no valid JSON",), text=lambda _: b""),
    "a config cut short": Case(("no valid JSON",), text=lambda t: t[:-1].encode()),
    "two trailing commas": Case(
        ("no valid JSON", "line 1, column"), text=lambda t: t[:-1].encode() + b",,}"
    ),
    "a config twice": Case(("no valid JSON",), text=lambda t: (t + t).encode()),
    "a duplicate key": Case(
        ("'output'", "twice"), text=lambda t: t[:-1].encode() + b', "output": {}}'
    ),
    "a list": Case(("is []", "expected an object"), text=lambda _: b"[]"),
    "a config not in UTF-8": Case(
        ("utf-8",), text=lambda t: t.replace("in.czi", "\xe4").encode("latin-1")
    ),
    "random bytes": Case(
        ("no valid JSON",), text=lambda _: np.random.default_rng(0).bytes(999)
    ),
    "deep nesting": Case(("nested too deeply",), text=lambda _: b"[" * 100_000),
    "less deep nesting": Case(
        ("no valid JSON", "nested too deeply"),
        text=lambda _: b'{"input":' + b"[" * 300 + b"]" * 300 + b"}",
    ),
    "half a character": Case(
        ("no valid JSON", "half of a character"),
        text=lambda t: t.replace('in.czi"', '\\ud800"').encode(),
    ),
    "a byte-order mark of UTF-16": Case(
        ("no valid JSON",), text=lambda t: t.encode("utf-16")
    ),
    "a number of 5000 digits": Case(
        ("no valid JSON", "digits"), text=lambda _: b'{"a": ' + b"9" * 5000 + b"}"
    ),
}

INPUTS = {
    "an empty file": Case(("0 bytes",), prepare=with_input(b"")),
    "a Git LFS pointer": Case(("git lfs pull",), prepare=with_input(LFS_POINTER)),
    "a TIFF": Case(("is no CZI",), prepare=with_input(b"II*\0" + bytes(500))),
    "random bytes": Case(
        ("is no CZI",), prepare=with_input(np.random.default_rng(0).bytes(9999))
    ),
    "random bytes behind the magic": Case(
        ("cut short or damaged",),
        prepare=with_input(
            b"ZISRAWFILE".ljust(16, b"\0") + np.random.default_rng(0).bytes(9999)
        ),
    ),
    "a folder": Case(
        ("directory", "folder.czi"),
        {"input.path": "folder.czi"},
        prepare=lambda folder: (folder / "folder.czi").mkdir(),
    ),
    "the folder that the output goes to": Case(
        ("at or in the input",), {"input.path": "."}
    ),
    "a colour image": Case(
        ("colour image", "Bgr24"),
        prepare=with_tiles(("T0 C0 Z0", np.ones((40, 48, 3), np.uint8))),
    ),
    "mixed types": Case(
        ("mixes the pixel types", "Gray16, Gray8"),
        prepare=with_tiles(("T0 C0 Z0", GREY8), ("T0 C1 Z0", GREY16)),
    ),
    "phases": Case(
        ("2 positions along dimension H",),
        prepare=with_tiles(("T0 C0 Z0 H0", GREY16), ("T0 C0 Z0 H1", GREY16)),
    ),
    "no image data": Case(("without any image data",), prepare=with_tiles()),
    "two scenes and null": Case(
        ("input.scene is null", "0 (T 1", "1 (T 1"),
        prepare=with_tiles(("S0 T0 C0 Z0", GREY16), ("S1 T0 C0 Z0", GREY16)),
    ),
    "a scene too many": Case(
        ("input.scene is 2", "0 (T 1", "1 (T 1"),
        {"input.scene": 2},
        prepare=with_tiles(("S0 T0 C0 Z0", GREY16), ("S1 T0 C0 Z0", GREY16)),
    ),
    "one pixel": Case(
        ("denoise.patch.y is 1", "1 voxels", "Set it to 0"),
        prepare=with_image(np.ones((1, 2, 1, 1, 1), np.uint16)),
    ),
    "a broken link": Case(
        ("link.czi", "No such file"),
        {"input.path": "link.czi"},
        prepare=lambda folder: (folder / "link.czi").symlink_to("nowhere"),
    ),
    "a link to itself": Case(
        ("link.czi",),
        {"input.path": "link.czi"},
        prepare=lambda folder: (folder / "link.czi").symlink_to("link.czi"),
    ),
    "nothing but NaN, to calibrate": Case(
        ("noise",),
        {"noise": {"kind": "poisson-gaussian"}},
        prepare=with_flat_image,
    ),
}


OUTPUTS = {
    "a file": Case(
        ("out.zarr", "is a file; expected a folder"),
        prepare=lambda folder: (folder / "out.zarr").write_text("mine"),
    ),
    "below a file": Case(
        ("is a file; expected a folder",),
        {"output.path": "file/deep/out.zarr"},
        prepare=lambda folder: (folder / "file").write_text("mine"),
    ),
    "a file where the run directory goes": Case(
        ("out.zarr.run", "is a file; expected a folder"),
        prepare=lambda folder: (folder / "out.zarr.run").write_text("mine"),
    ),
    "somebody else's folder": Case(
        ("not made by this program",), prepare=no_run, code=4
    ),
    "the folder of the image": Case(
        ("not made by this program",),
        {"output.path": "sub/.."},
        prepare=lambda folder: (folder / "sub").mkdir(),
        code=4,
    ),
    "somebody else's Zarr": Case(
        ("not made by this program",),
        prepare=with_zarr_json('{"zarr_format": 3, "node_type": "group"}'),
        code=4,
    ),
    "a zarr.json that is a list": Case(
        ("not made by this program",), prepare=with_zarr_json("[]"), code=4
    ),
    "a zarr.json that is a string": Case(
        ("not made by this program",), prepare=with_zarr_json('"a"'), code=4
    ),
    "a zarr.json of odd attributes": Case(
        ("not made by this program",),
        prepare=with_zarr_json(
            '{"zarr_format": 3, "node_type": "group", "attributes": []}'
        ),
        code=4,
    ),
    "a zarr.json that is no JSON": Case(
        ("not made by this program",), prepare=with_zarr_json("{"), code=4
    ),
    "a zarr.json that is a link to itself": Case(
        ("out.zarr", "can't be read (Too many levels of symbolic links)", "who made"),
        prepare=with_zarr_json_that_links_to_itself,
        code=4,
    ),
    "an output of ours without its run": Case(
        ("whose run directory", "--overwrite"),
        prepare=with_zarr_json(
            '{"zarr_format": 3, "node_type": "group",'
            ' "attributes": {"denoise_daisy": {}}}'
        ),
        code=4,
    ),
    "a run.json that is no JSON": Case(
        ("run.json", "can't be read"), prepare=with_run_json("{"), code=4
    ),
    "a run.json of another program": Case(
        ("run.json", "no run.json of this version of the program"),
        prepare=with_run_json('{"id": 1}'),
        code=4,
    ),
    "a run.json that is a list": Case(
        ("run.json", "no run.json of this version of the program"),
        prepare=with_run_json("[]"),
        code=4,
    ),
    "a run.json with keys like ours": Case(
        ("run.json",),
        prepare=with_run_json('{"id": "a", "fingerprint": {}, "config": {}}'),
        code=4,
    ),
    "a run.json nested deeply": Case(
        ("run.json",), prepare=with_run_json("[" * 100_000), code=4
    ),
    "a run.json that is a folder": Case(
        ("run.json", "can't be read"),
        prepare=lambda folder: (folder / "out.zarr.run" / "run.json").mkdir(
            parents=True
        ),
        code=4,
    ),
    "a broken link": Case(
        ("out.zarr", "broken link"),
        prepare=lambda folder: (folder / "out.zarr").symlink_to("nowhere"),
    ),
    "a broken link for the run directory": Case(
        ("out.zarr.run", "broken link"),
        prepare=lambda folder: (folder / "out.zarr.run").symlink_to("nowhere"),
    ),
    "below a broken link": Case(
        ("link", "broken link"),
        {"output.path": "link/out.zarr"},
        prepare=lambda folder: (folder / "link").symlink_to("nowhere"),
    ),
    "a link to itself": Case(
        ("out.zarr",),
        prepare=lambda folder: (folder / "out.zarr").symlink_to("out.zarr"),
    ),
    "a link to the input": Case(
        ("at or in the input",),
        prepare=lambda folder: (folder / "out.zarr").symlink_to("in.czi"),
    ),
}

CASES = {
    f"{kind}: {name}": case
    for kind, cases in [
        ("config", CONFIGS),
        ("text", CONFIG_TEXTS),
        ("input", INPUTS),
        ("output", OUTPUTS),
        ("task", TASKS),
    ]
    for name, case in cases.items()
}
