// The heat map: a row for each case, a column for each implementation, and in each cell its ratio to the fastest.

const HOTTEST = 4; // ratios from here on have the strongest colour

/** The row of each case by implementation; those that cost least over all cases first, those that lack cases last. */
function heatColumns() {
  const columns = new Map();
  for (const row of range(run.rows.count)) {
    const name = run.rows.at("implementation", row);
    if (!columns.has(name)) columns.set(name, new Map());
    if (!columns.get(name).has(run.of[row])) columns.get(name).set(run.of[row], row);
  }
  const order = [...columns].map(([name, rows]) => {
    const cold = [...rows.values()].map(ratioToFastest).filter(Boolean);
    return { name, rows, timed: cold.length, mean: geometricMean(cold) };
  });
  return order.sort((a, b) => b.timed - a.timed || a.mean - b.mean || 0);
}

/** A row's ratio to the fastest of its case, its bound if it stopped early; null if it has no rank. */
function ratioToFastest(row) {
  if (row === undefined || run.rows.at("status", row) !== "ok") return null;
  const known = isBound(row) ? run.rows.at("best_ratio_low", row) : run.rows.at("best_ratio", row);
  if (!missing(known)) return known;
  const winner = run.cases.at("winner", run.of[row]); // they were never timed in the same turns
  return winner === null ? null : run.rows.at("seconds", row) / run.rows.at("seconds", run.rowOf(run.of[row], winner)) || null;
}

const isBound = (row) => missing(run.rows.at("best_ratio_high", row)) && !missing(run.rows.at("best_ratio_low", row));
const geometricMean = (ratios) => (ratios.length ? Math.exp(ratios.reduce((sum, value) => sum + Math.log(value), 0) / ratios.length) : null);

/** The ratio of a cell in short. */
function cellText(row) {
  const value = ratioToFastest(row);
  if (value === null) return markup`${seconds(run.rows.at("seconds", row))}`;
  const [mark] = heatMarks(row);
  if (mark === "fastest") return bestText("1.00", "fastest");
  return markup`${mark === "tie" ? "≈" : isBound(row) ? "≥" : ""}${ratio(value)}`;
}

const heatMarks = (row) => marksOf(run.of[row], run.rows.at("implementation", row), run.rows.at("status", row));

const bestText = (text, word) => markup`${symbol("fastest")}${text}<span class="unseen">, ${word}</span>`;

/** A cell of ``row``: ``text()`` as hot as ``factor`` (null is cold), or its ``status``. */
function cellMarkup(row, status, factor, mark, text, index = null) {
  const kind = status === "unsupported" ? "skipped" : status === "ok" ? (mark ?? "") : "bad";
  const heat = factor === null ? 0 : (100 * Math.min(1, Math.max(0, Math.log(factor) / Math.log(HOTTEST)))).toFixed();
  const failure = kind === "skipped" ? markup`<span aria-hidden="true">⊘</span><span class="unseen">unsupported</span>` : markup`<span aria-hidden="true">✕</span> ${status ?? MISSING}`;
  return markup`<button type="button" class="cell ${kind}" ${index === null ? "" : markup`data-case="${index}" `}data-row="${row}" style="--heat: ${heat}%">${status === "ok" ? text() : failure}</button>`;
}

const noCell = markup`<span class="soft">${MISSING}</span>`;

function heatCell(row) {
  if (row === undefined) return noCell;
  return cellMarkup(row, run.rows.at("status", row), ratioToFastest(row), heatMarks(row)[0], () => cellText(row), run.of[row]);
}

/** What a cell says when it is pointed at: its time, its ratio, its remarks, or why it has none. */
function tipMarkup(row) {
  const index = run.of[row];
  const status = run.rows.at("status", row);
  const marks = heatMarks(row);
  const lines = [];
  if (status === "ok") lines.push(markup`${timeOf(row)} per call`);
  else lines.push(markup`<b>${status ?? MISSING}</b> ${run.rows.at("reason", row) ?? ""}`);
  if (marks[0] === "fastest") lines.push(markup`the fastest of this case`);
  else if (status === "ok" && missing(run.rows.at("best_ratio", row))) lines.push(run.contested(index) ? markup`ratio of times: never timed in the same turns as the fastest` : markup`not ranked: these compute different things`);
  else if (status === "ok") lines.push(isBound(row) ? markup`${slownessOf(row)}: stopped early` : markup`${ratioOf(row, "best_ratio")} the fastest's time`);
  if (marks.includes("tie")) lines.push(markup`a tie: not shown to be more than 1 % slower`);
  if (remarksOf(row)) lines.push(markup`${remarksOf(row)}`);
  return markup`<span class="name">${run.rows.at("implementation", row)}</span> <span class="facts">${caseText(index)}</span>${lines.map((line) => markup`<span>${line}</span>`)}`;
}

