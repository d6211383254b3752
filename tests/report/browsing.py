"""Write the site that tests open in a browser, and read its pages; see the fixture `pages`."""

from stored import keep, side

from gapbench.report import site
from gapbench.store.store import Store
from gapbench.workloads.cases import Case

HOSTILE = "<script>window.pwned=1</script>\"'><img src=x onerror=window.pwned=1></script><b>%{x}&lt;`${1}"
FORMULA = "=HYPERLINK(1)"
CASES = (
    Case((8, 64, 7, 7), label="small head"),
    Case((8, 64, 7, 7), layout="channels_last", label="small head"),
    Case((8, 256, 56, 56), dtype="bfloat16", label="squeeze"),
    Case((1, 64, 32, 32), label="tutorial"),
)
NAMES = ("mean", "fast", "slow", "odd", *(f"other_{number}" for number in range(8)))
BASE, HEAD = "20261122T101112Z-abc1234-0001", "20261123T101112Z-def5678-0002"
CASE = f"{CASES[0].id}@host"


def write_pages(folder):
    """Write a site of two runs, the second slower for `fast`, the same as single files, and a site of hostile texts."""
    changes = {"fast": 0.2, "odd": 0.1256}
    snippets = {"fast": "fast(x)", "mean": "x.mean((2, 3))"}
    common = {"cases": CASES, "names": NAMES, "statuses": {"slow": "wrong"}, "snippets": snippets}
    store = Store(str(folder / "results"))
    keep(store, side(BASE, changes, seed=1, **common))
    keep(store, side(HEAD, {**changes, "fast": 0.25}, seed=2, warnings=["busy; stop other work"], **common))
    site.write(store, [BASE, HEAD], folder / "site")
    site.write(store, [BASE, HEAD], folder / "single", single_file=True)
    _hostile(Store(str(folder / "hostile-results")), folder / "hostile")


def _hostile(store, folder):
    names = ("mean", HOSTILE, f"{HOSTILE}2", FORMULA)
    fields = {
        "cases": (Case((2, 3, 4, 4), label=HOSTILE), Case((2, 3, 4, 4), dtype="float16", label="plain")),
        "names": names,
        "statuses": {f"{HOSTILE}2": "wrong"},
        "git": {"commit": "abc1234", "branch": HOSTILE, "subject": HOSTILE, "dirty": True},
        "argv": ["gapbench", HOSTILE],
        "tag": HOSTILE,
        "warnings": [HOSTILE],
        "settings": {"memory": [HOSTILE]},
        "versions": {HOSTILE: HOSTILE},
        "machine": {"cpu": HOSTILE},
        "snippets": dict.fromkeys(names, HOSTILE),
        "plan": [],
    }
    runs = [
        keep(store, side(run, {HOSTILE: 0.3 * index}, seed=index, **fields))
        for index, run in enumerate((BASE, HEAD), 1)
    ]
    site.write(store, runs, folder)


def rows(page, table="results"):
    return page.locator(f"[data-table={table}] tbody tr").all_inner_texts()


def column(page, table, title):
    """The texts of a column by its header."""
    headers = page.locator(f"[data-table={table}] thead th").all_inner_texts()
    index = next(index for index, header in enumerate(headers) if header.startswith(title))
    return page.locator(f"[data-table={table}] tbody td:nth-child({index + 1})").all_inner_texts()


def asked(page, label):
    """A field of the form."""
    return page.locator("#ask").get_by_label(label)


def facet(page, label):
    """A filter of the table of all results."""
    return page.locator("#results .facets").get_by_label(label)
