// The window of one case: what every implementation did on it, drawn and as a table.

const caseWindow = document.getElementById("case");
const caseName = (one) => [run.cases.at("case", one), run.cases.at("clock", one) ?? "", ...[run.cases.at("memory", one)].filter(Boolean)].join("@");

function implementationMarkup(one, row) {
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
  return markup`<tr><th scope="row">${nameMarkup(row, marksOf(one, name, status))}${notes.map((note) => markup`<span class="facts">${note}</span>`)}</th>
    <td data-label="Status">${statusMarkup(status)}</td><td class="num" data-label="Time per call">${timeOf(row)}</td>
    <td class="num" data-label="÷ fastest">${slownessOf(row)}</td><td class="num" data-label="÷ reference">${ratioOf(row)}</td><td class="num" data-label="GB/s">${number(run.rows.at("gbps", row))}</td></tr>`;
}

/** The winner first, then by time; what has none last. */
function ranked(one) {
  const winner = run.cases.at("winner", one);
  const place = (row) => (run.rows.at("implementation", row) === winner ? -1 : (run.rows.at("seconds", row) ?? Infinity));
  return run.rowsOf(one).sort((a, b) => place(a) - place(b) || 0);
}

function openCase(one) {
  const drawn = drawnMarkup(one);
  const label = run.cases.at("label", one);
  put(
    caseWindow.querySelector(".body"),
    markup`<h2 id="case-title">${label || shapeText(run.cases.at("shape", one))} <span class="facts">${run.facts(one)}</span></h2>
    ${drawn ?? markup`<p class="soft">Not drawn: ${run.rowsOf(one).some((row) => run.rows.at("seconds", row) !== null) ? "of so many cases a page draws the first only; the table has every number." : "no time was measured."}</p>`}
    ${caseWindow.dataset.history ? markup`<p><a href="${caseWindow.dataset.history}#${new URLSearchParams({ "history.q": run.cases.at("case", one) })}">History of this case</a></p>` : ""}
    <table class="rows"><caption>Every implementation of this case, fastest first</caption>
      <thead><tr><th scope="col">Implementation</th><th scope="col">Status</th><th scope="col" class="num">Time per call</th>
      <th scope="col" class="num">÷ fastest</th><th scope="col" class="num">÷ reference</th><th scope="col" class="num">GB/s</th></tr></thead>
      <tbody>${ranked(one).map((row) => implementationMarkup(one, row))}</tbody></table>
    ${run.cases.at("winner", one) === null ? "" : markup`<h3>What to write</h3>${snippetMarkup(run.cases.at("winner", one))}`}`,
  );
  remember("case", caseName(one));
  openWindow(caseWindow);
}

const restoreCase = caseWindow && addressed(caseWindow, "case", run.cases.count, caseName, openCase);
