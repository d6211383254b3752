"""Profile the implementations of a case, each in a fresh worker process, from the parent process.

A profile is a JSON document: what it is of, its ``files``, ``status`` and ``reason``, and if ok the fields of
`job.Measured`. One of a side of ``gapbench ab`` also has "side", and head's has the "explanation".
"""

import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from gapbench import operations
from gapbench.machine import environment
from gapbench.measuring import servers
from gapbench.measuring.forkserver import ForkServer, how_it_ended, last_answer
from gapbench.measuring.plan import HERE, CasePlan
from gapbench.measuring.protocol import PROTOCOL_ERROR, Answer
from gapbench.profiling import counters, job, sampling
from gapbench.store.profiles import SCHEMA
from gapbench.store.records import STATUSES
from gapbench.workloads.cases import Case

_PATIENCE = 300.0  # seconds, the timeout of one profile


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile's document, and the content of its files by name."""

    document: dict[str, Any]
    files: dict[str, bytes]


def profile(
    case: Case, specs: Mapping[str, str], most_trace_bytes: int = sampling.MOST_TRACE_BYTES
) -> Iterator[Profile]:
    """Profile each of ``specs`` (names or ``FILE.py:FUNCTION``, by name) on ``case``, one after the other.

    What cannot be profiled has a status and reason. Raises `GapbenchError` if no worker can start.
    """
    with ForkServer(servers.preload([CasePlan("profile", case, dict(specs))])) as server:
        server.wait_ready()
        for name, spec in specs.items():
            yield profile_one(server, name, job.Request(case, spec, most_trace_bytes=most_trace_bytes))


def profile_one(server: ForkServer, name: str, request: job.Request) -> Profile:
    """Profile an implementation with this ``name`` in a fresh worker of a server that is ready."""
    case, versions = request.case, environment.versions()
    document = {"schema": SCHEMA, "case": case.id, "dtype": case.dtype, "bytes_moved": case.bytes_moved}
    document |= {
        "implementation": name,
        "versions": {package: versions[package] for package in ("torch", "triton", "gapbench")},
    }
    with tempfile.TemporaryDirectory(prefix="gapbench-profile-") as folder:
        document |= _content(server, replace(request, folder=Path(folder)))
        paths = sorted(filter(_is_plain, Path(folder).iterdir())) if document["status"] == "ok" else []
        files = {path.name: path.read_bytes() for path in paths}
    return Profile(document | {"files": list(files)}, files)


def _content(server: ForkServer, request: job.Request) -> dict[str, Any]:
    if request.source == HERE and (reason := operations.unsupported_reason(request.spec, request.case)):
        return {"status": "unsupported", "reason": reason}
    answer = last_answer(server.start(job.profile, request), _PATIENCE)
    if not isinstance(answer, Answer) or not isinstance(answer.content, dict):
        status, reason = how_it_ended(answer, _PATIENCE)
        return {"status": status, "reason": reason}
    content = answer.content
    if not _is_document(content):
        return {"status": "failed", "reason": PROTOCOL_ERROR}
    if content["status"] == "ok" and request.case.device != "cpu":
        content["counters"] = [asdict(counter) for counter in _of_the_gpu(request)]
    return content


def _is_document(content: dict[str, Any]) -> bool:
    """Tell whether a worker's document is valid, so that it can be kept and compared."""
    if content.get("status") != "ok":
        return content.get("status") in STATUSES and isinstance(content.get("reason"), str)
    try:
        msgspec.convert(content, job.Measured)
    except msgspec.ValidationError:
        return False
    return True


def _is_plain(path: Path) -> bool:
    """Tell whether a path is a plain file with a safe name, not a link or a pipe."""
    return path.is_file() and not path.is_symlink() and re.fullmatch(r"\w[\w.-]{0,99}", path.name) is not None


def _of_the_gpu(request: job.Request) -> list[counters.Counter]:
    if request.case.device.partition(":")[0] != "cuda":
        return counters.unknown("ncu supports only NVIDIA's GPUs", counters.NAMES)
    if request.source != HERE:
        return counters.unknown("ncu starts its own process, which cannot load another checkout", counters.NAMES)
    return counters.ncu(request.case.id, request.spec)
