"""A diff in the formats of ``--format``: each a function from the diff to the text for stdout."""

from collections.abc import Callable, Mapping

from gapbench.compare import Diff
from gapbench.report.diff import contract, github, markdown, table

FORMATS: Mapping[str, Callable[[Diff], str]] = {
    "table": table.render,
    "markdown": markdown.render,
    "json": contract.render,
    "github": github.render,
}
