// The tables of a run's page: a row for each case with its winner, and a row for each implementation on each case.

const LARGE = 2000; // rows from which a table waits until it is near the window

function caseButton(one) {
  const label = run.cases.at("label", one);
  return markup`<button type="button" class="link" data-case="${one}">${label || shapeText(run.cases.at("shape", one))}</button>`;
}

/** A column of a fact of the case, for rows of which ``one(row)`` is the case. */
function caseColumn(name, title, one, extra = {}) {
  const read = run.cases.column(name);
  return { name, title, value: (row) => read(one(row)), ...extra };
}

/** Facts of cases: shape, dtype and layout always, the others where they differ or in the CSV. */
function caseColumns(one) {
  const rest = { suite: "Suite", operation: "Operation", device: "Device", pass: "Pass", threads: "Threads", clock: "Clock", memory: "Memory" };
  const elements = (row) => product(sizes(run.cases.at("shape", one(row))));
  return [
    { name: "case", title: "Case", value: (row) => run.cases.at("label", one(row)) || run.cases.at("shape", one(row)), show: (row) => caseButton(one(row)), wide: true },
    caseColumn("shape", "Shape", one, { show: (row) => markup`${shapeText(run.cases.at("shape", one(row)))}` }),
    { name: "elements", title: "Elements", value: elements, numeric: true, hidden: true },
    caseColumn("dtype", "Dtype", one, { facet: true }),
    caseColumn("layout", "Layout", one, { facet: true }),
    ...Object.entries(rest).map(([name, title]) => caseColumn(name, title, one, { facet: true, hidden: !run.cases.varies(name) })),
  ];
}

const rowColumn = (name, title, extra = {}) => ({ name, title, value: run.rows.column(name), ...extra });
const bound = (name) => rowColumn(name, name, { numeric: true, hidden: true });

function shown(name, format) {
  return { numeric: true, show: (row) => markup`${format(run.rows.at(name, row))}`, hidden: !run.rows.has(name) };
}

function makeWinners() {
  const element = document.querySelector('[data-table="winners"]');
  const winner = (one) => run.cases.at("winner", one);
  const won = (name) => (one) => (winner(one) === null ? null : run.rows.at(name, run.rowOf(one, winner(one))));
  const ties = (one) => run.cases.at("ties", one) ?? [];
  const nobody = (one) => markup`<span class="soft">${run.contested(one) ? "no winner: nothing was measured successfully" : "nobody: these compute different things"}</span>`;
  const named = (one) => markup`<span class="winner">${symbol("fastest")}${winner(one)}</span>${
    certaintyOf(one) ? markup`<span class="ties">${certaintyOf(one)}</span>` : ""
  }`;
  const against = (one) => (winner(one) === run.cases.at("reference", one) ? markup`<span class="interval">is the reference</span>` : ratioOf(run.rowOf(one, winner(one))));
  return makeTable(
    element,
    [
      ...caseColumns((one) => one),
      { name: "winner", title: "Fastest", value: winner, show: (one) => (winner(one) === null ? nobody(one) : named(one)), wide: true },
      { name: "ties", title: "ties", value: (one) => ties(one).join(" "), hidden: true },
      { name: "certainty", title: "certainty", value: (one) => run.cases.at("certainty", one), hidden: true },
      { name: "seconds", title: "Time per call", value: won("seconds"), numeric: true, show: (one) => (winner(one) === null ? markup`${MISSING}` : timeOf(run.rowOf(one, winner(one)))) },
      { name: "ratio", title: "Ratio to the reference", value: won("ratio"), numeric: true, show: (one) => (winner(one) === null ? markup`${MISSING}` : against(one)) },
      { name: "reference", title: "reference", value: (one) => run.cases.at("reference", one), hidden: true },
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
      rowColumn("energy_joules", "Energy", { ...shown("energy_joules", (value) => (missing(value) ? MISSING : `${number(1e6 * value)} µJ`)), hidden: !run.rows.has("energy_joules") }),
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

function marksOf(one, name, status) {
  if (status !== "ok") return [];
  const winner = run.cases.at("winner", one);
  const ties = run.cases.at("ties", one) ?? [];
  const holds = { fastest: name === winner, tie: ties.includes(name), reference: name === run.cases.at("reference", one) };
  return Object.keys(holds).filter((mark) => holds[mark]);
}

function nameMarkup(row, marks) {
  const path = run.rows.at("code_path", row);
  return markup`<span class="name">${run.rows.at("implementation", row)}</span>${
    marks.length ? markup` <span class="marks">${symbol(marks[0])}${marks.join(", ")}</span>` : ""
  }${path === null ? "" : markup`<span class="path">${path}</span>`}`;
}

/** What a row's remarks are about; the window of its case has them whole. */
function remarkMarkup(row) {
  const remarks = run.rows.at("remarks", row) ?? [];
  return remarks.length ? markup` <span class="marks">! ${remarks.map(([short]) => short).join(", ")}</span>` : "";
}

/** Whole remarks as a text, null where there are none. */
function remarksOf(row) {
  return (run.rows.at("remarks", row) ?? []).map((remark) => remark.join(": ")).join("; ") || null;
}

/** The tables that views are also given as: whatever columns they have. */
function makeViewTable(details) {
  const element = details.querySelector("table");
  const found = frame(JSON.parse(document.getElementById(element.dataset.source).textContent));
  const columns = found.names.map((name) => {
    const read = found.column(name);
    const numeric = range(found.count).every((row) => read(row) === null || typeof read(row) === "number");
    return { name, title: name.replaceAll("_", " "), value: read, numeric, show: numeric ? (row) => markup`${number(read(row), 4)}` : undefined };
  });
  return makeTable(element, columns, found.count);
}

document.querySelectorAll("details.as-table").forEach((details) =>
  details.addEventListener("toggle", () => makeViewTable(details), { once: true }),
);
