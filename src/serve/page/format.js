// Numbers, times and units as people read them. Pure functions: no page, no server.

const PREFIXES = [[1e9, "G"], [1e6, "M"], [1e3, "k"]];
const UNITS = { Cel: "°C", deg: "°", "deg/s": "°/s", "m/s2": "m/s²", "m2": "m²", "m3": "m³", Ohm: "Ω", ohm: "Ω", u: "µ", "1": "" };

/** A UCUM unit as it is printed. @param {string|null|undefined} unit */
export function unitText(unit) {
  if (!unit) return "";
  return UNITS[unit] ?? unit.replace(/^u(?=[A-Z])/, "µ");
}

/**
 * A value with so many significant digits, never in a form that jumps in width for small changes.
 * @param {number|null|undefined} value
 */
export function value(value, digits = 5) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  if (value === 0) return "0";
  const size = Math.floor(Math.log10(Math.abs(value)));
  const text = size < -4 || size > 7
    ? value.toExponential(digits - 1)
    : value.toFixed(Math.max(0, Math.min(9, digits - 1 - size)));
  return text.replace("-", "−");
}

/** A count: grouped up to a million, with a prefix beyond. @param {number|null|undefined} n */
export function count(n) {
  if (n === null || n === undefined) return "–";
  if (Math.abs(n) < 1e6) return Math.round(n).toString().replace(/\B(?=(\d{3})+$)/g, "\u202f");
  for (const [size, letter] of PREFIXES) {
    if (Math.abs(n) >= size) return `${(n / size).toPrecision(4)}\u202f${letter}`;
  }
  return String(n);
}

/** A rate. @param {number|null|undefined} hz */
export function rate(hz) {
  if (hz === null || hz === undefined || Number.isNaN(hz)) return "–";
  for (const [size, letter] of PREFIXES) {
    if (hz >= size) return `${(hz / size).toPrecision(4)} ${letter}Hz`;
  }
  return hz >= 100 ? `${hz.toFixed(0)} Hz` : `${hz.toPrecision(3)} Hz`;
}

/** Microseconds. @param {number|null|undefined} us */
export function micros(us) {
  if (us === null || us === undefined) return "–";
  if (us < 1000) return `${us < 10 ? us.toFixed(1) : us.toFixed(0)} µs`;
  if (us < 1e6) return `${(us / 1e3).toPrecision(3)} ms`;
  return `${(us / 1e6).toPrecision(3)} s`;
}

/** A length of time. @param {number|null|undefined} seconds */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "–";
  const sign = seconds < 0 ? "−" : "";
  const s = Math.abs(seconds);
  if (s === 0) return "0 s";
  if (s < 1e-3) return `${sign}${Number((s * 1e6).toPrecision(4))} µs`;
  if (s < 1) return `${sign}${Number((s * 1e3).toPrecision(4))} ms`;
  if (s < 60) return `${sign}${s.toFixed(s < 10 ? 3 : 1).replace(/\.?0+$/, "")} s`;
  const whole = Math.floor(s);
  const two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const days = Math.floor(hours / 24);
  const clockText = `${hours % 24 > 0 || days > 0 ? `${days > 0 ? two(hours % 24) : hours % 24}:` : ""}${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
  return `${sign}${days > 0 ? `${days} d ` : ""}${clockText}`;
}

/** The time of day here, with so many decimals. @param {number} time seconds since 1970 */
export function clock(time, decimals = 0) {
  if (!Number.isFinite(time)) return "–";
  const date = new Date(Math.floor(time) * 1000);
  const two = (n) => String(n).padStart(2, "0");
  const text = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  if (decimals === 0) return text;
  const scale = 10 ** decimals;
  const part = Math.min(scale - 1, Math.floor((time - Math.floor(time)) * scale));
  return `${text}.${String(part).padStart(decimals, "0")}`;
}

/** How many decimals of a second tell pixels of this span apart. */
export function decimalsFor(span) {
  if (span > 600) return 0;
  if (span > 20) return 1;
  if (span > 2) return 3;
  return span > 0.02 ? 4 : 6;
}
