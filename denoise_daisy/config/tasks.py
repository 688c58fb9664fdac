"""What runs after the denoising, block by block: the tasks of the config."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    FiniteFloat,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    model_validator,
)

from denoise_daisy.config.sections import OutputType, Section, SpaceTime, Text
from denoise_daisy.config.workers import Workers
from denoise_daisy.geometry import AXES
from denoise_daisy.pooling import Method as PoolingMethod
from denoise_daisy.thresholds import Method as ThresholdMethod

RESERVED = ("raw", "denoised", "denoise")
"""Names that no task can have."""


def _task_name(value: str) -> str:
    if value in RESERVED:
        raise ValueError(f"a name of your own; {', '.join(RESERVED)} are taken")
    return value


def _module_colon_name(value: str) -> str:
    module, colon, name = value.partition(":")
    parts = [*module.split("."), name]
    if not colon or not all(part.isidentifier() for part in parts):
        raise ValueError('"module:name", such as "examples:watershed"')
    return value


def _axes(value: str) -> str:
    if len(set(value)) < len(value) or not set(value) <= set(AXES):
        raise ValueError('some of the letters "tzyx", each once')
    return value


Name = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_-]{1,60}$"), AfterValidator(_task_name)
]
InputName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){0,2}$")]
FunctionName = Annotated[str, AfterValidator(_module_colon_name)]
Sigma = Annotated[NonNegativeFloat, Field(allow_inf_nan=False, le=1000)]


class TaskBlocks(Section):
    """How a task's volume is cut."""

    shape: dict[SpaceTime, PositiveInt] | Literal["auto"] = "auto"
    """Voxels that a block writes, by axis (an axis not named: t 1, else the whole
    axis), or auto: as the denoising is cut."""


class FunctionBlocks(TaskBlocks):
    """How a function's volume is cut."""

    context: dict[SpaceTime, NonNegativeInt] = {}
    """Voxels read around a block, by axis; 0 for an axis not named."""


class AnyTask(Section):
    """What holds for every task."""

    name: Name
    """Name of the task, of its output and of its ledger."""

    blocks: TaskBlocks = TaskBlocks()
    """How its volume is cut."""

    workers: Workers | None = None
    """Workers of its own; null: those of the run do its blocks as well."""

    max_retries: NonNegativeInt | None = None
    """How often a failed block is tried again; null: as in its workers."""


class OneInput(AnyTask):
    """What holds for every task that reads one array."""

    input: InputName = "denoised"
    """What it reads: denoised, raw, the name of a task, or a level of a pyramid, such
    as pyramid.1."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what it reads."""
        return (self.input,)


class Pyramid(OneInput):
    """Coarser levels of an image or of labels, for viewers.

    Whatever the run writes gets a pyramid; this is to have another one.
    """

    kind: Literal["pyramid"]
    """Multiscale levels."""

    levels: NonNegativeInt | Literal["auto"] = "auto"
    """Levels beside the full resolution; auto: until Y-X planes are 256 x 256 at
    most; 0: none."""

    method: PoolingMethod | Literal["auto"] = "auto"
    """What becomes of the voxels of a cell: their mean, the first, or the most
    frequent; auto: mean for images, nearest for labels."""


class Smooth(OneInput):
    """A Gaussian filter, as scipy.ndimage.gaussian_filter on the whole image."""

    kind: Literal["smooth"]
    """Gaussian filter."""

    sigma: Annotated[dict[SpaceTime, Sigma], Field(min_length=1)]
    """Standard deviation in voxels, by axis; 0 for an axis not named."""

    dtype: OutputType = "float32"
    """Type of the voxels written."""


class Threshold(OneInput):
    """A mask: 1 where the input is strictly above a value, else 0."""

    kind: Literal["threshold"]
    """Mask of what is bright."""

    value: FiniteFloat | None = None
    """Grey level."""

    method: ThresholdMethod | None = None
    """Find the value by this method of scikit-image, from samples of each channel."""

    channel: NonNegativeInt | Text | None = None
    """Channel by index or name; null: every channel, by itself."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.value is None) == (self.method is None):
            raise ValueError("either value or method")
        return self


class Label(OneInput):
    """Connected components of a mask, over the whole volume.

    Each time point and channel by itself; ids are dense from 1, in the order of the
    objects' first voxels (z, then y, then x).
    """

    kind: Literal["label"]
    """Numbered objects."""

    connectivity: Annotated[int, Field(ge=1, le=3)] = 1
    """As in scikit-image: 1 joins voxels that share a face, 2 an edge, 3 a corner."""

    min_voxels: PositiveInt = 1
    """Objects of fewer voxels are left out."""

    table: Literal["csv", "parquet"] | None = None
    """Write a table of all objects beside the output, OUTPUT.NAME.csv or .parquet: id,
    voxels, bounding box, centroid, mean intensity per channel."""

    intensity: InputName = "denoised"
    """The image that the table's intensities are measured in."""


class Function(AnyTask):
    """A function of your own: array in, array out."""

    kind: Literal["function"]
    """Code of your own."""

    input: InputName | Annotated[tuple[InputName, ...], Field(min_length=1)] = (
        "denoised"
    )
    """What it reads, one or several, all of one resolution; the first is its block."""

    function: FunctionName
    """`module:name` of `f(block, context) -> array`."""

    setup: FunctionName | None = None
    """`module:name` of `setup(params) -> state`, called once in every worker; the
    function finds what it returns in `context.state`."""

    teardown: FunctionName | None = None
    """`module:name` of `teardown(state)`, called when a worker ends."""

    folder: Text = "."
    """Folder of these modules, where they are not installed; a relative path counts
    from the config file."""

    params: dict[str, Any] = {}
    """Whatever the function wants; it finds them in `context.params`."""

    output: Literal["image", "labels", "values"] = "image"
    """image: an OME-Zarr of its own, OUTPUT.NAME.zarr; labels: whole numbers, in the
    output's labels/NAME; values: a small array, for other tasks to read."""

    dtype: Literal["uint8", "uint16", "uint32", "float32"] | None = None
    """Type of the voxels it returns; null: found by trying it on a small block."""

    channels: PositiveInt | None = None
    """Number of channels it returns; null: found by trying it on a small block."""

    blocks: FunctionBlocks = FunctionBlocks()
    """How its volume is cut, and how much it sees around a block."""

    span: Annotated[str, AfterValidator(_axes)] = ""
    """Axes that every block spans whole, such as "t" for a time series."""

    read_write_conflict: bool = False
    """Never do two blocks at once of which one sees what the other writes, so that the
    function can read its neighbours' results with `context.written(roi)`."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what it reads."""
        return (self.input,) if isinstance(self.input, str) else self.input

    @model_validator(mode="after")
    def _labels_are_whole_numbers(self) -> Self:
        if self.output == "labels" and self.dtype == "float32":
            raise ValueError('another dtype than "float32" where output is "labels"')
        return self

    @model_validator(mode="after")
    def _values_span_all(self) -> Self:
        if self.output == "values" and set(self.span) != set(AXES):
            raise ValueError('span "tzyx" where output is "values"')
        return self


Task = Annotated[
    Pyramid | Smooth | Threshold | Label | Function, Field(discriminator="kind")
]
