// "Which implementation?": the measured answer, or the nearest measured shapes.

const NEAREST = 3;
const ASKED = ["dtype", "layout", "device", "pass"];

/** The cases and rows of a run; the rows of a case are consecutive. */
const run = data.cases && data.rows && { cases: frame(data.cases), rows: frame(data.rows), starts: [0], of: [] };
if (run) {
  for (const index of range(run.cases.count)) {
    run.starts.push(run.starts[index] + run.cases.at("rows", index));
    for (const row of range(run.starts[index + 1], run.starts[index])) run.of[row] = index;
  }
  run.rowsOf = (index) => range(run.starts[index + 1], run.starts[index]);
  run.rowOf = (index, name) => run.rowsOf(index).find((row) => run.rows.at("implementation", row) === name) ?? null;
  run.contested = (index) => !data.unranked.includes(run.cases.at("operation", index));
  run.facts = (index) => {
    const varying = ["operation", "device", "pass", "threads", "clock", "memory"].filter(run.cases.varies);
    const phrases = { memory: (value) => `${value} memory`, threads: (value) => `${value} thread${value === 1 ? "" : "s"}`, clock: (value) => `clock ${value}` };
    const facts = ["shape", "dtype", "layout", ...varying].map((name) => {
      const value = run.cases.at(name, index);
      return name === "shape" ? shapeText(value) : (phrases[name]?.(value) ?? String(value ?? MISSING));
    });
    return facts.join(", ");
  };
}

const sizes = (shape) => shape.split("x").map(Number);
const product = (numbers) => numbers.reduce((a, b) => a * b, 1);

/** The distance of two shapes: the factors of N·C and of H·W, and the length of their logarithms. */
function distance(shape, other) {
  const [a, b] = [sizes(shape), sizes(other)];
  const rows = product(b.slice(0, 2)) / product(a.slice(0, 2));
  const window = product(b.slice(2)) / product(a.slice(2));
  return { rows, window, log: Math.hypot(Math.log(rows), Math.log(window)) };
}

function parseShape(text) {
  const plain = text.trim().toLowerCase().replace(/[[\]()]/g, "").replace(/\s*[×x*,]\s*|\s+/g, "x");
  return /^[1-9]\d*(x[1-9]\d*){2,4}$/.test(plain) ? plain : null;
}

function timeOf(row) {
  const [value, low, high] = ["seconds", "seconds_low", "seconds_high"].map((name) => run.rows.at(name, row));
  return measured(seconds(value), secondsInterval(value, low, high));
}

/** A row's ratio called ``name`` with its interval; only the bound if one bound is all that is known. */
function ratioOf(row, name = "ratio") {
  const [value, low, high] = ["", "_low", "_high"].map((end) => run.rows.at(name + end, row));
  const interval = ratioInterval(value, low, high);
  return interval && missing(low) !== missing(high) ? measured(interval, "") : measured(ratio(value), interval);
}

const slownessOf = (row) => (missing(run.rows.at("best_ratio_high", row)) && !missing(run.rows.at("best_ratio_low", row)) ? markup`${ratioOf(row, "best_ratio")} slower` : ratioOf(row, "best_ratio"));

function shareOf(row) {
  const [share, name] = ["ceiling_fraction", "ceiling"].map((column) => run.rows.at(column, row));
  if (missing(share)) return "ceiling: not measured";
  const above = share > 1 ? " – above it, so a nearer cache served a part, or one of the two is wrong" : "";
  return `${number(100 * share)} % of the measured ${name ?? "ceiling"}${above}`;
}

function snippetMarkup(name) {
  const snippet = data.snippets[name];
  if (!snippet) {
    return markup`<p class="soft">This run does not say what to write for <code>${name}</code>: gapbench list implementations does.</p>`;
  }
  return markup`<div class="snippet"><pre tabindex="0"><code>${snippet}</code></pre><button type="button" class="copy">Copy</button></div>`;
}

/** The ties of a case, or the distance of the next implementation. */
function certaintyOf(index) {
  const text = run.cases.at("certainty", index);
  return text && markup`${run.cases.at("ties", index)?.length ? symbol("tie") : ""}${text}`;
}

