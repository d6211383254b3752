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

document.querySelectorAll("dialog").forEach((dialog) =>
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog || event.target.matches(".close")) dialog.close();
  }),
);
