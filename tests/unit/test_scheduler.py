"""When a start goes on, and where workers find it: on our own clock.

A test that plans something says when the start has to end, so that nothing is green
because it never came to pass.
"""

import signal
import threading
from collections.abc import Callable
from types import SimpleNamespace

import daisy
import numpy as np
import pytest

from denoise_daisy.errors import Interrupted, RunStopped
from denoise_daisy.geometry import Index
from denoise_daisy.run_dir.connection import Hint, read_ready
from denoise_daisy.run_dir.worker_states import remove_state
from denoise_daisy.scheduling import daisy_server
from denoise_daisy.scheduling.daisy_server import BlockServer
from denoise_daisy.scheduling.stage_state import Verdict
from harness.hiccups import Hiccup
from harness.one_pool import eight_blocks
from harness.one_start import FakeServer, OneStart
from harness.waiting import wait_until


def test_a_start_ends_once_all_is_done(start: Callable[..., OneStart]) -> None:
    it = start()
    it.time.at(50, it.finish)
    it.run()
    assert 50 <= it.time.now < 52
    assert it.launcher.most == 2
    assert it.connection is None


def test_workers_hear_of_the_end_though_the_file_system_hiccups(
    start: Callable[..., OneStart], monkeypatch: pytest.MonkeyPatch
) -> None:
    it = start()
    hiccup = Hiccup(monkeypatch, "unlink", "connection.json")
    it.time.at(50, it.finish)
    it.run()
    assert hiccup.hits == 1
    assert it.connection is None


# Daisy's server.


def test_ten_servers_in_a_row_that_end_early_stop_the_run(
    start: Callable[..., OneStart],
) -> None:
    it = start()

    def die(server: FakeServer) -> None:
        server.is_alive = False
        server.error = RuntimeError(f"panic {len(it.servers)}")

    FakeServer.on_start = die
    with pytest.raises(RunStopped, match="10 times in a row") as stopped:
        it.run()
    assert "panic 10" in str(stopped.value)
    assert len(it.servers) == 10


def test_a_block_done_lets_the_counting_of_servers_begin_again(
    start: Callable[..., OneStart],
) -> None:
    it = start()

    def die(server: FakeServer) -> None:
        server.is_alive = False
        if len(it.servers) == 10:
            it.say("denoise", "done", 0)

    FakeServer.on_start = die
    with pytest.raises(RunStopped, match="10 times in a row"):
        it.run()
    assert len(it.servers) == 20


def test_workers_are_told_where_the_next_server_listens(
    start: Callable[..., OneStart],
) -> None:
    it = start()
    told = []

    def note() -> None:
        connection = it.connection
        assert connection
        told.append((connection.run_id, connection.epoch))

    def die() -> None:
        it.server.is_alive = False

    it.time.at(10, note)
    it.time.at(20, die)
    it.time.at(30, note)
    it.time.at(40, it.finish)
    it.run()
    assert told == [("0", 1), ("1", 1)]


def test_a_server_gets_the_stages_that_are_left_and_their_timeout(
    start: Callable[..., OneStart],
) -> None:
    it = start("denoise", "soft")
    it.say("denoise", "done", *range(40))
    it.read_ledgers()
    it.time.at(10, it.finish)
    it.run()
    assert it.server.stages == ["soft"]
    assert it.server.timeout_seconds["soft"] == 30000
    assert it.server.host == "127.0.0.1"


def ask(it: OneStart, seconds: float) -> list[Verdict]:
    """At that time Daisy asks for the first block of `soft`, which reads `denoise`.

    What is to become of it.
    """
    answers = []

    def act() -> None:
        verdict = it.server.verdict("soft", (0, 0, 0, 0))
        answers.append(verdict)
        # A server that is ahead of the ledgers ends.
        it.server.is_alive = verdict is not Verdict.NOT_YET

    it.time.at(seconds, act)
    return answers


