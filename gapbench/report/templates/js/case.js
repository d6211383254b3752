// The window of a case: its samples, and a table of every implementation on it.

const caseWindow = document.getElementById("case");
const caseName = (index) => [run.cases.at("case", index), run.cases.at("clock", index) ?? "", ...[run.cases.at("memory", index)].filter(Boolean)].join("@");

/** A function that draws the interval of a row's time, on a log axis that all rows of the case share. */
function intervals(index) {
  const ends = (row) => ["seconds_low", "seconds_high"].map((name) => Math.log(run.rows.at(name, row) ?? run.rows.at("seconds", row)));
  const timed = run.rowsOf(index).filter((row) => run.rows.at("seconds", row) !== null);
  const least = Math.min(...timed.map((row) => ends(row)[0]));
  const span = Math.max(...timed.map((row) => ends(row)[1])) - least || 1;
  return (row) => {
    if (run.rows.at("seconds", row) === null) return "";
    const [low, high] = ends(row).map((end) => (100 * (end - least)) / span);
    return barMarkup(low, high);
  };
}

function implementationMarkup(index, row, drawn) {
  const name = run.rows.at("implementation", row);
  const status = run.rows.at("status", row);
  const again = run.rows.at("recompilations", row);
  const weights = run.rows.at("parameters", row);
  const notes = [
    weights ? `${count(weights)} weights, peak ${bytes(run.rows.at("peak_extra_bytes", row))}` : "",
    again ? `compiled ${count(again)} more times` : "",
    remarksOf(row) ?? "",
    run.rows.at("reason", row) ?? "",
  ].filter(Boolean);
  return markup`<tr><th scope="row">${nameMarkup(row, marksOf(index, name, status))}${notes.map((note) => markup`<span class="facts">${note}</span>`)}</th>
    <td data-label="Status">${statusMarkup(status)}</td><td class="num" data-label="Time per call">${timeOf(row)}${drawn(row)}</td>
    <td class="num" data-label="÷ fastest">${slownessOf(row)}</td><td class="num" data-label="÷ reference">${ratioOf(row)}</td><td class="num" data-label="GB/s">${number(run.rows.at("gbps", row))}</td></tr>`;
}

/** Rows of a case: the winner first, then by time, rows without a time last. */
function ranked(index) {
  const winner = run.cases.at("winner", index);
  const rank = (row) => (run.rows.at("implementation", row) === winner ? -1 : (run.rows.at("seconds", row) ?? Infinity));
  return run.rowsOf(index).sort((a, b) => rank(a) - rank(b) || 0);
}

function openCase(index) {
  const drawn = drawnMarkup(index);
  const label = run.cases.at("label", index);
  const shown = intervals(index);
  put(
    caseWindow.querySelector(".body"),
    markup`<h2 id="case-title">${label || shapeText(run.cases.at("shape", index))} <span class="facts">${run.facts(index)}</span></h2>
    ${caseWindow.dataset.history ? markup`<p><a href="${caseWindow.dataset.history}#${new URLSearchParams({ "history.q": run.cases.at("case", index) })}">History of this case</a></p>` : ""}
    <table class="rows"><caption>Every implementation of this case, fastest first</caption>
      <thead><tr><th scope="col">Implementation</th><th scope="col">Status</th><th scope="col" class="num">Time per call</th>
      <th scope="col" class="num">÷ fastest</th><th scope="col" class="num">÷ reference</th><th scope="col" class="num">GB/s</th></tr></thead>
      <tbody>${ranked(index).map((row) => implementationMarkup(index, row, shown))}</tbody></table>
    ${drawn ?? markup`<p class="soft">Not drawn: ${run.rowsOf(index).some((row) => run.rows.at("seconds", row) !== null) ? "a page draws only its first cases; the table has every number." : "no time was measured."}</p>`}
    ${run.cases.at("winner", index) === null ? "" : markup`<h3>What to write</h3>${snippetMarkup(run.cases.at("winner", index))}`}`,
  );
  remember("case", caseName(index));
  openWindow(caseWindow);
}

const restoreCase = caseWindow && addressed(caseWindow, "case", run.cases.count, caseName, openCase);
