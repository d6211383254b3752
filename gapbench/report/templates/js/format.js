// Format numbers for people: the same texts as gapbench.report.format (a test compares them).

const MISSING = "–";
const UNITS = [[1, "s"], [1e-3, "ms"], [1e-6, "µs"], [1e-9, "ns"]];
const BYTES = ["B", "KiB", "MiB", "GiB", "TiB"];

const missing = (value) => value === null || value === undefined || Number.isNaN(value);

function decimals(value, digits) {
  if (value === 0 || !Number.isFinite(value)) return 0;
  return Math.max(0, digits - 1 - Number(value.toExponential(digits - 1).split("e")[1]));
}

function fixed(value, places) {
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  const [whole, rest] = value.toFixed(places).split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return rest === undefined ? grouped : `${grouped}.${rest}`;
}

const number = (value, digits = 3) => (missing(value) ? MISSING : fixed(Number(value), decimals(Number(value), digits)));

const count = (value) => (missing(value) ? MISSING : fixed(value, 0));

function unitOf(value) {
  const rounded = Math.abs(Number(value.toExponential(2)));
  return UNITS.find(([scale]) => rounded >= scale * (1 - 1e-12)) ?? UNITS.at(-1);
}

function seconds(value) {
  if (missing(value)) return MISSING;
  const [scale, unit] = unitOf(value);
  return `${number(value / scale)} ${unit}`;
}

function secondsInterval(value, low, high) {
  if ([value, low, high].some(missing)) return "";
  const [scale] = unitOf(value);
  const places = decimals(value / scale, 3);
  return `[${fixed(low / scale, places)}, ${fixed(high / scale, places)}]`;
}

const ratioPlaces = (value) => (Math.abs(value) >= 1 ? decimals(value, 3) : Math.max(2, decimals(value, 2)));

const ratio = (value) => (missing(value) ? MISSING : `${fixed(value, ratioPlaces(value))}×`);

function ratioInterval(value, low, high) {
  if (missing(low) !== missing(high)) return missing(low) ? `at most ${ratio(high)}` : `at least ${ratio(low)}`;
  if ([value, low].some(missing) || low === high) return "";
  const places = ratioPlaces(value) + 1;
  return `[${fixed(low, places)}, ${fixed(high, places)}]`;
}

function bytes(value) {
  if (missing(value)) return MISSING;
  const exponent = value >= 1 ? Math.min(Math.floor(Math.log(value) / Math.log(1024)), BYTES.length - 1) : 0;
  return `${exponent ? number(value / 1024 ** exponent) : Math.trunc(value)} ${BYTES[exponent]}`;
}

const shapeText = (shape) => String(shape).replaceAll("x", "×");
