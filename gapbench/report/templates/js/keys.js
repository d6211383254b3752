// The keyboard: / searches, j and k move through a table, Enter opens, ? lists the keys.

const keysWindow = document.getElementById("keys");

/** The openers in the rows of the table that was used last. */
function openers() {
  const here = tables.get(activeTable);
  return here ? [...here.container.querySelectorAll("tbody tr")].map((row) => row.querySelector("button, a")).filter(Boolean) : [];
}

function move(step) {
  const all = openers();
  const { table } = tables.get(activeTable) ?? {};
  const index = all.indexOf(document.activeElement);
  const next = index < 0 ? (step > 0 ? 0 : all.length - 1) : index + step;
  if (next >= 0 && next < all.length) {
    all[next].focus();
    return;
  }
  const { page, pages } = table?.page.info() ?? { page: 0, pages: 0 };
  if (page + step < 0 || page + step >= pages) return;
  table.page(page + step).draw("page");
  openers().at(step > 0 ? 0 : -1)?.focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches?.("input, select, textarea") || document.querySelector("dialog[open]")) return;
  const actions = {
    "/": () => tables.get(activeTable)?.container.querySelector("input[type=search]").focus(),
    j: () => move(1),
    k: () => move(-1),
    "?": () => keysWindow.showModal(),
  };
  if (!Object.hasOwn(actions, event.key)) return;
  event.preventDefault();
  actions[event.key]();
});