def test_a_block_is_handed_out_before_all_that_it_reads_shows_in_the_ledger(
    start: Callable[..., OneStart],
) -> None:
    """Its worker waits: what other hosts have written may show late here or there."""
    it = start("denoise", "soft")
    answers = [ask(it, seconds) for seconds in (10, 129)]
    it.time.at(140, it.finish)
    it.run()
    assert answers == [[Verdict.HAND_OUT], [Verdict.HAND_OUT]]
    assert len(it.servers) == 1


def test_lines_that_do_not_show_within_two_minutes_let_another_server_begin(
    start: Callable[..., OneStart],
) -> None:
    it = start("denoise", "soft")
    answers = [ask(it, seconds) for seconds in (10, 131, 150)]
    it.time.at(200, it.finish)
    it.run()
    assert answers == [[Verdict.HAND_OUT], [Verdict.NOT_YET], [Verdict.HAND_OUT]]
    assert len(it.servers) == 2


def end(it: OneStart) -> None:
    """Daisy has heard that all is done."""
    it.server.is_alive, it.server.is_through = False, True


def test_lines_that_show_after_daisy_has_heard_that_all_is_done_are_waited_for(
    start: Callable[..., OneStart],
) -> None:
    it = start()

    it.time.at(10, lambda: end(it))
    it.time.at(125, it.finish)
    it.run()
    assert len(it.servers) == 1
    assert 125 <= it.time.now < 127


def test_what_does_not_show_two_minutes_after_that_is_done_again(
    start: Callable[..., OneStart],
) -> None:
    it = start()
    began = []

    def note(_: FakeServer) -> None:
        began.append(it.time.now)

    FakeServer.on_start = note
    it.time.at(10, lambda: end(it))
    it.time.at(200, it.finish)
    it.run()
    assert len(began) == 2
    assert 130 <= began[1] < 132


def test_a_signal_that_daisy_had_taken_stops_the_run(
    start: Callable[..., OneStart],
) -> None:
    """It takes SIGINT for itself when it starts, and ends by what comes until then."""
    it = start()
    worker: list[str] = []

    def abort() -> None:
        worker.extend(it.launcher.living())
        it.show(worker[0], 0)
        it.server.is_alive, it.server.error = False, KeyboardInterrupt("aborted")

    it.time.at(10, abort)
    it.time.at(20, lambda: it.show(worker[0], None))
    with pytest.raises(Interrupted, match="Stopped by SIGINT"):
        it.run()
    assert len(it.servers) == 1
    # A block in flight was waited for.
    assert 20 <= it.time.now < 22


def slow_look(it: OneStart, at: float, seconds: float) -> None:
    """The next look into the ledger from then on takes so long, as from a slow disk."""
    ledger = it.states["denoise"].ledger
    refresh = ledger.refresh

    def slowly() -> None:
        refresh()
        if it.time.now >= at:
            ledger.refresh = refresh  # type: ignore[method-assign]
            it.time.now += seconds

    ledger.refresh = slowly  # type: ignore[method-assign]


def test_lines_that_show_are_seen_in_time_though_a_look_has_just_taken_long(
    start: Callable[..., OneStart],
) -> None:
    """The next is after half a minute, when two minutes are over since 10."""
    it = start()
    it.time.at(10, lambda: end(it))
    slow_look(it, 100, 5)
    it.time.at(106, it.finish)
    it.run()
    assert len(it.servers) == 1
    assert 130 <= it.time.now < 132


@pytest.mark.parametrize(("seconds", "pause"), [(0.5, 10), (1.2, 24), (20.0, 30)])
def test_a_look_that_took_long_makes_the_next_one_wait_for_half_a_minute_at_most(
    seconds: float, pause: float, start: Callable[..., OneStart]
) -> None:
    it = start()
    slow_look(it, 50, seconds)
    it.time.at(51 + seconds, it.finish)
    it.run()
    assert it.time.now == pytest.approx(50 + seconds + pause, abs=1)


