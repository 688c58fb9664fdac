"""What a worker shows of itself."""

import os
import platform
import threading
import time

from denoise_daisy.geometry import Index
from denoise_daisy.launchers import own_job
from denoise_daisy.machine import peak_memory
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.run_dir.worker_states import WorkerState, remove_state, write_state


class Presence:
    """What this worker is doing, for others to see; shared by its threads."""

    def __init__(self, run_dir: RunDir, worker: str, pool: str) -> None:
        self.worker = worker
        self.pool = pool
        self.run = ""
        """Run directory of its blocks, where it goes from run to run."""
        self.run_id = ""
        """That of the run which it has loaded."""
        self._run_dir = run_dir
        self._job = own_job(os.environ)
        self._stage = ""
        self._block: Index | None = None
        self._engine: str | None = None
        self._since = time.time()
        self._writing = threading.Lock()
        self._removed = False
        self.show()

    def begin(self, stage: str, block: Index | None, engine: str | None = None) -> None:
        """Another block from now on, or none; `engine` is what computes it."""
        with self._writing:
            self._stage, self._block, self._since = stage, block, time.time()
            self._engine = engine
            self._write()

    def show(self) -> None:
        """Write it again, with the memory used until now."""
        with self._writing:
            self._write()

    def _write(self) -> None:
        if self._removed:
            return
        state = WorkerState(
            worker=self.worker,
            host=platform.node(),
            pid=os.getpid(),
            pool=self.pool,
            stage=self._stage,
            block=self._block,
            since=self._since,
            peak_mib=peak_memory() >> 20,
            engine=self._engine,
            run=self.run,
            job=self._job,
            run_id=self.run_id,
        )
        write_state(self._run_dir, state)

    def remove(self) -> None:
        """Leave nothing that says this worker is at work."""
        with self._writing:
            self._removed = True
            remove_state(self._run_dir, self.worker)
