// The table of a diff: the most urgent rows first, unchanged rows behind a filter.

const VERDICTS = { regressed: "▲", improved: "▼", equivalent: "=", inconclusive: "?" };

function verdictMarkup(verdict) {
  const kind = { regressed: "bad", failed_head: "bad", improved: "good" }[verdict] ?? "plain";
  return markup`<span class="verdict verdict-${kind}"><span aria-hidden="true">${VERDICTS[verdict] ?? "!"}</span> ${verdict}</span>`;
}

/** A function that draws a row's interval on a log axis around 1 that all rows share, before the margin's band. */
function changeBars(rows) {
  const ends = (row) => ["ratio_low", "ratio_high"].map((name) => Math.log(rows.at(name, row) ?? rows.at("ratio", row) ?? 1));
  const margin = Math.log1p(data.margin);
  const most = range(rows.count).flatMap(ends).map(Math.abs).filter(Number.isFinite).reduce((a, b) => Math.max(a, b), 2 * margin || 0.01);
  const at = (change) => Math.min(100, Math.max(0, 50 + (50 * change) / most));
  const band = markup`<b style="left: ${at(-margin)}%; width: ${at(margin) - at(-margin)}%"></b>`;
  return (row) => (missing(rows.at("ratio", row)) ? "" : barMarkup(...ends(row).map(at), band));
}

function makeDiff() {
  const element = document.querySelector('[data-table="diff"]');
  if (!element) return undefined;
  const rows = frame(data.rows);
  const column = (name, title, extra = {}) => ({ name, title, value: rows.column(name), ...extra });
  const caseLink = (row) => {
    const address = new URLSearchParams({ case: `${rows.at("case", row)}@${rows.at("clock", row)}` });
    return data.page ? markup`<a href="${data.page}#${address}">${rows.at("case", row)}</a>` : markup`${rows.at("case", row)}`;
  };
  const fold = document.getElementById("folded");
  const folded = (row) => data.folded.includes(rows.at("verdict", row));
  const bar = changeBars(rows);
  const change = (row) => markup`${measured(ratio(rows.at("ratio", row)), ratioInterval(rows.at("ratio", row), rows.at("ratio_low", row), rows.at("ratio_high", row)))}${bar(row)}`;
  const why = (row) => markup`<span class="why">${rows.at("reason", row) ?? ""}</span>`;
  if (fold) {
    fold.checked = recall("folded") === "shown";
    fold.addEventListener("change", () => {
      remember("folded", fold.checked ? "shown" : "");
      tables.get("diff").restore();
    });
  }
  return makeTable(
    element,
    [
      column("verdict", "Verdict", { facet: true, show: (row) => verdictMarkup(rows.at("verdict", row)) }),
      column("implementation", "Implementation", { facet: true, wide: true, show: (row) => markup`<span class="name">${breakable(rows.at("implementation", row))}</span>` }),
      column("case", "Case", { wide: true, show: caseLink }),
      column("ratio", "Head ÷ base", { numeric: true, show: change }),
      column("ratio_low", "ratio_low", { numeric: true, hidden: true }),
      column("ratio_high", "ratio_high", { numeric: true, hidden: true }),
      ...["suite", "dtype", "layout", "device", "pass", "clock"].map((name) => column(name, name[0].toUpperCase() + name.slice(1), { facet: true, hidden: name !== "clock" || !rows.varies(name) })),
      column("rounds", "Rounds", { numeric: true, show: (row) => markup`${count(rows.at("rounds", row))}` }),
      column("p_value", "p_value", { numeric: true, hidden: true }),
      column("reason", "Why", { wide: true, show: why }),
      column("command", "command", { hidden: true }),
    ],
    rows.count,
    { keep: (row, chosen) => !fold || fold.checked || Boolean(chosen.verdict) || !folded(row), empty: "nothing to compare" },
  );
}