def test_nothing_is_waited_for_once_a_signal_came(
    start: Callable[..., OneStart],
) -> None:
    it = start()

    it.time.at(10, lambda: end(it))
    it.time.at(30, lambda: it.take(signal.SIGTERM))
    with pytest.raises(Interrupted):
        it.run()
    assert it.time.now < 32


def test_what_workers_are_told_is_told_again_when_it_is_gone(
    start: Callable[..., OneStart],
) -> None:
    """Somebody deletes files, or a file server has lost them."""
    it = start()
    told: list[object] = []

    def lose() -> None:
        it.run_dir.connection_file.unlink()
        it.run_dir.ready_file.unlink()

    it.time.at(10, lambda: told.append((it.connection, read_ready(it.run_dir))))
    it.time.at(20, lose)
    it.time.at(30, lambda: told.append((it.connection, read_ready(it.run_dir))))
    it.time.at(40, it.finish)
    it.run()
    assert told[0] == told[1] != (None, None)
    assert it.connection is None


def one_server(verdict: Callable[[str, Index], Verdict]) -> BlockServer:
    """A real one, of a stage of eight blocks none of which is done."""
    return BlockServer(
        [eight_blocks("soft")],
        {"soft": np.zeros(8, bool)},
        verdict,
        timeout_seconds={"soft": 600},
        host="127.0.0.1",
    )


def test_a_server_that_is_ahead_of_the_ledger_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is Daisy's own; what it is told after the first block is not asked for."""
    asked = []

    def verdict(stage: str, index: Index) -> Verdict:
        asked.append((stage, index))
        return Verdict.NOT_YET

    server = one_server(verdict)
    server.finish("soft")
    wait_until(lambda: not server.is_alive, "the server ends")
    server.join()
    assert asked == [("soft", (0, 0, 0, 0))]
    assert server.error is None
    assert "Daisy is ahead of the ledger of soft." in caplog.text


def test_a_block_that_daisy_hands_to_who_only_asks_is_handed_out_again() -> None:
    """By a ledger that shows late, say: all eight are to be had afterwards."""
    asked: list[Index] = []

    def verdict(_: str, index: Index) -> Verdict:
        asked.append(index)
        return Verdict.HAND_OUT

    server = one_server(verdict)
    server.finish("soft")
    wait_until(lambda: bool(asked), "a block is asked for")
    context = daisy.Context(
        hostname="127.0.0.1",
        port=server.port,
        task_id=f"soft.{server.run_id}",
        worker_id=-1,
        logdir="",
    )
    clients, got = [daisy.Client(context)], []

    def take() -> bool:
        with clients[-1].acquire_block() as block:
            if block is not None:
                got.append(int(block.write_roi.begin[3]))
        if block is None:
            # The first block is on its way back; this client gets no other.
            clients.append(daisy.Client(context))
        return len(got) == 8

    wait_until(take, "eight blocks are handed out")
    assert sorted(got) == [0, 2, 4, 6, 8, 10, 12, 14]
    server.join()
    assert server.error is None


