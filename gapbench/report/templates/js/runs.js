// Several runs beside each other: a row for each case, a column for each run, by times or by shares of ceilings.

async function makeRuns() {
  const element = document.querySelector('[data-table="runs"]');
  if (!element) return;
  const [cases, columns, cells] = [data.cases, data.columns, data.cells].map(frame);
  const measure = cells.column(data.shares ? "ceiling_fraction" : "seconds");
  const better = (a, b) => (data.shares ? b - a : a - b);
  const names = distinct(cells.column("implementation"), range(cells.count)).sort();
  const choice = document.getElementById("chosen");
  choice.append(new Option("the fastest of each run", ""), ...names.map((name) => new Option(name, name)));
  let grid = [];
  let best = [];

  /** Find the row of each case and column for the choice, and the best measure of each case. */
  function choose() {
    choice.value = names.includes(recall("impl")) ? recall("impl") : "";
    grid = range(cases.count).map(() => []);
    for (const row of range(cells.count)) {
      const wanted = choice.value ? cells.at("implementation", row) === choice.value : cells.at("fastest", row);
      if (wanted) grid[cells.at("case", row)][cells.at("column", row)] ??= row;
    }
    best = grid.map((rows) => rows.filter((row) => !missing(valueOf(row))).sort((a, b) => better(measure(a), measure(b)))[0]);
  }

  const valueOf = (row) => (row === undefined || cells.at("status", row) !== "ok" ? null : measure(row));
  /** How much worse a row is than the best of its case, or than its ceiling: 1 is as good. */
  const factorOf = (row) => (missing(valueOf(row)) ? null : data.shares ? 1 / measure(row) : measure(row) / measure(best[cells.at("case", row)]));
  function ties(row) {
    const [low, high] = [cells.at("seconds_low", row), cells.at("seconds_high", best[cells.at("case", row)])];
    return !data.shares && best[cells.at("case", row)] !== row && !missing(low) && !missing(high) && low <= high;
  }

  function show(row) {
    if (row === undefined) return noCell;
    const others = grid[cells.at("case", row)].filter((other) => !missing(valueOf(other)));
    const isBest = others.length > 1 && best[cells.at("case", row)] === row;
    const isTie = !isBest && !missing(valueOf(row)) && ties(row);
    const share = missing(measure(row)) ? MISSING : `${number(100 * measure(row))} %`;
    const text = data.shares ? share : ratio(factorOf(row));
    const content = isBest ? bestText(text, data.shares ? "highest share" : "smallest time") : markup`${isTie ? "≈" : ""}${text}`;
    return cellMarkup(row, cells.at("status", row), factorOf(row), isBest ? "fastest" : isTie ? "tie" : null, () => content);
  }

  const fact = (read, name, index) => (name === "threads" ? `threads ${read.at(name, index)}` : name === "shape" ? shapeText(read.at(name, index)) : String(read.at(name, index) ?? MISSING));
  const always = ["shape", "dtype", "layout"];
  const named = cases.names.filter((name) => always.includes(name) || (name !== "label" && cases.varies(name)));
  const facts = (index) => named.map((name) => fact(cases, name, index)).join(", ");
  const caseText = (index) => [cases.at("label", index), facts(index)].filter(Boolean).join(", ");
  const varying = columns.names.filter((name) => name !== "run" && columns.varies(name));
  const head = (column, name = columns.at("run", column)) => [...varying.map((each) => fact(columns, each, column)), name].join(", ");
  const shortName = (column) => columns.at("run", column).replace(/^\w+?-(?=.)/, ""); // without its time

  function measuredMarkup(row) {
    if (cells.at("status", row) !== "ok") return markup`<b>${cells.at("status", row) ?? MISSING}</b> ${cells.at("reason", row) ?? ""}`;
    if (data.shares) return markup`${missing(measure(row)) ? "ceiling: not measured" : `${number(100 * measure(row))} % of its device's ceiling`}`;
    const [value, low, high] = ["seconds", "seconds_low", "seconds_high"].map((name) => cells.at(name, row));
    return markup`${measured(seconds(value), secondsInterval(value, low, high))} per call`;
  }

  const tip = (row) => markup`<span class="name">${cells.at("implementation", row)}</span> <span class="facts">${head(cells.at("column", row))}</span>
    <span class="facts">${caseText(cells.at("case", row))}</span><span>${measuredMarkup(row)}</span>`;
  const rowName = (index) => markup`<b>${cases.at("label", index) || shapeText(cases.at("shape", index))}</b> <span class="facts">${facts(index)}</span>`;
  const columnOf = (place) => ({
    name: `column.${place}`,
    title: head(place, shortName(place)),
    numeric: true,
    value: (index) => (data.shares ? valueOf(grid[index][place]) : factorOf(grid[index][place])),
    show: (index) => show(grid[index][place]),
  });

  choose();
  const column = (name) => ({ name, title: name[0].toUpperCase() + name.slice(1), value: cases.column(name), facet: true, hidden: true });
  const table = await makeTable(
    element,
    [
      { name: "case", title: "Case", value: caseText, header: true, show: rowName },
      ...cases.names.filter((name) => !["label", "shape"].includes(name)).map(column),
      ...range(columns.count).map(columnOf),
    ],
    cases.count,
    { csv: false },
  );
  const again = () => {
    choose();
    table.rows().invalidate().draw(false);
  };
  choice.addEventListener("change", () => {
    remember("impl", choice.value);
    again();
  });
  onAddress(again);
  element.addEventListener("click", (event) => {
    const row = event.target.closest("[data-row]")?.dataset.row;
    const isSite = document.body.dataset.datatables; // a page that stands alone has no others
    if (row !== undefined && isSite) location.href = `${columns.at("run", cells.at("column", row))}.html#${new URLSearchParams({ case: cells.at("address", row) })}`;
  });
  roveCells(element, table);
  showTips(element, tip);
}
