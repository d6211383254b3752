// Draws the charts and turns the results into a sortable, searchable table. Without it the page still reads.

const config = { responsive: true, displaylogo: false, modeBarButtons: [["toImage"]] };

function draw(chart) {
  if (chart.dataset.drawn) return;
  chart.dataset.drawn = "yes";
  const { data, layout } = JSON.parse(chart.textContent);
  chart.textContent = "";
  if (chart.clientWidth < 480) {
    // A phone has room for smaller names and every second time.
    layout.yaxis.tickfont = { size: 10 };
    layout.xaxis.ticktext = layout.xaxis.ticktext.map((text, place) => (place % 2 ? "" : text));
  }
  Plotly.newPlot(chart, data, layout, config);
}

// Charts are drawn as they come into view, so that a page of hundreds opens at once.
const seen = new IntersectionObserver(
  (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => draw(entry.target)),
  { rootMargin: "800px" },
);
const charts = document.querySelectorAll(".chart");
charts.forEach((chart) => seen.observe(chart));

const source = new Blob([document.getElementById("datatables").textContent], { type: "text/javascript" });
const { default: DataTable } = await import(URL.createObjectURL(source));

// Numbers that were not measured sort last, up and down.
const order = DataTable.ext.type.order;
order["measured-pre"] = (text) => (text === "" ? null : Number(text));
order["measured-asc"] = (a, b) => (a === null) - (b === null) || a - b;
order["measured-desc"] = (a, b) => (a === null) - (b === null) || b - a;

const table = new DataTable("table.results", {
  autoWidth: false,
  order: [],
  pageLength: 25,
  lengthMenu: [25, 100, { label: "all", value: -1 }],
  columnDefs: [{ targets: "num", type: "measured" }],
  layout: { topStart: "search", topEnd: "pageLength", bottomStart: "info", bottomEnd: "paging" },
  language: { search: "", searchPlaceholder: "Search results", lengthMenu: "_MENU_ rows", info: "_START_–_END_ of _TOTAL_ rows" },
});
document.documentElement.dataset.ready = "yes";

// Paper has neither scrolling nor pages to turn.
const shown = table.page.len();
addEventListener("beforeprint", () => { charts.forEach(draw); table.page.len(-1).draw(); });
addEventListener("afterprint", () => table.page.len(shown).draw());
