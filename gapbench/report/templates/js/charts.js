// Charts are drawn when they come near the window: plotly is large, and a page may have many.

const PLOT = { responsive: true, displaylogo: false, modeBarButtons: [["toImage"]] };

async function draw(chart) {
  if (chart.dataset.drawn) return;
  chart.dataset.drawn = "yes";
  const source = document.getElementById(chart.dataset.figure);
  const { data: traces, layout } = JSON.parse(source.textContent);
  await library("plotly");
  if (chart.clientWidth < 480 && layout.yaxis?.tickfont === undefined && layout.xaxis?.ticktext) {
    // A phone has room for smaller names and every second mark.
    layout.yaxis = { ...layout.yaxis, tickfont: { size: 10 } };
    layout.xaxis.ticktext = layout.xaxis.ticktext.map((text, place) => (place % 2 ? "" : text));
  }
  chart.style.height = `${layout.height ?? 420}px`;
  await Plotly.newPlot(chart, traces, layout, PLOT);
}

/** While nobody waits, one after the other: views are there when they are jumped to, and on paper. */
async function drawAll() {
  for (const chart of document.querySelectorAll("main .chart")) {
    await new Promise((idle) => requestIdleCallback(idle));
    await draw(chart);
  }
  document.documentElement.dataset.drawn = "yes";
}

/** Once the tables above them have their height, so that those out of sight are. */
function watchCharts() {
  document.querySelectorAll("main .chart").forEach((chart) => whenNear(chart, () => draw(chart)));
}
