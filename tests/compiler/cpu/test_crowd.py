"""Threads wait without spinning while others want the processors, and spin again afterwards."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from ostinato.compiler.cpu import crowd, threads

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads are teams on Linux only")


class System:
    """A clock, processors, and threads that are kept from running. Two processors, for a pair of threads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.times, self.reads = 100.0, crowd.Times({"1": 5.0, "2": 7.0}, 10.0, 50.0), 0
        self.joined: list[int] = []
        monkeypatch.setattr(crowd, "time", SimpleNamespace(perf_counter=lambda: self.now))
        monkeypatch.setattr(crowd, "OURS", {"0", "1"})
        self.crowd = crowd.Crowd(lambda: self.joined.append(threading.get_ident()), self.read)

    def read(self) -> crowd.Times:
        self.reads += 1
        return self.times

    def after(
        self, seconds: float, kept: float = 0.0, others: float = 0.0, used: float = 0.0, threads: int = 2
    ) -> bool:
        """Whether a crowd is seen after so long, in which a thread was kept from running for so long, and processors
        were used by others and by us."""
        self.now += seconds
        old = self.times
        self.times = crowd.Times(old.kept | {"2": old.kept["2"] + kept}, old.used + used, old.busy + used + others)
        self.crowd.look(threads)
        return self.crowd.here


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    return System(monkeypatch)


def test_one_thread_that_waits_for_a_processor_is_enough(system: System) -> None:
    assert not system.after(0)  # nothing to compare with: what was before the first look does not count
    assert not system.after(1, kept=0.29, others=1.0, used=0.9)
    assert system.crowd.patience.value == crowd.PATIENT
    assert system.after(1, kept=0.31, others=0.51, used=0.9)
    assert system.crowd.patience.value == crowd.HASTY


def test_threads_of_this_process_are_no_crowd(system: System) -> None:
    system.after(0)
    assert not system.after(1, kept=0.5, others=0.49, used=1.5)
    assert not system.after(1, kept=0.5, used=2.0)


def test_others_on_processors_that_we_leave_free_are_no_crowd(system: System) -> None:
    system.after(0, threads=1)
    assert not system.after(1, kept=0.5, others=1.4, used=0.5, threads=1)
    assert system.after(1, kept=0.5, others=1.51, used=0.5, threads=1)


def test_a_crowd_is_there_as_long_as_others_use_what_we_left_them(system: System) -> None:
    system.after(0)
    assert system.after(0.1, kept=0.05, others=0.1)
    for _ in range(20):
        assert system.after(0.1, others=0.1, used=0.1)


def test_calm_must_last(system: System) -> None:
    system.after(0)
    assert system.after(0.1, kept=0.05, others=0.1)
    assert system.after(crowd.LASTING / 2)
    assert system.after(0.1, others=0.1)
    assert system.after(crowd.LASTING * 0.9)
    assert not system.after(crowd.LASTING * 0.2)
    assert system.crowd.patience.value == crowd.PATIENT


def test_a_new_thread_and_one_that_ended_are_no_crowd(system: System) -> None:
    system.after(0)
    system.times = crowd.Times({"2": 7.0, "3": 50.0}, 10.0, 50.0)
    assert not system.after(0.1, others=0.1)
    system.times = crowd.Times({"2": 7.0}, 10.0, 50.0)
    assert not system.after(0.1, others=0.1)


def test_a_system_that_does_not_tell(system: System) -> None:
    system.times = nothing = crowd.Times({}, 0.0, 0.0)
    for _ in range(5):
        system.now += 1
        system.times = nothing
        system.crowd.look(2)
        assert not system.crowd.here


def test_looks_are_rare(system: System) -> None:
    for _ in range(100):
        system.after(crowd.LOOK / 50)
    assert 2 <= system.reads <= 3


def test_the_company_is_one_thread_which_ends(system: System) -> None:
    others = set(threading.enumerate())
    system.after(0)
    for _ in range(5):
        assert system.after(0.1, kept=0.1, others=0.1)
    (company,) = set(threading.enumerate()) - others
    assert not system.after(1)
    company.join(10)
    assert not company.is_alive()
    assert system.joined == [company.ident]


STAT = """cpu  1000 1000 1000 1000 0 0 0 0 0 0
cpu0 1 2 3 1000 1000 4 5 1000 1000 1000
cpu1 10 20 30 1000 1000 40 50 1000 1000 1000
cpu11 100 200 300 1000 1000 400 500 1000 1000 1000
intr 77 88
"""


def test_reading_what_the_system_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "OURS", {"0", "11"})
    (tmp_path / "stat").write_text(STAT)
    for name, text in (("11", "5000000000 2500000000 17\n"), ("12", "1000000 1000000 1\n")):
        (tmp_path / "self/task" / name).mkdir(parents=True)
        (tmp_path / "self/task" / name / "schedstat").write_text(text)
    times = crowd.Times.read(tmp_path)
    assert times.kept == {"11": 2.5, "12": 0.001}
    assert times.used == pytest.approx(5.001)
    assert times.busy == pytest.approx((15 + 1500) / os.sysconf("SC_CLK_TCK"))
    (tmp_path / "self/task/12/schedstat").write_text("")
    assert crowd.Times.read(tmp_path) == crowd.Times({}, 0.0, 0.0)
    assert crowd.Times.read(tmp_path / "nowhere") == crowd.Times({}, 0.0, 0.0)


def test_own_threads_are_read() -> None:
    if not Path("/proc/self/schedstat").exists():
        pytest.skip("this system does not tell")
    before = crowd.Times.read()
    assert str(threading.get_native_id()) in before.kept
    start = time.process_time()
    while time.process_time() < start + 0.05:
        pass
    after = crowd.Times.read()
    assert after.used - before.used >= 0.04
    assert after.busy >= before.busy


@pytest.mark.parametrize("number", [1, 2, 3, 64])
def test_openmp_then_has_more_threads_than_processors(number: int) -> None:
    """A team's first thread is the one that makes it, and the program's own is counted once."""
    size = crowd.more_than_processors(number)
    assert size >= 2
    assert number + size - 1 > len(crowd.OURS)


ASLEEP = """
import time, torch
from ostinato.compiler.cpu import crowd, threads
torch.set_num_threads(max(2, len(crowd.OURS)))
matrix = torch.ones(300, 300)

def spent():
    matrix @ matrix
    start = time.process_time()
    time.sleep(0.05)
    return time.process_time() - start

if "libgomp" not in str(threads._runtimes()):
    print("another OpenMP")
else:
    spent()
    threads._crowd._come()
    deadline = time.perf_counter() + 60
    while time.perf_counter() < deadline and sorted(spent() for _ in range(5))[2] > 0.001:
        pass
    asleep = sorted(spent() for _ in range(5))[2]
    threads._crowd._go()
    print(asleep)
"""


def test_openmps_threads_sleep_after_a_region() -> None:
    """What the process spends while its first thread sleeps: some milliseconds where others spin."""
    done = subprocess.run([sys.executable, "-c", ASLEEP], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    if "another" in done.stdout:
        pytest.skip("OpenMP is not GNU's here")
    assert float(done.stdout) < 0.001


def test_a_program_ends_while_others_want_the_processors() -> None:
    code = "from ostinato.compiler.cpu import threads\nthreads._crowd._come()\nprint(threads._crowd.here)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_kernels_are_told_where_to_look() -> None:
    assert threads.patience() == ctypes.addressof(threads._crowd.patience)
