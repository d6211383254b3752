// Windows over the page, and the charts that stand in them.

/** The views of a case (or trend) as figures, null if none was drawn. */
function drawnMarkup(index) {
  const scripts = [...document.querySelectorAll(`script[data-case="${index}"]`)];
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
 * Make a window that shows one of ``count`` things by ``open(index)``: elements with ``data-<key>`` open it, and the address
 * keeps ``nameOf(index)`` as ``key``. Returns the function that restores the window from the address.
 */
function addressed(dialog, key, count, nameOf, open) {
  function restore() {
    const index = recall(key) ? range(count).find((item) => nameOf(item) === recall(key)) : undefined;
    if (index !== undefined) open(index);
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
