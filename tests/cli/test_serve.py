"""`gapbench report --serve` as a process that a user starts and ends."""

import json
import signal
import socket
import subprocess
import sys
from urllib.request import urlopen

import pytest
from fabricated import a_run, run_id
from growing import CASES, RUN, begun, grow, results

from gapbench.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "results"))


@pytest.fixture(autouse=True)
def same_priority(monkeypatch):
    """The process of the tests keeps its priority where a command runs inside it."""
    monkeypatch.setattr("os.nice", lambda _: None, raising=False)


@pytest.fixture
def serving(tmp_path):
    """Start a server in an empty folder; return its process and its address."""
    processes = []

    def start(*options):
        process = subprocess.Popen(
            [sys.executable, "-m", "gapbench", "report", "--serve", *options],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background jobs of shells ignore it
        )
        processes.append(process)
        return process, process.stdout.readline().strip()

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def get(address):
    with urlopen(address) as answer:  # noqa: S310 - our own server
        return answer.read().decode()


def test_it_serves_an_empty_store_until_ctrl_c_and_picks_up_what_begins(serving, store):
    process, url = serving()
    assert url.startswith("http://127.0.0.1:")
    assert "gapbench run" in get(url)
    writer = begun(store)
    grow(writer, CASES[0], 0)
    assert json.loads(get(f"{url}live.json?run={RUN}"))["rounds"] == 1
    writer.finish(results(writer))
    assert "Which implementation?" in get(f"{url}{RUN}.html")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.strip()) == (130, "", "")


def test_it_writes_the_pages_that_report_writes_and_serves_on_the_port_that_was_asked_for(serving, store, tmp_path):
    runs = [a_run(store, run=run_id(day)) for day in (1, 2, 3)]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    _, url = serving("--port", str(port), "-o", "out")
    assert url == f"http://127.0.0.1:{port}/"
    assert (tmp_path / "out" / f"{runs[2]}.html").is_file()
    assert f'href="{runs[2]}.html"' in get(url)
    _, url = serving(runs[0], runs[1], "-o", "named")
    assert {path.stem for path in (tmp_path / "named").glob("2*.html")} >= set(runs[:2])
    assert not (tmp_path / "named" / f"{runs[2]}.html").exists()


@pytest.mark.parametrize(
    ("options", "culprit", "remedy"),
    [
        (["--serve", "--single-file"], "--single-file", "choose one of them"),
        (["--port", "8000"], "--port 8000", "--serve"),
        (["--serve", "--port", "0"], "0", "1<=x<=65535"),
        (["--serve", "nosuch"], "'nosuch'", "the newest are"),
        (["--serve", "-o", "results/file"], "results/file", "choose another folder"),
    ],
)
def test_bad_input_is_one_line_that_names_culprit_and_remedy(gapbench, store, tmp_path, options, culprit, remedy):
    a_run(store)
    (tmp_path / "results" / "file").write_text("")
    code, out, err = gapbench("report", *options)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert culprit in err
    assert remedy in err


def test_a_port_in_use_is_one_line(gapbench):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = gapbench("report", "--serve", "--port", port)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert f"port {port}" in err
    assert "--port" in err
