"""Provide the scripts and styles of the pages: our own, DataTables from itables, plotly from its package.

Pages of a site share them as files named by version or hash, so that other pages in the folder keep theirs.
"""

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from itables.utils import read_package_file
from markupsafe import Markup
from plotly.offline import get_plotlyjs, get_plotlyjs_version

from gapbench.errors import GapbenchError

TEMPLATES = Path(__file__).parent / "templates"

_SCRIPTS = (
    "format", "markup", "data", "state", "theme", "load", "charts", "table", "tables", "which", "windows",
    "heat", "runs", "case", "diff", "history", "keys", "main",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that pages share: its name in the site and its text."""

    name: str
    text: str

    @property
    def inline(self) -> Markup:
        """The text for a script element; what would end that occurs in strings and regular expressions only."""
        escaped = re.sub(r"<(?=!--|/?script)", r"\\x3C", self.text, flags=re.IGNORECASE)
        return Markup(escaped)  # noqa: S704 - libraries' and our own code

    @property
    def sha256(self) -> str:
        """The hash of `inline`, in the format of content security policies."""
        return base64.b64encode(hashlib.sha256(str(self.inline).encode()).digest()).decode()


@cache
def style() -> Asset:
    """Return our style sheet."""
    return _hashed("css", (TEMPLATES / "report.css").read_text(encoding="utf-8"))


@cache
def script() -> Asset:
    """Return our scripts, joined."""
    parts = [(TEMPLATES / "js" / f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS]
    return _hashed("js", '"use strict";\n(() => {\n' + "\n".join(parts) + "\n})();\n")


@cache
def plotly() -> Asset:
    """Return the plotly of the installed package."""
    return Asset(f"plotly-{get_plotlyjs_version()}.min.js", get_plotlyjs())


@cache
def datatables() -> Asset:
    """Return itables' DataTables as a script that sets ``DataTable``: browsers do not load modules from files."""
    module = str(read_package_file("html", "dt_bundle.js"))
    exports = re.search(r"export ?\{([^}]*)\};?", module)
    default = re.search(r"([\w$]+) as default", exports[1]) if exports else None
    if exports is None or default is None:
        raise GapbenchError("cannot convert the DataTables of this itables; install itables 2.4 to 2.9")
    text = f"(() => {{\n{module[: exports.start()]}\nglobalThis.DataTable = {default[1]};\n}})();\n"
    return Asset(f"datatables-{version('itables')}.js", f'"use strict";\n{text}')


def all_of_them() -> tuple[Asset, ...]:
    """Return every file that the pages of a site share."""
    return (style(), script(), datatables(), plotly())


def _hashed(ending: str, text: str) -> Asset:
    return Asset(f"report-{hashlib.sha256(text.encode()).hexdigest()[:8]}.{ending}", text)
