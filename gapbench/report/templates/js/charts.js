// Draw charts when they come near the window: plotly is large, and a page may have many charts.

const PLOT = { responsive: true, displaylogo: false, modeBarButtons: [["toImage"]] };

async function draw(chart) {
  if (chart.dataset.drawn) return;
  chart.dataset.drawn = "yes";
  const source = document.getElementById(chart.dataset.figure);
  const { data: traces, layout } = JSON.parse(source.textContent);
  await library("plotly");
  if (chart.clientWidth < 480 && layout.yaxis?.tickfont === undefined && layout.xaxis?.ticktext) {
    // On a phone labels are smaller, and every second tick has one.
    layout.yaxis = { ...layout.yaxis, tickfont: { size: 10 } };
    layout.xaxis.ticktext = layout.xaxis.ticktext.map((text, index) => (index % 2 ? "" : text));
  }
  chart.style.height = `${layout.height ?? 420}px`;
  await Plotly.newPlot(chart, traces, layout, PLOT);
}

/** Draw one after the other while the page is idle, so that views are ready for jumps and on paper. */
async function drawAll() {
  for (const chart of document.querySelectorAll("main .chart")) {
    await new Promise((idle) => requestIdleCallback(idle));
    await draw(chart);
  }
  document.documentElement.dataset.drawn = "yes";
}

/** Start once the tables above the charts have their height, so that distant charts are not near the window. */
function watchCharts() {
  document.querySelectorAll("main .chart").forEach((chart) => whenNear(chart, () => draw(chart)));
}
