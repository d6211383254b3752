"""The server as anything on the machine may talk to it."""

import http.client
import json
import socket
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from fabricated import a_run
from growing import CASES, RUN, begun, grow

from gapbench.errors import GapbenchError
from gapbench.report.served import Served
from gapbench.report.server import Server


def ask(server, path="", **options):
    """Return status, headers and text of an answer."""
    try:
        with urlopen(Request(server.url + path, **options)) as answer:  # noqa: S310 - our own server
            return answer.status, answer.headers, answer.read().decode()
    except HTTPError as error:
        return error.code, error.headers, error.read().decode()


def test_it_listens_on_this_machine_only_and_says_where(server):
    assert server.server_address[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_port}/"
    assert ask(server)[0] == 200


def test_pages_and_progress_come_over_http(server, store):
    run = a_run(store)
    writer = begun(store)
    grow(writer, CASES[0], 0)
    status, headers, text = ask(server, "live.json")
    assert (status, headers["Content-Type"]) == (200, "application/json; charset=utf-8")
    assert [one["run"] for one in json.loads(text)["runs"]][-1] in (run, RUN)
    assert "Which implementation?" in ask(server, f"{run}.html")[2]
    assert "Who is ahead?" in ask(server, f"{RUN}.html")[2]  # by a redirect


@pytest.mark.parametrize("path", ["", "live.json", "nosuch.html"])
def test_every_answer_has_the_headers_that_keep_it_here(server, path):
    _, headers, _ = ask(server, path)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self';")
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "Access-Control-Allow-Origin" not in headers
    assert "Python" not in headers["Server"]


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "localhost:1", "127.0.0.1.evil.example:{port}", "", "[::1]"]
)
def test_who_asks_by_another_name_is_refused(server, store, host):
    begun(store)
    status, _, text = ask(server, "live.json", headers={"Host": host.format(port=server.server_port)})
    assert status == 421
    assert RUN not in text


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "LocalHost:{port}", "[::1]:{port}"])
def test_names_of_this_machine_are_answered(server, host):
    assert ask(server, headers={"Host": host.format(port=server.server_port)})[0] == 200


def raw(server, text):
    """Send what no library would send, and return the answer's first line and all of it."""
    with socket.create_connection(server.server_address) as connection:
        connection.sendall(text.format(port=server.server_port).encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    return answer.splitlines()[0], answer


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ("GET / HTTP/1.1\r\n\r\n", "421"),
        ("GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nHost: evil\r\n\r\n", "421"),
        ("GET /../../../../etc/passwd HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n", "404"),
        ("GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n", "404"),
        ("GET /..%2fresults/run.json HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n", "404"),
        ("GET http://evil/etc/passwd HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n", "404"),
        ("BREW / HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n", "405"),
        ("nonsense\r\n\r\n", "gapbench"),
        ("GET / HTTP/9.9\r\n\r\n", "gapbench"),
    ],
)
def test_what_no_browser_sends_is_refused_and_gets_nothing(server, request_, status):
    first, answer = raw(server, request_)
    assert status in first
    assert "root:" not in answer
    assert ask(server)[0] == 200  # and the server goes on


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_reports_are_only_read(server, method):
    status, headers, text = ask(server, method=method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    assert text == "gapbench: reports are only read\n"


def test_head_is_get_without_the_body(server, store):
    run = a_run(store)
    for path in ("", f"{run}.html", "live.json", "nosuch.html"):
        got, asked = ask(server, path), ask(server, path, method="HEAD")
        assert asked[0] == got[0]
        assert asked[1]["Content-Length"] == got[1]["Content-Length"] == str(len(got[2].encode()))
        assert asked[2] == ""


def test_a_browser_that_leaves_is_no_trouble(server, capsys):
    for _ in range(3):
        connection = http.client.HTTPConnection(*server.server_address)
        connection.request("GET", "/plotly.js")
        connection.close()
    assert ask(server)[0] == 200
    assert capsys.readouterr().err == ""


def test_a_port_in_use_is_named(server, store, tmp_path):
    with pytest.raises(GapbenchError, match=f"port {server.server_port} .*in use.*--port"):
        Server(Served(store, tmp_path), server.server_port)
