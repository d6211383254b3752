// The site's page of history: a row for each trend, and the window of one, drawn and as a table.

const trendWindow = document.getElementById("trend");
const trends = trendWindow && frame(data.trends);
const trendName = (one) => ["case", "clock", "memory", "implementation"].map((name) => trends.at(name, one)).filter(Boolean).join("@");
const stepOf = (one) => measured(ratio(trends.at("ratio", one)), ratioInterval(trends.at("ratio", one), trends.at("ratio_low", one), trends.at("ratio_high", one)));

function stepMarkup(one) {
  if (trends.at("ratio", one) === null) return markup`<span class="soft">no step</span>`;
  const slower = trends.at("ratio", one) > 1;
  return markup`<span class="verdict verdict-${slower ? "bad" : "good"}" aria-hidden="true">${slower ? "▲" : "▼"}</span> ${stepOf(one)}`;
}

function makeHistory() {
  const element = document.querySelector('[data-table="history"]');
  if (!element) return undefined;
  const column = (name, title, extra = {}) => ({ name, title, value: trends.column(name), ...extra });
  const fact = (name, title) => column(name, title, { facet: true, hidden: !trends.varies(name) });
  const opener = (one) => markup`<button type="button" class="link" data-trend="${one}">${shapeText(trends.at("shape", one))}</button>`;
  return makeTable(
    element,
    [
      column("case", "Case", { show: opener }),
      column("dtype", "Dtype", { facet: true }),
      column("layout", "Layout", { facet: true }),
      ...Object.entries({ operation: "Operation", device: "Device", pass: "Pass", threads: "Threads", clock: "Clock", memory: "Memory" }).map(([name, title]) => fact(name, title)),
      column("implementation", "Implementation", { facet: true, wide: true, show: (one) => markup`<span class="name">${trends.at("implementation", one)}</span>` }),
      column("drawn", "Trend", { show: (one) => markup`<span class="sparkline" aria-hidden="true">${trends.at("drawn", one)}</span>` }),
      column("runs", "Runs", { numeric: true, show: (one) => markup`${count(trends.at("runs", one))}` }),
      column("seconds", "Newest", { numeric: true, show: (one) => markup`${seconds(trends.at("seconds", one))}` }),
      column("ratio", "Newest step", { numeric: true, show: stepMarkup }),
      column("ratio_low", "ratio_low", { numeric: true, hidden: true }),
      column("ratio_high", "ratio_high", { numeric: true, hidden: true }),
      column("at", "At"),
      column("cause", "Cause", { facet: true }),
      column("environment", "Environment", { wide: true, hidden: !trends.has("environment") }),
    ],
    trends.count,
    { empty: "nothing was timed" },
  );
}

function openTrend(one) {
  const points = frame(data.points);
  const own = range(points.count).filter((row) => points.at("trend", row) === one).reverse();
  const cell = (name, row) => points.at(name, row) ?? "";
  const time = (row) => measured(seconds(points.at("seconds", row)), secondsInterval(points.at("seconds", row), points.at("seconds low", row), points.at("seconds high", row)));
  const facts = ["dtype", "layout", "device", "pass", "clock", "memory"].map((name) => trends.at(name, one)).filter(Boolean).join(", ");
  put(
    trendWindow.querySelector(".body"),
    markup`<h2 id="trend-title"><span class="name">${trends.at("implementation", one)}</span> on ${shapeText(trends.at("shape", one))} <span class="facts">${facts}</span></h2>
    ${drawnMarkup(one) ?? markup`<p class="soft">Not drawn: of so many trends the page draws the most pressing only; the table has every number.</p>`}
    <table class="rows"><caption>Every run, newest first</caption>
      <thead><tr><th scope="col">Commit</th><th scope="col">Run</th><th scope="col" class="num">Time per call</th><th scope="col" class="num">Step</th><th scope="col">What changed</th></tr></thead>
      <tbody>${own.map(
        (row) => markup`<tr><th scope="row">${String(cell("commit", row)).slice(0, 7) || MISSING}</th><td data-label="Run">${cell("run", row)}</td><td class="num" data-label="Time per call">${time(row)}</td>
        <td class="num" data-label="Step">${points.at("step (ratio)", row) === null ? "" : ratio(points.at("step (ratio)", row))}</td><td data-label="What changed">${[cell("cause", row), cell("environment", row)].filter(Boolean).join("; ")}</td></tr>`,
      )}</tbody></table>`,
  );
  remember("trend", trendName(one));
  openWindow(trendWindow);
}

const restoreTrend = trendWindow && addressed(trendWindow, "trend", trends.count, trendName, openTrend);
