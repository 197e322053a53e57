"""The cache of compiled kernels: what it keeps, and what it must survive."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import ostinato
from ostinato.compiler import cache
from ostinato.compiler.cache import Cache, key

ALONE = f"from runpy import run_path; Cache = run_path({cache.__file__!r})['Cache']\n"
"""The cache in another process, which need not import torch for it."""

ENTRY = {"program": b"step", "object": bytes(range(256)) * 4, "": b""}
posix = pytest.mark.skipif(os.name != "posix", reason="rights of files are POSIX's")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "a" / "kernels"


def test_an_entry_comes_back_also_in_another_process(folder: Path) -> None:
    kept = Cache(folder)
    assert kept.get("k") is None
    kept.put("k", ENTRY)
    assert kept.get("k") == Cache(folder).get("k") == ENTRY
    assert kept.reason() is None
    assert [p.name for p in folder.iterdir()] == ["k.kernel"]
    code = ALONE + f"print(Cache({str(folder)!r}).get('k')['program'])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "b'step'\n"


def test_a_later_entry_replaces_the_first(folder: Path) -> None:
    kept = Cache(folder)
    kept.put("k", ENTRY)
    kept.put("k", {"object": b"new"})
    assert kept.get("k") == {"object": b"new"}


def test_keys_tell_the_parts_apart() -> None:
    assert key("ab", "c") != key("a", "bc") != key("abc")
    assert key("ab", "c") == key(b"ab", "c")
    assert len(key()) == 64


@given(st.data())
def test_a_damaged_entry_is_no_entry(data: st.DataObject) -> None:
    whole = cache._pack(ENTRY)
    at = data.draw(st.integers(0, len(whole) - 1))
    flip = data.draw(st.integers(1, 255))
    assert cache._unpack(whole) == ENTRY
    assert cache._unpack(whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :]) is None
    assert cache._unpack(whole[:at]) is None
    assert cache._unpack(whole + bytes([flip])) is None


@given(st.binary(max_size=200))
def test_any_bytes_can_be_met(data: bytes) -> None:
    assert cache._unpack(data) is None


def test_a_damaged_file_is_made_anew(folder: Path) -> None:
    kept = Cache(folder)
    kept.put("k", ENTRY)
    file = folder / "k.kernel"
    file.write_bytes(file.read_bytes()[:50])
    assert kept.get("k") is None
    assert kept.reason() is None
    kept.put("k", ENTRY)
    assert kept.get("k") == ENTRY


def test_the_oldest_entries_leave_first(folder: Path) -> None:
    size = len(cache._pack({"object": bytes(1000)}))
    kept = Cache(folder, limit=3 * size)
    for n, name in enumerate("abc"):
        kept.put(name, {"object": bytes(1000)})
        os.utime(folder / f"{name}.kernel", (n, n))
    (folder / "readme.txt").write_text("not the cache's")
    kept.put("d", {"object": bytes(1000)})
    assert sorted(p.name for p in folder.iterdir()) == ["b.kernel", "c.kernel", "d.kernel", "readme.txt"]
    kept.put("e", {"object": bytes(4000)})
    assert kept.get("e") is None
    assert kept.get("d") is not None


def test_another_process_may_remove_the_same_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Cache(folder, limit=3000)
    kept.put("a", {"object": bytes(2000)})
    ours = os.unlink

    def theirs_first(path: str) -> None:
        ours(path)
        ours(path)

    monkeypatch.setattr(cache.os, "unlink", theirs_first)
    kept.put("b", {"object": bytes(2000)})
    assert kept.reason() is None
    assert kept.get("a") is None
    assert kept.get("b") is not None


@posix
def test_a_new_folder_is_the_users_alone(folder: Path) -> None:
    Cache(folder).put("k", ENTRY)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "k.kernel").stat().st_mode & 0o777 == 0o600


@posix
@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
@pytest.mark.parametrize("linked", [False, True])
def test_a_folder_others_may_write_to_is_refused_once(folder: Path, mode: int, linked: bool) -> None:
    Cache(folder).put("k", ENTRY)
    folder.chmod(mode)
    asked = folder
    if linked:
        asked = folder.parent / "link"
        asked.symlink_to(folder)
    kept = Cache(asked)
    with pytest.warns(UserWarning, match=f"{folder}.*OSTINATO_CACHE"):
        assert kept.get("k") is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept.put("k", ENTRY)
        assert kept.get("k") is None
    assert "other users" in (kept.reason() or "")


@posix
def test_a_file_others_may_write_to_is_refused(folder: Path) -> None:
    kept = Cache(folder)
    kept.put("k", ENTRY)
    (folder / "k.kernel").chmod(0o666)
    with pytest.warns(UserWarning, match="k.kernel"):
        assert kept.get("k") is None


@posix
def test_a_folder_of_another_user_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Cache(folder).put("k", ENTRY)
    monkeypatch.setattr(cache.os, "geteuid", lambda: 12345)
    with pytest.warns(UserWarning, match="another user"):
        assert Cache(folder).get("k") is None


@pytest.mark.parametrize("below", ["", "kernels"])
def test_a_file_where_the_folder_should_be(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("")
    kept = Cache(tmp_path / "file" / below)
    kept.put("k", ENTRY)
    assert kept.get("k") is None
    assert kept.reason()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("step", ["replace", "fdopen"])
def test_a_disk_that_takes_nothing(folder: Path, number: int, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Cache(folder)
    kept.put("old", ENTRY)

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(cache.os, step, fail)
        kept.put("k", ENTRY)
    assert os.strerror(number) in (kept.reason() or "")
    assert sorted(p.name for p in folder.iterdir()) == ["old.kernel"]
    assert kept.get("old") == ENTRY


def test_what_a_dead_process_left_counts_and_leaves(folder: Path) -> None:
    kept = Cache(folder, limit=3000)
    kept.put("a", ENTRY)
    (folder / ".x.part").write_bytes(bytes(2000))
    os.utime(folder / ".x.part", (0, 0))
    kept.put("b", ENTRY)
    assert sorted(p.name for p in folder.iterdir()) == ["a.kernel", "b.kernel"]


def test_many_processes_at_once(folder: Path) -> None:
    code = (
        ALONE + "import sys\n"
        "kept = Cache(sys.argv[1], limit=20000)\n"
        "for n in range(200):\n"
        "    name = str(n % 7)\n"
        "    kept.put(name, {'name': name.encode(), 'object': bytes(2000)})\n"
        "    found = kept.get(str((n + 3) % 7))\n"
        "    assert found is None or found == {'name': str((n + 3) % 7).encode(), 'object': bytes(2000)}\n"
        "assert kept.reason() is None\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(folder)], stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    for process in running:
        assert (process.communicate()[1], process.returncode) == ("", 0)


@pytest.mark.skipif(os.name != "posix", reason="other systems know homes otherwise")
@pytest.mark.parametrize("asked", [None, "~nobody at all/kernels"])
def test_a_user_without_a_home(asked: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "XDG_CACHE_HOME", "OSTINATO_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)
    if asked is not None:
        monkeypatch.setenv("OSTINATO_CACHE", asked)
    kept = cache.default()
    kept.put("k", ENTRY)
    assert kept.get("k") is None
    assert "OSTINATO_CACHE" in (kept.reason() or "")
    assert not list(tmp_path.iterdir())


def test_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OSTINATO_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.default().folder == tmp_path / "ostinato" / "kernels"
    assert cache.default() is cache.default()
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "own"))
    assert cache.default().folder == tmp_path / "own"
    for off in ("", "off", "OFF"):
        monkeypatch.setenv("OSTINATO_CACHE", off)
        kept = cache.default()
        kept.put("k", ENTRY)
        assert kept.get("k") is None
        assert "OSTINATO_CACHE" in (kept.reason() or "")
    monkeypatch.delenv("OSTINATO_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    if sys.platform.startswith("linux"):
        assert cache.default().folder == tmp_path / "home" / ".cache" / "ostinato" / "kernels"


class Own(ostinato.Cell):
    def step(self, x, h):
        return torch.tanh(x - 3.125 * h)


@posix
@pytest.mark.parametrize(
    "run",
    [lambda layer: nn.Sequential(layer)(torch.randn(2, 2, 3)), lambda layer: ostinato.stream(layer)],
    ids=["call", "stream"],
)
def test_the_warning_is_of_the_users_line(run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    monkeypatch.setenv(cache.VARIABLE, str(folder))
    with pytest.warns(UserWarning, match="may be written to by other users") as said:
        run(ostinato.Recurrent(Own, 3, 3))
    assert [warning.filename for warning in said] == [__file__]
