"""The locks themselves, taken by real processes and left behind by dead ones."""

import contextlib
import errno
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapbench.errors import ExitCode, GapbenchError, RefusedError
from gapbench.machine import device_lock
from gapbench.machine.devices import Accelerator, Cpu

HOLD = """
import pathlib, subprocess, sys, time
from gapbench.machine import device_lock
from gapbench.machine.devices import Cpu
from gapbench.measuring.forkserver import ForkServer
lock = device_lock.take(Cpu(), "gapbench run quick", pathlib.Path(sys.argv[1]))
server = ForkServer()
server.wait_ready()
print(server._process.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the CPU, with a fork server of its own; its standard output names the server."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    process.server = int(process.stdout.readline())
    yield process
    process.kill()
    process.communicate()


def descriptors():
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def file_of(folder):
    (path,) = Path(folder).glob("*.lock")
    return path


def test_who_comes_second_is_told_who_is_first_and_why_not(holder, tmp_path):
    with pytest.raises(RefusedError) as refused:
        device_lock.take(Cpu(), "second", tmp_path)
    assert refused.value.exit_code == ExitCode.REFUSED
    assert f"cpu is in use by process {holder.pid} (gapbench run quick) since 20" in str(refused.value)
    assert json.loads(file_of(tmp_path).read_text())["pid"] == holder.pid, "who is refused changes nothing"


def test_the_lock_of_a_killed_process_is_free_at_once_even_while_its_fork_server_lives(holder, tmp_path):
    os.kill(holder.server, signal.SIGSTOP)  # so that it cannot end for lack of a parent
    try:
        holder.kill()
        holder.wait()
        os.kill(holder.server, 0)
        with device_lock.take(Cpu(), "second", tmp_path):
            assert json.loads(file_of(tmp_path).read_text())["pid"] == os.getpid()
    finally:
        os.kill(holder.server, signal.SIGCONT)


def test_who_waits_is_told_first_and_goes_on_when_the_holder_ends(holder, tmp_path):
    messages = []

    def tell(busy):
        messages.append(busy)
        threading.Timer(0.2, end).start()

    def end():
        ended.set()
        holder.kill()

    ended = threading.Event()
    with device_lock.take(Cpu(), "second", tmp_path, tell):
        assert ended.is_set()
    assert len(messages) == 1
    assert f"process {holder.pid}" in messages[0]


def test_a_lock_that_was_given_back_can_be_taken_again(tmp_path):
    for _ in range(2):
        with device_lock.take(Cpu(), "mine", tmp_path):
            pass
    assert file_of(tmp_path).read_bytes() == b""


def test_a_wait_that_is_given_up_leaves_nothing_open(tmp_path):
    def give_up(_):
        raise KeyboardInterrupt

    with device_lock.take(Cpu(), "first", tmp_path):
        before = descriptors()
        with pytest.raises(KeyboardInterrupt):
            device_lock.take(Cpu(), "second", tmp_path, give_up)
        with pytest.raises(RefusedError):
            device_lock.take(Cpu(), "second", tmp_path)
        assert descriptors() == before


@given(st.binary(max_size=300) | st.builds(lambda pid: json.dumps({"pid": pid}).encode(), st.integers()))
def test_whatever_lies_in_the_file_it_is_taken_and_named_without_an_error(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("locks")
    (folder / "gapbench-cpu.lock").write_bytes(content)
    with device_lock.take(Cpu(), "mine", folder):
        assert json.loads(file_of(folder).read_text())["command"] == "mine"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "an unknown process"),
        (b"[" * 4000, "an unknown process"),
        (b'{"pid": "DEAD", "command": "x", "since": "y"}', "an unknown process"),
        (b'{"pid": "LIVE", "command": "\\u001b[2J\\nrun", "since": "y"}', "(?[2J?run) since y"),
    ],
)
def test_what_the_file_says_is_not_believed_where_its_process_is_dead_and_moves_no_cursor(tmp_path, content, expected):
    dead = subprocess.Popen(["true"])
    dead.wait()
    content = content.replace(b'"DEAD"', str(dead.pid).encode()).replace(b'"LIVE"', str(os.getpid()).encode())
    with device_lock.take(Cpu(), "first", tmp_path):
        file_of(tmp_path).write_bytes(content)
        with pytest.raises(RefusedError) as refused:
            device_lock.take(Cpu(), "second", tmp_path)
        assert expected in str(refused.value)
        assert str(refused.value).isprintable()


def test_all_users_may_lock_the_file_whatever_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        with device_lock.take(Cpu(), "mine", tmp_path):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE(file_of(tmp_path).stat().st_mode) == 0o666


def test_a_file_that_may_only_be_read_is_a_lock_all_the_same(tmp_path, monkeypatch):
    (tmp_path / "gapbench-cpu.lock").touch()
    opened = os.open

    def refusing(path, flags, *mode, **options):
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, flags, *mode, **options)

    monkeypatch.setattr(os, "open", refusing)
    with device_lock.take(Cpu(), "first", tmp_path), pytest.raises(RefusedError):
        device_lock.take(Cpu(), "second", tmp_path)


def a_link(path):
    path.with_name("elsewhere").touch()
    path.symlink_to("elsewhere")


def a_hard_link(path):
    path.with_name("elsewhere").touch()
    path.hardlink_to(path.with_name("elsewhere"))


@pytest.mark.parametrize("make", [a_link, a_hard_link, os.mkfifo, Path.mkdir])
def test_what_is_not_a_plain_file_of_its_own_is_refused_and_left_alone(tmp_path, make):
    make(tmp_path / "gapbench-cpu.lock")
    before = descriptors()
    with pytest.raises(GapbenchError, match=r"cannot lock cpu by .*gapbench-cpu\.lock: .*; fix that, or set GAPBENCH"):
        device_lock.take(Cpu(), "mine", tmp_path)
    assert descriptors() == before
    assert sum(path.stat().st_size for path in tmp_path.iterdir() if path.is_file()) == 0


@pytest.mark.parametrize("folder", ["missing", "file"])
def test_a_folder_that_cannot_be_written_to_is_an_error_with_its_remedy(tmp_path, folder):
    (tmp_path / "file").touch()
    with pytest.raises(GapbenchError, match="set GAPBENCH_LOCKS to a folder"):
        device_lock.take(Cpu(), "mine", tmp_path / folder)


def test_without_a_folder_the_first_is_taken_that_every_user_may_write_to(tmp_path, monkeypatch):
    closed, shared, other = (tmp_path / name for name in ("closed", "shared", "other"))
    for folder, mode in {closed: 0o755, shared: 0o1777, other: 0o1777}.items():
        folder.mkdir()
        folder.chmod(mode)
    monkeypatch.setattr(device_lock, "SHARED", (tmp_path / "missing", closed, shared, other))
    with device_lock.take(Cpu(), "mine"):
        assert [path.name for path in shared.iterdir()] == ["gapbench-cpu.lock"]
    monkeypatch.setattr(device_lock, "SHARED", (closed,))
    monkeypatch.setattr("tempfile.tempdir", str(other))
    with device_lock.take(Cpu(), "mine"):
        assert [path.name for path in other.iterdir()] == ["gapbench-cpu.lock"]


def test_devices_exclude_themselves_by_any_name_and_no_others(tmp_path, monkeypatch):
    uuids = {"cuda:0": "GPU-11111111-2222", "cuda:1": None, "../evil:0": None}
    monkeypatch.setattr(device_lock, "_of_the_only_gpu", lambda: None)
    monkeypatch.setattr(device_lock, "facts", lambda device: {"device_uuid": uuids[device.name]})
    with contextlib.ExitStack() as stack:
        for device in (Cpu(), *map(Accelerator, uuids)):
            stack.enter_context(device_lock.take(device, "mine", tmp_path))
        for device in (Cpu(), Accelerator("cuda"), Accelerator("cuda:1")):
            with pytest.raises(RefusedError):
                device_lock.take(device, "mine", tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"gapbench-{name}.lock" for name in ("cpu", "11111111-2222", "cuda_1", ".._evil_0")}
