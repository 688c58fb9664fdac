"""What was run on what: the facts of a run, from its record and its ledgers."""

from collections.abc import Mapping
from datetime import UTC, datetime

from denoise_daisy.assessing.cost import Work
from denoise_daisy.assessing.on_disk import OnDisk
from denoise_daisy.assessing.values import Facts
from denoise_daisy.run_dir.ledger_lines import NO_ENGINE
from denoise_daisy.run_dir.ledger_table import LedgerTable
from denoise_daisy.tasks.denoise import ranges_of


def facts(
    disk: OnDisk,
    tables: Mapping[str, LedgerTable],
    every: Mapping[int, Work],
) -> Facts:
    """Those that a person asks for first; `every` is the work of all starts."""
    run, record = disk.run, disk.record
    image = run.image
    engines = dict(disk.ledger.engines())
    engines.pop(NO_ENGINE, None)
    hosts = sorted({host for t in tables.values() for host in t.names.hosts if host})
    return Facts(
        output=str(run.output),
        run_dir=str(run.run_dir.path),
        input=run.config.input.one.path,
        input_identity={
            name.removeprefix("input "): value
            for name, value in record.stages[run.denoising.name].parameters.items()
            if name.startswith("input ")
        },
        shape=tuple(image.shape),
        dtype=image.dtype.name,
        volume=tuple(ranges_of(disk.volume)),
        voxel_um=tuple(image.scale_um),
        channels=disk.channels,
        output_dtype=run.array.dtype,
        denoiser=run.denoiser.kind,
        settings=run.config.denoise.model_dump(mode="json"),
        noise=run.denoiser.noise_text,
        is_exact=run.is_exact,
        versions=dict(record.versions),
        engines=engines,
        blocks=run.denoising.grid.size,
        done=disk.ledger.done_count,
        failed=len(disk.ledger.last_failed()),
        starts=record.epoch,
        began=clock(min(h.begin for h in every.values())) if every else None,
        ended=clock(max(h.end for h in every.values())) if every else None,
        hosts=tuple(hosts),
        workers=len({worker for h in every.values() for worker in h.workers}),
    )


def clock(seconds: float) -> str:
    """Seconds since 1970 as a time of day, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
