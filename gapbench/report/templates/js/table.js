// Tables: DataTables over columns, with filters by facet, a search, CSV of what is shown, and all of it in the address.

const tables = new Map();
let activeTable = null;

/** Numbers that were not measured sort last, up and down. */
function measuredOrder() {
  const order = DataTable.ext.type.order;
  order["measured-pre"] = (value) => (missing(value) || value === "" ? null : Number(value));
  order["measured-asc"] = (a, b) => (a === null) - (b === null) || a - b;
  order["measured-desc"] = (a, b) => (a === null) - (b === null) || b - a;
}

/**
 * Turn an empty table element into a table of ``count`` rows. A column has ``name``, ``title``, ``value(row)`` (null is
 * not measured) and perhaps ``show(row)`` (markup), ``numeric``, ``facet``, ``header`` (of its row) and ``hidden`` (in the
 * CSV only). ``keep(row, chosen)`` may hide rows, given the facets' choices.
 */
async function makeTable(element, columns, rowCount, { keep = () => true, empty = "no rows", csv = true } = {}) {
  await library("datatables");
  measuredOrder();
  const name = element.dataset.table;
  const key = (what) => `${name}.${what}`;
  const facets = columns.filter((column) => column.facet).map((column) => ({ ...column, choices: distinct(column.value, range(rowCount)).sort() }));
  const chosen = {};
  const cell = (column) => (row, type) => {
    const value = column.value(row.row);
    if (type === "display") return column.show ? column.show(row.row).text : escaped(missing(value) ? MISSING : value);
    if (type === "export") return missing(value) ? "" : exported(value);
    // DataTables parses the text to search as HTML if it has an ampersand.
    return type === "sort" || type === "type" ? value : escaped(value);
  };
  const table = new DataTable(element, {
    data: range(rowCount).map((row) => ({ row })),
    columns: columns.map((column) => ({
      title: escaped(column.title),
      name: column.name,
      data: cell(column),
      type: column.numeric ? "measured" : "string",
      className: column.numeric ? "num" : column.wide ? "wide" : "",
      visible: !column.hidden,
      searchable: !column.numeric && !column.hidden,
      cellType: column.header ? "th" : "td",
      createdCell: (cell) => (column.header ? (cell.scope = "row") : (cell.dataset.label = column.title)),
    })),
    autoWidth: false,
    order: [],
    pageLength: 25,
    lengthMenu: [25, 100, 1000],
    layout: {
      topStart: "search",
      topEnd: csv ? { buttons: [csvButton(name, columns)] } : null,
      bottomStart: "info",
      bottomEnd: rowCount > 25 ? ["pageLength", "paging"] : null,
    },
    language: {
      search: "", searchPlaceholder: "Search (/)", lengthMenu: "_MENU_ rows a page", info: "_START_–_END_ of _TOTAL_ rows",
      infoEmpty: "no rows", infoFiltered: "(filtered from _MAX_)", emptyTable: escaped(empty),
      zeroRecords: "nothing matches these filters",
    },
  });
  const selects = facetBar(element, facets, (facet, value) => {
    chosen[facet] = value;
    remember(facet, value);
    tables.forEach((entry) => entry.restore());
  });
  table.search.fixed("facets", (_text, row) => keep(row.row, chosen) && facets.every((facet) => !chosen[facet.name] || String(facet.value(row.row)) === chosen[facet.name]));

  function restore() {
    facets.forEach((facet) => {
      const choice = facet.choices.map(String).includes(recall(facet.name)) ? recall(facet.name) : "";
      chosen[facet.name] = choice;
      if (selects[facet.name]) selects[facet.name].value = choice;
    });
    const [, sorted, direction] = recall(key("sort")).match(/^(.*):(asc|desc)$/) ?? [];
    const index = columns.findIndex((column) => column.name === sorted);
    table.order(index < 0 ? [] : [[index, direction === "desc" ? "desc" : "asc"]]);
    table.search(recall(key("q"))).draw();
    const page = Number(recall(key("page"))) || 0;
    if (page > 0 && page < table.page.info().pages) table.page(page).draw("page");
  }

  restore();
  onAddress(restore);
  table.on("draw", () => {
    const [[index, direction] = []] = table.order();
    remember(key("q"), table.search());
    remember(key("sort"), index === undefined ? "" : `${columns[index].name}:${direction}`);
    remember(key("page"), table.page() || "");
  });
  const container = table.table().container();
  container.querySelector("input[type=search]").setAttribute("aria-label", `Search ${element.getAttribute("aria-label")}`);
  for (const event of ["focusin", "pointerdown"]) container.addEventListener(event, () => (activeTable = name));
  tables.set(name, { table, restore, container });
  activeTable ??= name;
  return table;
}

const exported = (value) => (Array.isArray(value) ? value.join(" ") : value);

/** A CSV button. An apostrophe keeps spreadsheets from running texts that begin like a formula. */
function csvButton(name, columns) {
  return {
    extend: "csvHtml5",
    text: "CSV",
    titleAttr: "Save the rows that the filters leave as CSV",
    filename: `${document.title.split(" · ")[0]} ${name}`,
    exportOptions: {
      columns: () => true,
      orthogonal: "export",
      modifier: { search: "applied", order: "applied" },
      format: {
        header: (_title, index) => columns[index].name,
        body: (value) => (typeof value === "string" && /^[=+\-@\t\r]/.test(value) && Number.isNaN(Number(value)) ? `'${value}` : value),
      },
    },
  };
}

/** A select for each facet with several values. */
function facetBar(element, facets, choose) {
  const bar = document.createElement("div");
  bar.className = "facets";
  const selects = {};
  for (const facet of facets.filter(({ choices }) => choices.length > 1)) {
    const label = document.createElement("label");
    const select = document.createElement("select");
    label.append(`${facet.title} `, select);
    select.append(new Option("all", ""), ...facet.choices.map((choice) => new Option(choice, choice)));
    select.addEventListener("change", () => choose(facet.name, select.value));
    selects[facet.name] = select;
    bar.append(label);
  }
  if (bar.children.length) element.closest(".dt-container").before(bar);
  return selects;
}

// Print all rows of a table, because paper cannot scroll; of more than a thousand rows, print the visible page.
const lengths = new Map();
addEventListener("beforeprint", () =>
  tables.forEach(({ table }, name) => {
    lengths.set(name, [table.page.len(), table.page()]);
    if (table.page.info().recordsDisplay <= 1000) table.page.len(-1).draw();
  }),
);
addEventListener("afterprint", () =>
  tables.forEach(({ table }, name) => {
    const [length, page] = lengths.get(name) ?? [25, 0];
    table.page.len(length).page(page).draw("page");
  }),
);
