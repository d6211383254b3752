"""``gapbench report``: runs as pages to browse."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gapbench.cli import common
from gapbench.errors import GapbenchError

if TYPE_CHECKING:
    from gapbench.store.store import Store

FOLDER = Path("reports")


@click.command("report")
@click.argument("runs", metavar="[RUN]...", nargs=-1)
@click.option("--baseline", metavar="RUN", help="Run to compare with, on a page of the diff.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=FOLDER, show_default=True, help="Folder to write to."
)
@click.option("--single-file", is_flag=True, help="Write each run as one self-contained file, to share.")
@click.option("--redact", is_flag=True, help="Also leave out command line, tag, branch and commit subject.")
@common.store
@click.option("--open", "open_", is_flag=True, help="Open the page (of several runs, the index) in a browser.")
def command(
    runs: tuple[str, ...], baseline: str | None, output: Path, single_file: bool, redact: bool, url: str, open_: bool
) -> None:
    """Write the page of each RUN: an id, a unique prefix, a commit, branch or tag, or latest (the default).

    Prints the paths of the pages. They open from the disk and need no network; index.html beside them lists all pages
    of the folder. Without --baseline a run is compared with the newest earlier one of the same suites in the same
    environment.

    Several runs are also compared on one page, runs.html: by their times, or on different devices by their shares of
    each device's own ceiling.

    No page has names of host and user, serial numbers, environment variables or the folders of paths.
    """
    from gapbench.report import site
    from gapbench.store.store import Store

    store = Store(url)
    ids = list(dict.fromkeys(store.resolve(run) for run in runs or ("latest",)))
    base = None if baseline is None else store.resolve(baseline)
    pages = site.write(store, ids, output, baseline=base, redact=redact, single_file=single_file)
    for page in pages:
        click.echo(page)
    if open_:
        click.launch(str(pages[0] if len(pages) == 1 or single_file else output / "index.html"))


def write_page(store: "Store", run: str, open_: bool = False) -> None:
    """Write a run's page at its end and print its path, or warn where it cannot be written."""
    from gapbench.report import site

    try:
        (page,) = site.write(store, [run], FOLDER)
    except GapbenchError as error:
        click.echo(f"warning: {error}; the run is stored: gapbench report {run} -o FOLDER", err=True)
        return
    click.echo(f"page {page}")
    if open_:
        click.launch(str(page))
