"""Function: code of the user's on each block."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from funlib.geometry import Coordinate
from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt, model_validator

from denoise_daisy.blockwise.block_shape import TaskBlocks
from denoise_daisy.blockwise.sources import Source
from denoise_daisy.blockwise.stage import ONLY_BLOCK, Stage
from denoise_daisy.errors import InputError
from denoise_daisy.geometry import AXES, LevelTransform
from denoise_daisy.images.image import Channel
from denoise_daisy.sections import SpaceTime, Text, absolute, by_axis
from denoise_daisy.tasks.base import AnyTask, InputName
from denoise_daisy.tasks.builder import (
    Product,
    StageBuilder,
    layout_parameters,
    task_parameters,
)
from denoise_daisy.tasks.function_caller import Caller
from denoise_daisy.tasks.function_trial import Trial
from denoise_daisy.tasks.user_function import UserFunction

WHITE = "FFFFFF"


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


FunctionName = Annotated[str, AfterValidator(_module_colon_name)]


class FunctionBlocks(TaskBlocks):
    """How a function's volume is cut."""

    context: dict[SpaceTime, NonNegativeInt] = {}
    """Voxels read around a block, by axis; 0 for an axis not named."""


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

    def with_paths_from(self, folder: Path) -> Self:
        """With the folder of its modules made absolute."""
        return self.model_copy(update={"folder": absolute(folder, self.folder)})

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

    def build(self, builder: StageBuilder) -> None:
        """One stage: an image of its own, labels, or values for other tasks."""
        products = {name: builder.product(self, name) for name in self.inputs}
        stage = _Building(self, builder, products).stage()
        builder.add(stage)
        builder.offer(self.name, stage)


class _Building:
    """A function's stage while it is built."""

    def __init__(
        self, task: Function, builder: StageBuilder, products: Mapping[str, Product]
    ) -> None:
        self.task = task
        self.declared: dict[str, Any] = {"dtype": task.dtype, "channels": task.channels}
        self.undeclared = [k for k, value in self.declared.items() if value is None]
        self.builder = builder
        self.products = products
        sources = {n: p.source for n, p in products.items() if p.source is not None}
        self.sources: dict[str, Source] = sources
        self.transform = _common_transform(task, sources)
        self.volume = builder.cutting.volume_in(self.transform)
        context = by_axis(task.blocks.context, "tzyx", dict.fromkeys("tzyx", 0))
        whole = builder.cutting.grid(
            [*sources.values()], self.transform, self.volume.shape, Coordinate(context)
        )
        self.grid = builder.cut(task, task.name, whole, span=task.span)
        self.user = _user_function(task, builder)
        self.caller = Caller(
            user=self.user,
            image=builder.image,
            transform=self.transform,
            image_roi=self.grid.readable_roi,
            names=tuple(sources),
            values={
                name: partial(product.stage.read_file, ONLY_BLOCK)
                for name, product in products.items()
                if product.source is None and product.stage
            },
        )
        self.parameters = task_parameters(
            task,
            products,
            None,
            **self.user.code,
            block_shape=list(self.grid.block_shape),
            context=list(context),
        )

    def stage(self) -> Stage:
        """The stage."""
        task = self.task
        common: dict[str, Any] = {
            "name": task.name,
            "task": task.name,
            "grid": self.grid,
            "sources": tuple(self.sources.values()),
            "after": tuple(name for p in self.products.values() for name in p.after),
            "transform": self.transform,
            "read_write_conflict": task.read_write_conflict,
            "unload": self.user.tear_down,
            "is_users": True,
            "where": self.user.where,
        }
        if task.output == "values":
            file = self.builder.places.run_dir.work_folder(task.name) / "values.npy"
            return Stage(
                **common,
                compute=self.caller.values_of,
                parameters=self.parameters,
                target=self.builder.places.file(task.name, self.grid, file),
            )
        return self._array_stage(common)

    def _array_stage(self, common: Mapping[str, Any]) -> Stage:
        task, builder = self.task, self.builder
        first = self.sources[task.inputs[0]]
        found = self._result_type()
        is_labels, shape = task.output == "labels", self.grid.block_shape
        layout = builder.cutting.layout(
            *(self.volume, found["channels"], found["dtype"], shape),
            is_labels=is_labels,
        )
        places = builder.places
        target = places.level(
            task.name,
            (places.labels if is_labels else places.image)(task.name),
            layout,
            _channels(task, first, found["channels"]),
            self.volume,
            transform=self.transform,
            method=first.method,
        )
        return Stage(
            **common,
            compute=self.caller.with_written(target),
            parameters=self.parameters | layout_parameters(layout),
            target=target,
            probed={k: found[k] for k in self.undeclared} or None,
        )

    def _result_type(self) -> dict[str, Any]:
        """Type and channels of the result: declared, found before, or found by trying.

        What was found before holds as long as all else is the same.
        """
        task, builder = self.task, self.builder
        if not self.undeclared:
            return self.declared
        kept = builder.recorded.get(task.name)
        probed = (kept.probed if kept else None) or {}
        if kept and probed.keys() >= set(self.undeclared):
            is_same = all(
                kept.parameters.get(name) == value
                for name, value in self.parameters.items()
                if name not in self.declared
            )
            if is_same or builder.is_restored:
                return self.declared | {name: probed[name] for name in self.undeclared}
        if builder.is_restored:
            # Of a task that has become another and is not asked for: nothing is there.
            return {"dtype": task.dtype or "float32", "channels": task.channels or 1}
        if self.caller.values:
            raise InputError(
                f"Task {task.name!r} reads the values of"
                f" {', '.join(self.caller.values)}, which are not there yet, so that"
                " its function can't be tried. Declare its dtype and channels."
            )
        trial = Trial(
            task=task.name,
            function=task.function,
            span=task.span,
            **self.declared,
            is_labels=task.output == "labels",
        )
        return trial.result_type(
            self.caller, builder.image, self.grid, list(self.sources.values())
        )


def _user_function(task: Function, builder: StageBuilder) -> UserFunction:
    """The function, with the code that it has or, in a run, was started with."""
    user = UserFunction(
        task.function, task.setup, task.teardown, task.folder, task.params, {}
    )
    if builder.is_restored:
        kept = builder.recorded.get(task.name)
        before = kept.parameters if kept else {}
        code = {k: v for k, v in before.items() if k.startswith(("code ", "package "))}
    else:
        user.check()
        code = user.code_now()
    return replace(user, code=code)


def _common_transform(task: Function, sources: Mapping[str, Source]) -> LevelTransform:
    if task.inputs[0] not in sources:
        raise InputError(
            f"Task {task.name!r} has the values of {task.inputs[0]!r} as its first"
            " input. Expected an image first; its blocks are what the function gets."
        )
    transforms = {source.transform for source in sources.values()}
    if len(transforms) > 1:
        raise InputError(
            f"Task {task.name!r} reads images of different resolutions"
            f" ({', '.join(sources)}). Expected inputs of one level."
        )
    return transforms.pop()


def _channels(task: Function, first: Source, count: int) -> tuple[Channel, ...]:
    if count == len(first.channels):
        return first.channels
    return tuple(Channel(f"{task.name} {i}", WHITE) for i in range(count))
