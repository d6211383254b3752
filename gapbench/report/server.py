"""A report over HTTP, for a browser on this machine and for nothing else.

It listens on 127.0.0.1, answers GET and HEAD, and only those who asked for it by that name: a page of another site that
points its own name at this address (DNS rebinding) is refused. Whoever is logged in on this machine can read it.
"""

from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import gapbench
from gapbench.errors import GapbenchError
from gapbench.report.served import Answer, Served

HOST = "127.0.0.1"

_POLICY = (
    "default-src 'none'; script-src {scripts}; style-src 'self' 'unsafe-inline'; img-src data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_SECONDS = 30
"""After which a connection that says nothing is closed."""


class Server(ThreadingHTTPServer):
    """Serves on a port of 127.0.0.1, a free one for 0, once told to ``serve_forever``; a context manager.

    Raises `GapbenchError` where the port cannot be had.
    """

    daemon_threads = True

    def __init__(self, served: Served, port: int = 0) -> None:
        self.served = served
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise GapbenchError(
                f"cannot serve on port {port} of {HOST} ({error.strerror}); choose another with --port, or leave it "
                "out for a free one"
            ) from error
        names = ("localhost", HOST, "[::1]")
        suffixes = (f":{self.server_port}", *([""] if self.server_port == 80 else []))
        self.names = {f"{name}{suffix}" for name in names for suffix in suffixes}

    @property
    def url(self) -> str:
        """Where the index is."""
        return f"http://{HOST}:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = _SECONDS
    server_version = f"gapbench/{gapbench.__version__}"
    sys_version = ""
    _scripts = "'none'"

    def do_GET(self) -> None:
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or hosts[0].lower() not in self.server.names:
            self._reply(Answer(f"gapbench: ask for {self.server.url}\n", status=HTTPStatus.MISDIRECTED_REQUEST))
            return
        self._reply(self.server.served.answer(self.path))

    do_HEAD = do_GET  # noqa: N815 - the name that the base class looks for

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Refuse a request and read no more of it; of an unknown method the base class says "not implemented"."""
        self.close_connection = True
        if code == HTTPStatus.NOT_IMPLEMENTED:
            refused = Answer("gapbench: reports are only read\n", status=HTTPStatus.METHOD_NOT_ALLOWED)
            self._reply(refused, Allow="GET, HEAD")
        else:
            self._reply(Answer(f"gapbench: {message or HTTPStatus(code).phrase}\n", status=HTTPStatus(code)))

    def _reply(self, answer: Answer, **headers: str) -> None:
        body = answer.body.encode()
        # a page that was stored says itself, by hashes, which of its scripts may run; both policies hold
        self._scripts = "'self' 'unsafe-inline'" if answer.inline else "'self'"
        self.send_response(answer.status)
        self.send_header("Content-Type", f"{answer.kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        if answer.place is not None:
            self.send_header("Location", answer.place)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def end_headers(self) -> None:
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Security-Policy", _POLICY.format(scripts=self._scripts))
        super().end_headers()

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True  # the browser left

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the method that this replaces
        """Say nothing: stdout is for data, stderr for what needs a person."""
