// HTML from values: every value in a template is escaped, unless it is markup itself.

class Markup {
  constructor(text) {
    this.text = text;
  }

  toString() {
    return this.text;
  }
}

function escaped(value) {
  if (value instanceof Markup) return value.text;
  if (Array.isArray(value)) return value.map(escaped).join("");
  const text = String(value ?? "");
  if (!/[&<>"'`]/.test(text)) return text; // most texts, and a table of 100,000 rows has many
  return text.replace(/[&<>"'`]/g, (character) => `&#${character.charCodeAt(0)};`);
}

const markup = (parts, ...values) => new Markup(parts.reduce((text, part, index) => text + escaped(values[index - 1]) + part));

function put(element, content) {
  element.innerHTML = content.text;
}

/** A name that may break after underscores, and in no word. */
const breakable = (name) => markup`${String(name ?? "").split("_").map((part, index) => (index ? markup`_<wbr>${part}` : part))}`;

const measured = (value, interval) =>
  markup`<span class="value">${value}</span>${interval ? markup` <span class="interval">${interval}</span>` : ""}`;

/** A bar between two shares of its cell, in per cent; the numbers beside it say the same. */
const barMarkup = (low, high, behind = "") =>
  markup`<span class="bar" aria-hidden="true">${behind}<i style="left: ${low}%; width: ${high - low}%"></i></span>`;

const SYMBOLS = { fastest: "★", tie: "◆", reference: "□" };

function symbol(mark) {
  return markup`<span class="symbol${mark === "reference" ? "" : " accent"}" aria-hidden="true">${SYMBOLS[mark]}</span>`;
}

function statusMarkup(status) {
  const kind = { ok: "ok", unsupported: "skipped" }[status] ?? "bad";
  return markup`<span class="status status-${kind}">${status ?? MISSING}</span>`;
}
