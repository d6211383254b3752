"""Remove private details from what pages show, because pages are passed around.

No page has the names of the host and its user, serial numbers, environment variables, or folders (only the last part of
a path stays). Redacted pages also lack details of the work: the command line, the tag, the branch and the commit's
subject. ``run.json`` keeps all of it for users of the store.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from msgspec import to_builtins

from gapbench.report.loaded_run import Stored
from gapbench.store.run import Run, decode

_PRIVATE = frozenset(
    {
        "host", "hostname", "node", "fqdn", "user", "username", "login", "home", "cwd", "executable", "path", "paths",
        "env", "environ", "environment_variables", "uuid", "device_uuid", "serial", "mac", "ip", "parts",
    }
)  # fmt: skip
_REDACTED = frozenset({"argv", "tag", "branch", "subject", "plan", "diff_hash", "network"})

_PART = r"""[^\s'"<>|*?:,;()\[\]/\\]+"""
_FOLDERS = re.compile(
    rf"""(?:(?<![\w./\\:~*-])(?:~[\w.-]*|\.{{1,2}}|[A-Za-z]:)?(?!/(?:sys|proc|dev)/)[/\\]  # /, ~/, C:\; not /sys
        |(?<!\w)(?!https?:)[A-Za-z][\w+.-]*:///?)               # or an address other than a page's: s3://bucket
        (?:(?:home|Users)[/\\]{_PART}(?![/\\\w.-])            # a home itself, whose last part is the user's name
        |(?:{_PART}[/\\]+)+)                                   # and every folder up to the last part
    """,
    re.VERBOSE,
)


def public(stored: Stored, redact: bool = False) -> Stored:
    """Remove private details from a run and its results; ``redact`` also removes those of the work (see the module)."""
    texts = [name for name in ("reason", "code_path") if name in stored.results and stored.results[name].notna().any()]
    masked = {name: stored.results[name].map(text, na_action="ignore") for name in texts}
    return replace(stored, run=run(stored.run, redact), results=stored.results.assign(**masked))


def run(shown: Run, redact: bool = False) -> Run:
    """Remove private details from a run's metadata."""
    return decode(_shown(to_builtins(shown), _PRIVATE | _REDACTED if redact else _PRIVATE))


def document(shown: Mapping[str, Any]) -> dict[str, Any]:
    """Remove private details from a JSON document."""
    return {key: _shown(value, _PRIVATE) for key, value in shown.items() if key.lower() not in _PRIVATE}


def text(value: str) -> str:
    """Replace the folders of every path in ``value`` by ``…/``."""
    return _FOLDERS.sub("…/", value)


def _shown(value: Any, left_out: frozenset[str]) -> Any:
    match value:
        case str():
            return text(value)
        case Mapping():
            kept = {str(key): each for key, each in value.items() if str(key).lower() not in left_out}
            return {text(key): _shown(each, left_out) for key, each in kept.items()}
        case list() | tuple():
            return [_shown(each, left_out) for each in value]
        case _:
            return value
