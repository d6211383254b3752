// The page's data: frames by columns, every value once; see gapbench.report.page_data.

const data = JSON.parse(document.getElementById("data").textContent);

function reader(column) {
  if (!column) return () => null;
  if ("constant" in column) return () => column.constant;
  if ("codes" in column) return (row) => column.names[column.codes[row]] ?? null;
  if (!column.per) return (row) => column.values[row];
  return (row) => (column.values[row] === null ? null : column.values[row] / column.per);
}

/** The columns of a frame by name; a missing column has only nulls. */
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

const range = (end, start = 0) => Array.from({ length: end - start }, (_, index) => start + index);

/** The different values of a column in some rows, in order of appearance, without null. */
function distinct(read, rows) {
  const values = new Set(rows.map(read));
  values.delete(null);
  return [...values];
}
