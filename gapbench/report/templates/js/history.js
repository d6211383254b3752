// The site's page of history: a row for each trend, and the window of a trend, drawn and as a table.

const trendWindow = document.getElementById("trend");
const trends = trendWindow && frame(data.trends);
const trendName = (index) => ["case", "clock", "memory", "implementation"].map((name) => trends.at(name, index)).filter(Boolean).join("@");
const stepOf = (index) => measured(ratio(trends.at("ratio", index)), ratioInterval(trends.at("ratio", index), trends.at("ratio_low", index), trends.at("ratio_high", index)));

function stepMarkup(index) {
  if (trends.at("ratio", index) === null) return markup`<span class="soft">no step</span>`;
  const slower = trends.at("ratio", index) > 1;
  return markup`<span class="verdict verdict-${slower ? "bad" : "good"}" aria-hidden="true">${slower ? "▲" : "▼"}</span> ${stepOf(index)}`;
}

function makeHistory() {
  const element = document.querySelector('[data-table="history"]');
  if (!element) return undefined;
  const column = (name, title, extra = {}) => ({ name, title, value: trends.column(name), ...extra });
  const fact = (name, title) => column(name, title, { facet: true, hidden: !trends.varies(name) });
  const opener = (index) => markup`<button type="button" class="link" data-trend="${index}">${shapeText(trends.at("shape", index))}</button>`;
  return makeTable(
    element,
    [
      column("case", "Case", { show: opener }),
      column("dtype", "Dtype", { facet: true }),
      column("layout", "Layout", { facet: true }),
      ...Object.entries({ operation: "Operation", device: "Device", pass: "Pass", threads: "Threads", clock: "Clock", memory: "Memory" }).map(([name, title]) => fact(name, title)),
      column("implementation", "Implementation", { facet: true, wide: true, show: (index) => markup`<span class="name">${breakable(trends.at("implementation", index))}</span>` }),
      column("drawn", "Trend", { show: (index) => markup`<span class="sparkline" aria-hidden="true">${trends.at("drawn", index)}</span>` }),
      column("runs", "Runs", { numeric: true, show: (index) => markup`${count(trends.at("runs", index))}` }),
      column("seconds", "Newest", { numeric: true, show: (index) => markup`${seconds(trends.at("seconds", index))}` }),
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

function openTrend(index) {
  const points = frame(data.points);
  const own = range(points.count).filter((row) => points.at("trend", row) === index).reverse();
  const cell = (name, row) => points.at(name, row) ?? "";
  const time = (row) => measured(seconds(points.at("seconds", row)), secondsInterval(points.at("seconds", row), points.at("seconds low", row), points.at("seconds high", row)));
  const facts = ["dtype", "layout", "device", "pass", "clock", "memory"].map((name) => trends.at(name, index)).filter(Boolean).join(", ");
  put(
    trendWindow.querySelector(".body"),
    markup`<h2 id="trend-title"><span class="name">${trends.at("implementation", index)}</span> on ${shapeText(trends.at("shape", index))} <span class="facts">${facts}</span></h2>
    ${drawnMarkup(index) ?? markup`<p class="soft">Not drawn: the page draws only the trends with the largest steps; the table has every number.</p>`}
    <table class="rows"><caption>Every run, newest first</caption>
      <thead><tr><th scope="col">Commit</th><th scope="col">Run</th><th scope="col" class="num">Time per call</th><th scope="col" class="num">Step</th><th scope="col">What changed</th></tr></thead>
      <tbody>${own.map(
        (row) => markup`<tr><th scope="row">${String(cell("commit", row)).slice(0, 7) || MISSING}</th><td data-label="Run">${cell("run", row)}</td><td class="num" data-label="Time per call">${time(row)}</td>
        <td class="num" data-label="Step">${points.at("step (ratio)", row) === null ? "" : ratio(points.at("step (ratio)", row))}</td><td data-label="What changed">${[cell("cause", row), cell("environment", row)].filter(Boolean).join("; ")}</td></tr>`,
      )}</tbody></table>`,
  );
  remember("trend", trendName(index));
  openWindow(trendWindow);
}

const restoreTrend = trendWindow && addressed(trendWindow, "trend", trends.count, trendName, openTrend);
