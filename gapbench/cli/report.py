"""``gapbench report``: a run as a page to browse."""

from pathlib import Path

import click

from gapbench.errors import GapbenchError


@click.command("report")
@click.argument("run", default="latest")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("reports"),
    show_default=True,
    help="Folder to write to.",
)
@click.option("--store", "url", metavar="URL", default="results", show_default=True, help="Folder or fsspec URL.")
@click.option("--open", "open_", is_flag=True, help="Open the page in a browser.")
def command(run: str, output: Path, url: str, open_: bool) -> None:
    """Write the HTML page of RUN: its id, a unique prefix, a commit, branch or tag, or latest (the default).

    Prints the path of the page, one self-contained file that needs no network.
    """
    from gapbench import summary
    from gapbench.report import html
    from gapbench.store import Store

    store = Store(url)
    found = store.resolve(run)
    results, samples = store.results([found]), store.samples([found])
    if results.empty:
        raise GapbenchError(f"run {found} has no results yet; complete it with: gapbench run --resume {found}")
    path = html.write(output, store.describe(found), results, summary.winners(results, samples))
    click.echo(path)
    if open_:
        click.launch(str(path))
