"""What type checkers see of the public names: `mypy` reads it with all else."""

from collections.abc import Mapping
from pathlib import Path
from typing import assert_type

import denoise_daisy as dd
from denoise_daisy.api.opened import Output
from denoise_daisy.api.result import Result
from denoise_daisy.assessing.files import Written
from denoise_daisy.denoisers.noise import NoiseNumbers
from denoise_daisy.monitoring.values import RunStatus
from denoise_daisy.outputs.opened_image import OpenedImage
from denoise_daisy.runs.calibrate import Calibration
from denoise_daisy.runs.inspect import Inspection
from denoise_daisy.runs.plan import Plan
from denoise_daisy.runs.preview import Preview
from denoise_daisy.runs.verify import Verification


def use(path: Path) -> None:
    """All of it, as a user's script has it."""
    config = dd.Config.from_dict({"input": {"path": path}, "output": {"path": "o"}})
    assert_type(dd.Config.load(path), dd.Config)
    assert_type(dd.inspect(path), Inspection)
    noise = dd.calibrate(config)
    assert_type(noise, Calibration)
    assert_type(noise.numbers, NoiseNumbers)
    assert_type(noise.put_into(config), dd.Config)
    shown = dd.preview(config, roi={"z": (0, 2)}, sweep={"pvalue": [0.1, 0.2]})
    assert_type(shown, Preview)
    assert_type(shown.recommended, dd.Config)
    assert_type(dd.plan("config.json"), Plan)
    result = dd.run({"input": {"path": "a"}, "output": {"path": "o"}})
    assert_type(result, Result)
    assert_type(result.done, int)
    assert_type(result.images, Mapping[str, Result])
    assert_type(dd.status(path), RunStatus)
    assert_type(dd.report(path), Written)
    assert_type(dd.verify(path), Verification)
    assert_type(dd.open(path), Output)
    assert_type(dd.open(path).labels, Mapping[str, OpenedImage])
    dd.lazy(config, chunks={"z": 4})[0, 0, 1].compute()
