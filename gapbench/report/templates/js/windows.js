// Windows over the page, and the charts that stand in them.

/** The views of one case (or trend) as figures, null if none was drawn. */
function drawnMarkup(one) {
  const scripts = [...document.querySelectorAll(`script[data-case="${one}"]`)];
  if (!scripts.length) return null;
  return markup`${scripts.map(
    (script) => markup`<figure class="view"><h3>${script.dataset.question}</h3><figcaption>${script.dataset.summary}</figcaption>
      <div class="chart" role="group" aria-label="${script.dataset.title}: ${script.dataset.summary}" data-figure="${script.id}"></div></figure>`,
  )}`;
}

function openWindow(dialog) {
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  dialog.querySelectorAll(".chart").forEach(draw);
}

/**
 * A window that shows one of ``count`` things by ``open(one)``: whatever has ``data-<key>`` opens it, and the address keeps
 * ``nameOf(one)`` as ``key``. Returns what restores it from there.
 */
function addressed(dialog, key, count, nameOf, open) {
  function restore() {
    const one = recall(key) ? range(count).find((place) => nameOf(place) === recall(key)) : undefined;
    if (one !== undefined) open(one);
    else if (dialog.open) dialog.close();
  }
  dialog.addEventListener("close", () => remember(key, ""));
  onAddress(restore);
  document.addEventListener("click", (event) => {
    const opener = event.target.closest?.(`[data-${key}]`);
    if (opener) open(Number(opener.dataset[key]));
  });
  return restore;
}

document.querySelectorAll("dialog").forEach((dialog) =>
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog || event.target.matches(".close")) dialog.close();
  }),
);
