// The choices of the reader, kept in the address: reloading or sharing the link shows the same.

const state = new Map();
const restorers = [];

function readAddress() {
  const hash = location.hash.slice(1);
  state.clear();
  if (hash.includes("=")) new URLSearchParams(hash).forEach((value, key) => state.set(key, value));
  else if (hash) state.set("at", decodeURIComponent(hash));
}

function remember(key, value) {
  if (missing(value) || value === "" || value === false) state.delete(key);
  else state.set(key, String(value));
  history.replaceState(null, "", `#${new URLSearchParams([...state])}`);
}

const recall = (key) => state.get(key) ?? "";

/** Call ``restore`` whenever the address changes under the page, as by the back button. */
function onAddress(restore) {
  restorers.push(restore);
}

function goTo(id) {
  const target = document.getElementById(id);
  if (!target) return;
  target.scrollIntoView();
  if (!target.hasAttribute("tabindex")) target.tabIndex = -1;
  target.focus({ preventScroll: true });
}

readAddress();
addEventListener("hashchange", () => {
  readAddress();
  restorers.forEach((restore) => restore());
  goTo(recall("at"));
});

// Links within the page must not wipe out the rest of the state.
document.addEventListener("click", (event) => {
  const link = event.target.closest?.('a[href^="#"]');
  if (!link) return;
  event.preventDefault();
  const id = link.getAttribute("href").slice(1);
  remember("at", id);
  goTo(id);
});
