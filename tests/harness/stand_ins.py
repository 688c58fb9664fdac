"""Stand-ins for time and for what starts workers, which do what a test says."""

from collections.abc import Callable

from denoise_daisy.launchers.base import EndedBy, Exit, Launcher


class FakeTime:
    """Time that passes when somebody sleeps, and what is planned happens then.

    It takes the place of the module `time`.
    """

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self._end = now + 1000
        self._plan: list[tuple[float, Callable[[], None]]] = []

    def at(self, now: float, act: Callable[[], None]) -> None:
        """Do that as soon as it is so late."""
        self._plan.append((now, act))
        self._plan.sort(key=lambda entry: entry[0])

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        assert self.now < self._end, "this does not end"
        while self._plan and self._plan[0][0] <= self.now:
            self._plan.pop(0)[1]()


class FakeLauncher(Launcher):
    """Workers w1, w2, ... that run at once and end when a test says so."""

    def __init__(self, time: FakeTime) -> None:
        self._time = time
        self._count = 0
        self._exits: list[Exit] = []
        self._living: list[str] = []
        self.in_queue = False
        """Whether new workers have to wait."""
        self._waiting: set[str] = set()
        self.starts: list[tuple[float, int]] = []
        """When workers were started, and how many."""
        self.most = 0
        """How many lived at once."""
        self.killed: list[str] = []
        self.excluded: list[str] = []
        self.taken_back: list[set[str]] = []
        """At each time that those who wait were taken back, who was known to run."""
        self.ends = 0
        """How often all were ended."""

    def end(
        self,
        worker: str,
        code: int | None,
        why: str = "",
        *,
        by: EndedBy | None = None,
        host: str = "",
    ) -> None:
        """From now on the worker has ended, in that way, on that host."""
        ended_by = by or ("system" if code is None else "itself")
        self._living.remove(worker)
        self._exits.append(Exit(worker, code, why, ended_by, host))

    def begin(self, worker: str) -> None:
        """A worker that waited runs."""
        self._waiting.remove(worker)

    def check(self) -> None:
        raise AssertionError("nobody asks for that in a start")

    def describe(self) -> str:
        raise AssertionError("nobody asks for that in a start")

    def start(self, count: int) -> None:
        self.starts.append((self._time.monotonic(), count))
        for _ in range(count):
            self._count += 1
            self._living.append(f"w{self._count}")
            if self.in_queue:
                self._waiting.add(f"w{self._count}")
        self.most = max(self.most, len(self._living))

    def exclude(self, host: str) -> None:
        self.excluded.append(host)

    def living(self) -> set[str]:
        return set(self._living)

    def running(self) -> set[str]:
        return set(self._living) - self._waiting

    def ended(self) -> list[Exit]:
        exits, self._exits = self._exits, []
        return exits

    def kill(self, worker: str) -> None:
        self.killed.append(worker)

    def cancel_waiting(self, begun: set[str]) -> None:
        self.taken_back.append(begun)

    def end_all(self) -> None:
        self.ends += 1
        self._living = []

    def waits_for(self) -> str:
        return "2 waiting in Somewhere (Priority)"
