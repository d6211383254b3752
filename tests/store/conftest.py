"""An S3 on loopback that counts its requests."""

import logging
import uuid

import fsspec
import pytest
from moto.server import ThreadedMotoServer

from gapbench.store.store import Store


class Requests(logging.Handler):
    """What the server was asked: "GET /bucket/key", ..."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage().split('"')[1].removesuffix(" HTTP/1.1"))

    def take(self):
        """Return what was asked since the last time."""
        taken, self.lines = self.lines, []
        return taken


@pytest.fixture(scope="session")
def s3_server():
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=True)
    server.start()
    requests, logger = Requests(), logging.getLogger("werkzeug")
    logger.setLevel(logging.INFO)
    logger.addHandler(requests)
    logger.propagate = False
    yield "http://{}:{}".format(*server.get_host_and_port()), requests
    logger.removeHandler(requests)
    server.stop()


@pytest.fixture
def s3(s3_server, monkeypatch):
    """Return a function that opens the store of this test as another process would, and the server's requests."""
    endpoint, requests = s3_server
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    bucket = f"runs-{uuid.uuid4().hex[:8]}"
    fsspec.filesystem("s3").mkdir(bucket)

    def open_store(prefix="team/results"):
        fsspec.filesystem("s3").invalidate_cache()
        return Store(f"s3://{bucket}/{prefix}")

    yield open_store, requests
    fsspec.filesystem("s3").clear_instance_cache()