function answerMarkup(index) {
  const winner = run.cases.at("winner", index);
  const opens = markup`<button type="button" class="link" data-case="${index}">All of ${run.facts(index)}</button>`;
  if (!run.contested(index)) return markup`<p>No winner: these contenders compute different things.</p>${opens}`;
  if (winner === null) return markup`<p>No winner: nothing was measured successfully.</p>${opens}`;
  const row = run.rowOf(index, winner);
  const reference = run.cases.at("reference", index);
  const several = ["clock", "threads", "operation", "memory"].some(run.cases.varies); // then index shape has several answers
  return markup`<p class="answer">${symbol("fastest")}<b class="winner">${winner}</b>${several ? markup` <span class="soft">${run.facts(index)}</span>` : ""}</p>
    <dl class="said">
      <div><dt>Time per call</dt><dd>${timeOf(row)}</dd></div>
      <div><dt>Time against ${reference}</dt><dd>${winner === reference ? "is the reference" : ratioOf(row)}</dd></div>
      <div><dt>How sure</dt><dd>${certaintyOf(index) || "nothing else was measured"}</dd></div>
      <div><dt>Bandwidth</dt><dd>${missing(run.rows.at("gbps", row)) ? MISSING : `${number(run.rows.at("gbps", row))} GB/s`}; ${shareOf(row)}</dd></div>
    </dl>${snippetMarkup(winner)}${opens}`;
}

function factor(value) {
  return value === 1 ? "the same" : `${number(value)} times`;
}

function nearestMarkup(shape, alike) {
  const far = alike.map((index) => ({ index, ...distance(shape, run.cases.at("shape", index)) })).sort((a, b) => a.log - b.log);
  const listed = new Set();
  const near = far.filter(({ index }) => !listed.has(run.cases.at("shape", index)) && listed.add(run.cases.at("shape", index))).slice(0, NEAREST);
  if (!near.length) return markup`<p>Nothing was measured with these; choose others, or measure it.</p>`;
  return markup`<p>${shapeText(shape)} was not measured. The nearest measured shapes, by the distance of the logarithms of N·C and H·W:</p>
    <ol class="near">${near.map(
      ({ index, rows, window, log }) => markup`<li><button type="button" class="link" data-shape="${run.cases.at("shape", index)}">${shapeText(run.cases.at("shape", index))}</button>:
        <b class="name">${run.cases.at("winner", index) ?? "no winner"}</b>
        <span class="soft">distance ${number(log, 2)}: ${factor(rows)} N·C, ${factor(window)} H·W</span></li>`,
    )}</ol>`;
}

function measureMarkup(shape, asked) {
  const words = ASKED.map((name) => `--${name} ${asked[name]}`).join(" ");
  return markup`<p class="soft">Measure it: <code>gapbench run --shape ${shape} ${words}</code></p>`;
}

function startForm() {
  const form = document.getElementById("ask");
  if (!form || !run) return;
  const all = range(run.cases.count);
  const choices = run.cases.varies("memory") ? [...ASKED, "memory"] : ASKED;
  form.elements.memory.parentElement.hidden = choices === ASKED;
  const output = form.querySelector("output");
  for (const name of choices) {
    const values = distinct(run.cases.column(name), all).sort();
    form.elements[name].append(...values.map((value) => new Option(value, value)));
  }
  const shapes = distinct(run.cases.column("shape"), all);
  document.getElementById("shapes").append(...shapes.slice(0, 200).map((shape) => new Option(shape, shape)));

  function answer() {
    const shape = parseShape(form.elements.shape.value);
    const asked = Object.fromEntries(choices.map((name) => [name, form.elements[name].value]));
    form.elements.shape.setAttribute("aria-invalid", shape === null);
    if (shape === null) {
      put(output, markup`<p>Write a shape as N x C x spatial sizes: 8x2048x7x7.</p>`);
      return;
    }
    const alike = all.filter((index) => choices.every((name) => String(run.cases.at(name, index)) === asked[name]));
    const exact = alike.filter((index) => run.cases.at("shape", index) === shape);
    if (exact.length) put(output, markup`${exact.map(answerMarkup)}`);
    else put(output, markup`${nearestMarkup(shape, alike)}${measureMarkup(shape, asked)}`);
  }

  function restore() {
    const first = all.find((index) => run.cases.at("winner", index) !== null) ?? 0;
    for (const name of ["shape", ...choices]) {
      const field = form.elements[name];
      field.value = recall(`ask.${name}`) || String(run.cases.at(name, first) ?? "");
      if (field.selectedIndex === -1) field.selectedIndex = 0;
    }
    answer();
  }

  form.addEventListener("input", (event) => {
    remember(`ask.${event.target.name}`, event.target.value);
    answer();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  output.addEventListener("click", (event) => {
    const { shape } = event.target.dataset;
    if (shape === undefined) return;
    form.elements.shape.value = shape;
    remember("ask.shape", shape);
    answer();
    form.elements.shape.focus();
  });
  onAddress(restore);
  restore();
}

document.addEventListener("click", async (event) => {
  if (!event.target.matches?.(".copy")) return;
  const text = event.target.parentElement.querySelector("code").textContent;
  try {
    await navigator.clipboard.writeText(text);
    event.target.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(event.target.parentElement.querySelector("code"));
    event.target.textContent = "Selected: copy it";
  }
});
