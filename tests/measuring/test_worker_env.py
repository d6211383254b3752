"""Which variables reach code that nobody here has read."""

import os
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapbench.measuring import worker_env
from gapbench.measuring.forkserver import ForkServer
from gapbench.measuring.protocol import Answer

SECURITY = Path(__file__).parents[2] / "SECURITY.md"

SECRETS = [
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "GOOGLE_APPLICATION_CREDENTIALS",
    "AZURE_STORAGE_CONNECTION_STRING", "GITHUB_TOKEN", "GH_TOKEN", "ACTIONS_RUNTIME_TOKEN", "CI_JOB_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_URL", "GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_PATH", "GITHUB_STEP_SUMMARY", "HF_TOKEN",
    "PIP_INDEX_URL", "UV_PUBLISH_TOKEN", "TWINE_PASSWORD", "SSH_AUTH_SOCK", "DBUS_SESSION_BUS_ADDRESS", "HTTPS_PROXY",
    "DATABASE_URL", "FSSPEC_S3_KEY", "PYTHON_KEYRING_BACKEND", "TORCH_HUB_TOKEN", "CUDA_passwd", "GAPBENCH_SECRET",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_passes(name):
    assert not worker_env.is_allowed(name)


@pytest.mark.parametrize(
    "name",
    [
        "PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "CC", "CXX",
        "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "OMP_NUM_THREADS", "KMP_AFFINITY",
        "MKL_NUM_THREADS", "TORCHINDUCTOR_CACHE_DIR", "TORCH_HOME", "PYTORCH_CUDA_ALLOC_CONF", "TRITON_CACHE_DIR",
        "NUMBA_NUM_THREADS", "CUBLAS_WORKSPACE_CONFIG", "XDG_CACHE_HOME", "GLIBC_TUNABLES",
    ],
)  # fmt: skip
def test_what_computing_needs_passes(name):
    assert worker_env.is_allowed(name)


@given(st.sampled_from([*worker_env.NAMES, *worker_env.PREFIXES]), st.sampled_from(worker_env.SECRET), st.text("A_b"))
def test_a_secret_is_one_whatever_its_name_begins_with(beginning, word, rest):
    for name in (f"{beginning}{rest}{word}", f"{beginning}{word.lower()}{rest}"):
        assert not worker_env.is_allowed(name)


@given(st.text(max_size=20))
def test_what_is_not_on_the_list_does_not_pass(name):
    if name not in worker_env.NAMES and not name.startswith(worker_env.PREFIXES):
        assert not worker_env.is_allowed(name)


def tell_environment(channel, current):
    channel.send(Answer(dict(os.environ)))


def test_a_worker_sees_what_is_on_the_list_and_nothing_else(monkeypatch):
    for name in SECRETS:
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with ForkServer(variables={"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}) as server:
        server.wait_ready()
        (answer, _) = server.start(tell_environment).messages(time.monotonic() + 30)
    observed = answer.content
    assert {"PYTHONPATH", "OMP_NUM_THREADS", "PATH", "GLIBC_TUNABLES"} <= observed.keys()
    assert "secret" not in observed.values()
    own = {"LC_CTYPE", "TORCHINDUCTOR_CACHE_DIR", "TORCHINDUCTOR_COMPILE_THREADS"}  # Python's, torch's, ours
    assert observed["TORCHINDUCTOR_COMPILE_THREADS"] == "1"
    assert observed.keys() <= set(filter(worker_env.is_allowed, os.environ)) | {"GLIBC_TUNABLES"} | own


def test_security_md_has_the_lists():
    text = SECURITY.read_text(encoding="utf-8")
    for heading, listed in (
        ("pass", {*worker_env.NAMES, *(f"{prefix}*" for prefix in worker_env.PREFIXES)}),
        ("never pass", set(worker_env.SECRET)),
    ):
        (line,) = re.findall(rf"^- \*\*{heading}\*\*: (.*?)\n(?=\n|- )", text, flags=re.MULTILINE | re.DOTALL)
        assert set(re.findall(r"`([^`]+)`", line)) == listed
