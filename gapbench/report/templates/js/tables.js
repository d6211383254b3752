// The tables of a run's page: a row for each case with its winner, and a row for each implementation on each case.

const LARGE = 2000; // a table with more rows is filled when it comes near the window

function caseButton(index) {
  const label = run.cases.at("label", index);
  return markup`<button type="button" class="link" data-case="${index}">${label || shapeText(run.cases.at("shape", index))}</button>`;
}

/** A column of a fact of the case, for rows of the case ``caseOf(row)``. */
function caseColumn(name, title, caseOf, extra = {}) {
  const read = run.cases.column(name);
  return { name, title, value: (row) => read(caseOf(row)), ...extra };
}

/** Facts of cases: shape, dtype and layout always, the others if they vary, and in the CSV. */
function caseColumns(caseOf) {
  const rest = { suite: "Suite", operation: "Operation", device: "Device", pass: "Pass", threads: "Threads", clock: "Clock", memory: "Memory" };
  const elements = (row) => product(sizes(run.cases.at("shape", caseOf(row))));
  return [
    { name: "case", title: "Case", value: (row) => run.cases.at("label", caseOf(row)) || run.cases.at("shape", caseOf(row)), show: (row) => caseButton(caseOf(row)), wide: true },
    caseColumn("shape", "Shape", caseOf, { show: (row) => markup`${shapeText(run.cases.at("shape", caseOf(row)))}` }),
    { name: "elements", title: "Elements", value: elements, numeric: true, hidden: true },
    caseColumn("dtype", "Dtype", caseOf, { facet: true }),
    caseColumn("layout", "Layout", caseOf, { facet: true }),
    ...Object.entries(rest).map(([name, title]) => caseColumn(name, title, caseOf, { facet: true, hidden: !run.cases.varies(name) })),
  ];
}

const rowColumn = (name, title, extra = {}) => ({ name, title, value: run.rows.column(name), ...extra });
const bound = (name) => rowColumn(name, name, { numeric: true, hidden: true });

function shown(name, format) {
  return { numeric: true, show: (row) => markup`${format(run.rows.at(name, row))}`, hidden: !run.rows.has(name) };
}

function makeWinners() {
  const element = document.querySelector('[data-table="winners"]');
  const winner = (index) => run.cases.at("winner", index);
  const won = (name) => (index) => (winner(index) === null ? null : run.rows.at(name, run.rowOf(index, winner(index))));
  const ties = (index) => run.cases.at("ties", index) ?? [];
  const nobody = (index) => markup`<span class="soft">${run.contested(index) ? "no winner: nothing was measured successfully" : "no winner: these compute different things"}</span>`;
  const named = (index) => markup`<span class="winner">${symbol("fastest")}${breakable(winner(index))}</span>${
    certaintyOf(index) ? markup`<span class="ties">${certaintyOf(index)}</span>` : ""
  }`;
  const against = (index) => (winner(index) === run.cases.at("reference", index) ? markup`<span class="interval">is the reference</span>` : ratioOf(run.rowOf(index, winner(index))));
  return makeTable(
    element,
    [
      ...caseColumns((index) => index),
      { name: "winner", title: "Fastest", value: winner, show: (index) => (winner(index) === null ? nobody(index) : named(index)), wide: true },
      { name: "ties", title: "ties", value: (index) => ties(index).join(" "), hidden: true },
      { name: "certainty", title: "certainty", value: (index) => run.cases.at("certainty", index), hidden: true },
      { name: "seconds", title: "Time per call", value: won("seconds"), numeric: true, show: (index) => (winner(index) === null ? markup`${MISSING}` : timeOf(run.rowOf(index, winner(index)))) },
      { name: "ratio", title: "Ratio to the reference", value: won("ratio"), numeric: true, show: (index) => (winner(index) === null ? markup`${MISSING}` : against(index)) },
      { name: "reference", title: "reference", value: (index) => run.cases.at("reference", index), hidden: true },
    ],
    run.cases.count,
  );
}