@pytest.mark.parametrize("why", ["no sockets left", None])
def test_a_server_of_daisys_that_does_not_listen_is_told_of(
    why: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it ends at once, or is silent for longer than it is waited for."""
    is_over = threading.Event()

    class MuteServer:
        def run_blockwise(self, *_: object, **__: object) -> None:
            if why is not None:
                raise OSError(why)
            is_over.wait()

    monkeypatch.setattr(daisy, "Server", MuteServer)
    monkeypatch.setattr(daisy_server, "START_SECONDS", 600.0 if why else 0.1)
    said = why or "it does not listen after 0.1 s"
    with pytest.raises(RunStopped, match=rf"did not start \({said}\)"):
        one_server(lambda *_: Verdict.HAND_OUT)
    is_over.set()


def test_blocks_that_daisy_would_cut_otherwise_are_none_of_a_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it calls the eighth block would be nobody's."""
    other = SimpleNamespace(block_grid_shape=(1, 1, 1, 7))
    monkeypatch.setattr(daisy, "Task", lambda *_, **__: other)
    with pytest.raises(
        RuntimeError, match=r"cuts \(1, 1, 1, 7\) blocks of stage 'soft', not \(1, 1"
    ):
        one_server(lambda *_: Verdict.HAND_OUT)


def test_a_block_that_is_done_or_given_up_is_finished_for_daisy(
    start: Callable[..., OneStart],
) -> None:
    it = start("denoise", "soft")
    it.say("denoise", "done", 1)
    it.say("denoise", "failed", 2)
    it.read_ledgers()
    verdicts = []

    def act() -> None:
        for stage in ("denoise", "soft"):
            blocks = ((0, 0, 0, 1), (0, 0, 0, 2))
            verdicts.append([it.server.verdict(stage, block) for block in blocks])

    it.time.at(10, act)
    it.time.at(20, it.finish)
    it.run()
    assert it.servers[0].finished == {"denoise": 2, "soft": 1}
    assert verdicts == [
        [Verdict.FINISHED, Verdict.FINISHED],
        [Verdict.HAND_OUT, Verdict.FINISHED],
    ]


def test_daisy_is_told_of_stages_that_have_no_block_left(
    start: Callable[..., OneStart],
) -> None:
    """But not of the last one: its end is the end of the server."""
    it = start("denoise", "soft")
    it.time.at(10, lambda: it.say("denoise", "done", *range(40)))
    told = []
    it.time.at(20, lambda: told.append(it.server.asked_to_finish))
    it.time.at(30, it.finish)
    it.run()
    assert told == [{"denoise"}]
    assert it.server.is_joined


def test_workers_are_told_which_stages_have_blocks_the_last_first(
    start: Callable[..., OneStart],
) -> None:
    """And how long theirs took; blocks that workers have at hand are not counted."""
    it = start("denoise", "soft")
    told = []

    def note() -> None:
        told.append(list((read_ready(it.run_dir) or {}).items()))

    it.time.at(5, note)
    it.time.at(10, lambda: it.say("denoise", "done", *range(3), seconds=7.5))
    it.time.at(10, lambda: it.show("w1", 3))
    it.time.at(15, note)
    it.time.at(20, it.finish)
    it.run()
    assert told == [
        [("soft", Hint(0, 0)), ("denoise", Hint(40, 0))],
        [("soft", Hint(3, 0)), ("denoise", Hint(36, 8))],
    ]


# The end.


def test_workers_get_five_seconds_to_leave_once_all_is_done(
    start: Callable[..., OneStart],
) -> None:
    it = start()
    it.time.at(10, lambda: it.show("w1", None))
    it.time.at(20, it.finish)
    it.run()
    assert 25 <= it.time.now < 26.5
    assert it.launcher.living() == set()


def test_nobody_is_waited_for_who_has_left(start: Callable[..., OneStart]) -> None:
    it = start()
    it.time.at(10, lambda: it.show("w1", None))
    it.time.at(20, it.finish)
    it.time.at(22, lambda: remove_state(it.run_dir, "w1"))
    it.run()
    assert 22 <= it.time.now < 23


def test_there_are_no_more_workers_than_blocks_that_are_ready(
    start: Callable[..., OneStart],
) -> None:
    it = start(count=30)
    it.say("denoise", "done", *range(35))
    it.read_ledgers()
    it.time.at(10, it.finish)
    it.run()
    assert it.launcher.most == 5


def test_blocks_that_wait_for_others_are_no_reason_for_a_worker(
    start: Callable[..., OneStart],
) -> None:
    """Four are left of the first stage; of the second two could be done."""
    it = start("denoise", "soft", count=30)
    it.say("denoise", "done", *range(36))
    it.say("soft", "done", *range(34))
    it.read_ledgers()
    it.time.at(10, it.finish)
    it.run()
    assert it.launcher.most == 6