const caseText = (index) => [run.cases.at("label", index), run.facts(index)].filter(Boolean).join(", ");

/** A case's ratios as one: what it costs to choose without looking. */
function regretOf(index, columns) {
  const rows = columns.map(({ rows }) => rows.get(index)).filter((row) => ratioToFastest(row) !== null);
  return { value: geometricMean(rows.map(ratioToFastest)), bound: rows.some(isBound) };
}

async function makeHeat() {
  const element = document.querySelector('[data-table="heat"]');
  const implementations = heatColumns();
  const regrets = range(run.cases.count).map((index) => regretOf(index, implementations));
  const name = (index) => markup`${caseButton(index)} <span class="facts">${run.cases.at("label", index) ? run.facts(index) : run.facts(index).replace(/^.*?, /, "")}</span>`;
  const [, ...facts] = caseColumns((index) => index);
  const table = await makeTable(
    element,
    [
      { name: "case", title: "Case", value: caseText, show: name, header: true },
      ...facts.map((column) => ({ ...column, hidden: true })),
      { name: "regret", title: "Regret", value: (index) => regrets[index].value, show: (index) => markup`${regrets[index].bound ? "≥" : ""}${ratio(regrets[index].value)}`, numeric: true },
      ...implementations.map(({ name, rows }) => ({
        name: `impl.${name}`, title: name, numeric: true, value: (index) => ratioToFastest(rows.get(index)), show: (index) => heatCell(rows.get(index)),
      })),
    ],
    run.cases.count,
    { csv: false },
  );
  roveCells(element, table);
  showTips(element, tipMarkup);
  return table;
}

/** Make the cells of a table one stop of the Tab key, between which arrows move. */
function roveCells(element, table) {
  const cells = () => [...element.tBodies[0].rows].map((row) => [...row.cells].map((cell) => cell.querySelector("button")));
  function stop(button) {
    element.querySelectorAll("tbody button").forEach((other) => (other.tabIndex = other === button ? 0 : -1));
  }
  const reset = () => stop(element.querySelector("tbody button"));
  table.on("draw", reset);
  reset();
  element.tBodies[0].addEventListener("focusin", (event) => stop(event.target.closest("button")));
  element.tBodies[0].addEventListener("keydown", (event) => {
    const steps = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0], Home: [0, -Infinity], End: [0, Infinity] };
    if (!Object.hasOwn(steps, event.key) || event.altKey || event.metaKey) return;
    event.preventDefault();
    const all = cells();
    const line = all.findIndex((row) => row.includes(event.target));
    const place = all[line].indexOf(event.target);
    const [down, right] = steps[event.key];
    const ahead = right ? all[line].slice() : all.map((row) => row[place]);
    const from = right ? place : line;
    const next = (right || down) > 0 ? ahead.slice(from + 1) : ahead.slice(0, from).reverse();
    const reachable = next.filter(Boolean);
    reachable.at(Number.isFinite(right) ? 0 : -1)?.focus();
  });
}

/** Show beside a cell what it says, while it is pointed at or has the focus; Escape hides it. */
function showTips(element, tipOf) {
  const tip = document.getElementById("tip");
  let shown = null;
  function hide() {
    shown?.removeAttribute("aria-describedby");
    shown = null;
    tip.hidden = true;
  }
  function show(event) {
    const cell = event.target.closest?.("#tip, [data-row]");
    if (cell === tip || (cell && cell === shown)) return;
    hide();
    if (!cell || !element.contains(cell)) return;
    shown = cell;
    put(tip, tipOf(Number(cell.dataset.row)));
    cell.setAttribute("aria-describedby", "tip");
    place();
  }
  function place() {
    if (!shown) return;
    const box = shown.getBoundingClientRect();
    tip.hidden = box.bottom < 0 || box.top > innerHeight;
    const above = box.bottom + tip.offsetHeight > innerHeight;
    tip.style.top = `${above ? box.top - tip.offsetHeight : box.bottom}px`;
    tip.style.left = `${Math.max(4, Math.min(box.left, document.documentElement.clientWidth - tip.offsetWidth - 4))}px`;
  }
  for (const kind of ["pointerover", "focusin"]) document.addEventListener(kind, show);
  for (const kind of ["scroll", "resize"]) addEventListener(kind, place, { capture: true, passive: true });
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
}