function makeResults() {
  const element = document.querySelector('[data-table="results"]');
  const of = (row) => run.of[row];
  const name = (row) => run.rows.at("implementation", row);
  const marks = (row) => marksOf(of(row), name(row), run.rows.at("status", row));
  return makeTable(
    element,
    [
      ...caseColumns(of),
      rowColumn("implementation", "Implementation", { facet: true, wide: true, show: (row) => markup`${nameMarkup(row, marks(row))}${remarkMarkup(row)}` }),
      rowColumn("status", "Status", { facet: true, show: (row) => statusMarkup(run.rows.at("status", row)) }),
      rowColumn("seconds", "Time per call", { numeric: true, show: timeOf }),
      bound("seconds_low"),
      bound("seconds_high"),
      rowColumn("best_ratio", "÷ fastest", { numeric: true, show: slownessOf }),
      bound("best_ratio_low"),
      bound("best_ratio_high"),
      rowColumn("ratio", "÷ reference", { numeric: true, show: (row) => ratioOf(row) }),
      bound("ratio_low"),
      bound("ratio_high"),
      ...data.metrics.map(({ column, unit }) => rowColumn(column, unit, shown(column, number))),
      rowColumn("ceiling_fraction", "Of ceiling", shown("ceiling_fraction", (value) => (missing(value) ? MISSING : `${number(100 * value)} %`))),
      rowColumn("max_error_ulp", "Error in ULP", shown("max_error_ulp", number)),
      rowColumn("deterministic", "Deterministic", { hidden: true }),
      rowColumn("batch_invariant", "Batch invariant", { hidden: true }),
      { name: "remarks", title: "Remarks", value: remarksOf, hidden: true },
      rowColumn("parameters", "Weights", { ...shown("parameters", count), hidden: !run.rows.has("parameters") || data.rows.columns.parameters.constant === 0 }),
      rowColumn("peak_extra_bytes", "Peak memory", shown("peak_extra_bytes", bytes)),
      rowColumn("page_faults", "Page faults", { ...shown("page_faults", number), hidden: !run.rows.has("page_faults") }),
      rowColumn("rounds", "Rounds", shown("rounds", count)),
      rowColumn("samples", "Samples", shown("samples", count)),
      rowColumn("stopped_by", "Stopped by", { hidden: !run.rows.has("stopped_by") }),
      rowColumn("reason", "reason", { hidden: true }),
    ],
    run.rows.count,
  );
}

function marksOf(index, name, status) {
  if (status !== "ok") return [];
  const winner = run.cases.at("winner", index);
  const ties = run.cases.at("ties", index) ?? [];
  const holds = { fastest: name === winner, tie: ties.includes(name), reference: name === run.cases.at("reference", index) };
  return Object.keys(holds).filter((mark) => holds[mark]);
}

function nameMarkup(row, marks) {
  const path = run.rows.at("code_path", row);
  return markup`<span class="name">${breakable(run.rows.at("implementation", row))}</span>${
    marks.length ? markup` <span class="marks">${symbol(marks[0])}${marks.join(", ")}</span>` : ""
  }${path === null ? "" : markup`<span class="path">${path}</span>`}`;
}

/** A row's remarks in short; the window of its case has them in full. */
function remarkMarkup(row) {
  const remarks = run.rows.at("remarks", row) ?? [];
  return remarks.length ? markup` <span class="marks">! ${remarks.map(([short]) => short).join(", ")}</span>` : "";
}

/** Full remarks as a text, null without any. */
function remarksOf(row) {
  return (run.rows.at("remarks", row) ?? []).map((remark) => remark.join(": ")).join("; ") || null;
}

/** The table of a view, with the columns that it has. */
function makeViewTable(element) {
  const source = frame(JSON.parse(document.getElementById(element.dataset.source).textContent));
  const columns = source.names.map((name) => {
    const read = source.column(name);
    const values = range(source.count).map(read).filter((value) => value !== null);
    const numeric = values.every((value) => typeof value === "number");
    const format = values.every(Number.isInteger) ? count : (value) => number(value, 4);
    return { name, title: name.replaceAll("_", " "), value: read, numeric, show: numeric ? (row) => markup`${format(read(row))}` : undefined };
  });
  return makeTable(element, columns, source.count);
}

document.querySelectorAll("details.as-table").forEach((details) =>
  details.addEventListener("toggle", () => makeViewTable(details.querySelector("table")), { once: true }),
);
