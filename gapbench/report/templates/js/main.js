// Assemble the page, beginning with the first screen.

async function start() {
  startForm();
  document.documentElement.dataset.usable = "yes";
  document.getElementById("show-keys")?.addEventListener("click", () => keysWindow.showModal());
  if (run) {
    const sought = (name) => [...state.keys()].some((key) => key.startsWith(`${name}.`)) || recall("at") === name;
    restoreCase?.();
    await new Promise((painted) => setTimeout(painted));
    for (const [name, make, rows] of [["heat", makeHeat, run.cases.count], ["winners", makeWinners, run.cases.count], ["results", makeResults, run.rows.count]]) {
      const made = new Promise((done) => whenNear(document.getElementById(name), () => done(make()), rows <= LARGE || sought(name)));
      if (rows <= LARGE || sought(name)) await made;
    }
  }
  for (const table of document.querySelectorAll("figure > table[data-source]")) await makeViewTable(table);
  await makeRuns();
  await makeDiff();
  await makeHistory();
  restoreTrend?.();
  for (const element of document.querySelectorAll("table[data-list]")) {
    await library("datatables");
    const table = new DataTable(element, { autoWidth: false, order: [], pageLength: 100, layout: { topStart: "search", topEnd: null, bottomStart: "info", bottomEnd: element.rows.length > 101 ? "paging" : null }, language: { search: "", searchPlaceholder: "Search", info: "_TOTAL_ in all" } });
    tables.set(element.dataset.list, { table, container: table.table().container(), restore() {} });
    activeTable ??= element.dataset.list;
  }
  watchCharts();
  goTo(recall("at"));
  document.documentElement.dataset.ready = "yes";
  if (document.querySelector("main .chart, script[data-case]")) requestIdleCallback(() => library("plotly").then(drawAll).catch(complain));
  else document.documentElement.dataset.drawn = "yes";
}

start().catch(complain);
