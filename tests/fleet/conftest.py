"""A Ray cluster of three nodes on loopback, for commands that are started as processes."""

import os
import socket
import subprocess
import sys

import pytest

RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S": "80",  # 30 s are too few beside other work
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # else 127.0.0.1 is replaced by an address that nobody listens on
}


@pytest.fixture(scope="module")
def port():
    """Return a port for drivers from outside of the cluster."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def locks(tmp_path_factory):
    """Return folders for the locks of each node: they stand for machines, and share one only for the test's sake."""
    return [tmp_path_factory.mktemp("locks") for _ in range(3)]


@pytest.fixture(scope="module")
def cluster(port, locks):
    """Start three nodes of one processor each; yield the cluster, whose nodes, but the first, can be removed."""
    kept = dict(os.environ)
    os.environ.update(RAY)
    from ray.cluster_utils import Cluster

    own = [{"env_vars": {"GAPBENCH_LOCKS": str(folder)}} for folder in locks]
    node = {
        "node_ip_address": "127.0.0.1",
        "include_dashboard": False,
        "num_cpus": 1,
        "object_store_memory": 80 * 2**20,
    }
    started = Cluster(initialize_head=True, head_node_args={**node, **own[0], "ray_client_server_port": port})
    try:
        for variables in own[1:]:
            started.add_node(**node, **variables)
        yield started
    finally:
        started.shutdown()
        os.environ.clear()
        os.environ.update(kept)


@pytest.fixture
def start(cluster, tmp_path):
    """Start gapbench as a driver of the cluster."""

    def process(*arguments):
        return subprocess.Popen(
            [sys.executable, "-m", "gapbench", *arguments],
            cwd=tmp_path,
            env=os.environ | {"RAY_ADDRESS": cluster.address},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return process
