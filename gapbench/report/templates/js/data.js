// The page's data: frames by columns, every value once; see gapbench.report.page_data.

const data = JSON.parse(document.getElementById("data").textContent);

function reader(column) {
  if (!column) return () => null;
  if ("constant" in column) return () => column.constant;
  if ("codes" in column) return (row) => column.names[column.codes[row]] ?? null;
  if (!column.per) return (row) => column.values[row];
  return (row) => (column.values[row] === null ? null : column.values[row] / column.per);
}

/** A frame's readers by column name; those of columns that it lacks give null. */
function frame(encoded) {
  const readers = new Map();
  return {
    count: encoded.count,
    has: (name) => name in encoded.columns,
    varies: (name) => name in encoded.columns && !("constant" in encoded.columns[name]),
    names: Object.keys(encoded.columns),
    column(name) {
      if (!readers.has(name)) readers.set(name, reader(encoded.columns[name]));
      return readers.get(name);
    },
    at(name, row) {
      return this.column(name)(row);
    },
  };
}

const range = (end, start = 0) => Array.from({ length: end - start }, (_, place) => start + place);

/** The different values of a column among some rows, in the order in which they come; null left out. */
function distinct(read, rows) {
  const found = new Set(rows.map(read));
  found.delete(null);
  return [...found];
}
