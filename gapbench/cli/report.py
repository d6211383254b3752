"""``gapbench report``: runs as pages to browse."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gapbench.cli import common
from gapbench.errors import GapbenchError, counted

if TYPE_CHECKING:
    from gapbench.store.store import Store

FOLDER = Path("reports")


@click.command("report")
@click.argument("runs", metavar="[RUN]...", nargs=-1)
@click.option("--baseline", metavar="RUN", help="Run to compare with, on a page of the diff.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder to write to.  [default: reports]")
@click.option("--single-file", is_flag=True, help="Write each run as one self-contained file, to share.")
@click.option("--publish", type=click.Path(path_type=Path), metavar="FOLDER", help="Add new runs to a website.")
@click.option("--redact", is_flag=True, help="Also leave out command line, tag, branch and commit subject.")
@common.store
@click.option("--open", "open_", is_flag=True, help="Open the page (of several runs, the index) in a browser.")
def command(
    runs: tuple[str, ...], baseline: str | None, output: Path | None, single_file: bool, publish: Path | None,
    redact: bool, url: str, open_: bool,
) -> None:  # fmt: skip
    """Write the page of each RUN: an id, a unique prefix, a commit, branch or tag, or latest (the default).

    Prints the paths of the pages. They open from the disk and need no network; index.html beside them lists all pages
    of the folder. Without --baseline a run is compared with the newest earlier one of the same suites in the same
    environment.

    Several runs are also compared on one page, runs.html: by their times, or on different devices by their shares of
    each device's own ceiling.

    --publish adds the pages of each RUN, by default of all complete runs without one there, to a FOLDER that is served
    as a website, with badges of the newest run: badge.svg, badge.json, badge-SUITE.svg. Other files stay as they are.
    Exits with 5 if no run of the store is complete.

    No page has names of host and user, serial numbers, environment variables or the folders of paths.
    """
    from gapbench.report import site
    from gapbench.store.store import Store

    if publish is not None and (output or single_file or baseline):
        raise GapbenchError("--publish has its own FOLDER of linked pages: leave out -o, --single-file and --baseline")
    store, folder = Store(url), publish or output or FOLDER
    ids = list(dict.fromkeys(store.resolve(run) for run in runs or (("latest",) if publish is None else ())))
    base = None if baseline is None else store.resolve(baseline)
    if publish is None:
        pages = site.write(store, ids, folder, baseline=base, redact=redact, single_file=single_file)
    else:
        pages = site.publish(store, ids, folder, redact, common.left_out)
        click.echo(f"{counted(len(pages), 'run')} {'written' if runs else 'added'} to {folder / 'index.html'}")
    for page in pages:
        click.echo(page)
    if open_:
        click.launch(str(pages[0] if len(pages) == 1 or single_file else folder / "index.html"))


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
