// A run in progress, or the list of all: asks the gapbench that serves this page once a second, while it is looked at.

const EVERY = 1000;
const first = JSON.parse(document.getElementById("live").textContent);
const address = first.runs ? "live.json" : `live.json?run=${encodeURIComponent(first.run)}`;
const at = (id) => document.getElementById(id);

/** Put content where it differs from what is there: readers keep their place, and are told of changes only. */
const shown = new Map();

function show(element, content) {
  const text = escaped(content);
  if (shown.get(element) === text) return;
  shown.set(element, text);
  put(element, markup`${content}`);
}

function showRows(body, contents) {
  while (body.rows.length > contents.length) body.deleteRow(-1);
  contents.forEach((content, place) => show(body.rows[place] ?? body.insertRow(), content));
}

const STATES = {
  running: ["●", "trusted"], complete: ["✓", "trusted"], silent: ["!", "caution"], interrupted: ["!", "caution"],
  done: ["✓", "passed"], "in progress": ["●", "note"], waiting: ["…", "unknown"],
};

function stateMarkup(state, kind) {
  const [sign, look] = STATES[state];
  return markup`<span class="${kind} ${kind}-${look}"><span aria-hidden="true">${sign}</span> ${state}</span>`;
}

// The page of one run

function caseMarkup(one) {
  const facts = [one.label && one.facts, one.clock && `clock ${one.clock}`].filter(Boolean).join(", ");
  const ties = one.ties.length ? markup`<span class="ties">◆ tied so far with ${one.ties.length > 3 ? `${one.ties.length} others` : one.ties.join(", ")}</span>` : "";
  const cells = [
    ["State", markup`${stateMarkup(one.state, "level")}`],
    ["Rounds", count(one.rounds), "num"],
    ["Fastest so far", one.implementation ? markup`<span class="winner">${symbol("fastest")}${one.implementation}</span>${ties}` : MISSING],
    ["Time per call", missing(one.seconds) ? MISSING : measured(seconds(one.seconds), secondsInterval(one.seconds, one.seconds_low, one.seconds_high))],
    ["Time against reference", missing(one.ratio) ? MISSING : markup`${measured(ratio(one.ratio), ratioInterval(one.ratio, one.ratio_low, one.ratio_high))}<span class="ties">÷ ${one.reference}</span>`],
    ["Ratios known to", missing(one.half_width) ? MISSING : `±${number(100 * Math.expm1(one.half_width), 2)} %`, "num"],
  ];
  return markup`<th scope="row" data-label="Case">${one.label || one.facts}<span class="facts">${facts}</span></th>${cells.map(([label, content, kind]) => markup`<td data-label="${label}" class="${kind}">${content}</td>`)}`;
}

function showRun(state) {
  show(at("state"), stateMarkup(state.state, "badge"));
  show(at("said"), state.said);
  at("command").hidden = !state.command;
  show(at("command").querySelector("code"), state.command);
  at("page").hidden = !state.page;
  at("spent").hidden = state.state !== "running" || missing(state.elapsed) || !state.budget;
  at("spent").value = Math.min(1, state.elapsed / state.budget || 0);
  show(at("facts"), state.facts.map(([term, text]) => markup`<div><dt>${term}</dt><dd>${text}</dd></div>`));
  show(at("counts"), Object.entries(state.counts).map(([name, cases]) => markup`<li class="verdict"><b>${count(cases)}</b> ${name}</li>`));
  showRows(at("rows"), state.cases.map(caseMarkup));
  at("left-out").hidden = !state.left_out;
  show(at("left-out"), `The ${count(state.cases.length)} rows measured last; ${count(state.left_out)} more cases are not listed.`);
  if (state.state === "complete" && state.page) location.replace(state.page);
}

// The list of runs

function runMarkup(one) {
  const complete = one.state === "complete";
  return markup`<th scope="row"><a href="${complete && one.page ? one.page : one.live}">${one.run}</a></th><td data-label="State">${stateMarkup(one.state, "level")} ${one.said}${one.command ? markup` <code>${one.command}</code>` : ""}</td><td data-label="Started">${one.started || MISSING}</td><td data-label="Rounds" class="num">${complete ? MISSING : count(one.rounds)}</td><td data-label="Suites">${one.suites}</td>`;
}

function showList({ runs }) {
  const table = at("open").closest("table");
  table.hidden = !runs.length;
  at("none").hidden = Boolean(runs.length);
  showRows(at("open"), runs.map(runMarkup));
}

// Both

async function ask() {
  let answer;
  try {
    answer = await fetch(address, { cache: "no-store" });
  } catch {
    throw new Error("No answer: this page is kept fresh by gapbench report --serve, which has ended.");
  }
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

const showState = first.runs ? showList : showRun;

async function watch() {
  if (!document.hidden) {
    const problem = at("problem");
    try {
      showState(await ask());
      problem.hidden = true;
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
    }
  }
  setTimeout(watch, EVERY);
}

showState(first);
setTimeout(watch, EVERY);
