// The binary form of traces (docs/api.md): one message, or one answer, into pieces. Refuses what does not add up.

const VERSION = 1;
const HEAD = 24;
const SERIES_HEAD = 24;

/**
 * @typedef {{channel: number, piece: import("./trace.js").Piece}} Series
 * @typedef {{kind: number, id: number, now: number, series: Series[]}} Message
 */

/** A time of the wire in seconds; doubles hold these to a quarter of a microsecond. @param {bigint} ns */
export function seconds(ns) {
  return Number(ns / 1000n) / 1e6;
}

/** Seconds as digits of nanoseconds, for requests. @param {number} time */
export function digits(time) {
  return String(BigInt(Math.max(0, Math.round(time * 1e6))) * 1000n);
}

/** @param {ArrayBuffer} buffer @returns {Message} */
export function decode(buffer) {
  const view = new DataView(buffer);
  if (buffer.byteLength < HEAD || view.getUint8(0) !== VERSION) throw new Error("traces in a form that this page does not know: load it again");
  /** @type {Message} */
  const message = { kind: view.getUint8(1), id: view.getUint32(4, true), now: seconds(view.getBigInt64(8, true)), series: [] };
  let at = HEAD;
  for (let n = view.getUint32(16, true); n > 0; n -= 1) {
    if (at + SERIES_HEAD > buffer.byteLength) throw new Error("a message of traces is cut short");
    const channel = view.getUint32(at, true);
    const count = view.getUint32(at + 4, true);
    const step = Number(view.getBigInt64(at + 8, true)) / 1e9;
    const first = Number(view.getBigInt64(at + 16, true));
    at += SERIES_HEAD;
    if (!(step > 0) || at + 16 * count > buffer.byteLength) throw new Error("a message of traces is cut short");
    const low = column(view, at, count);
    const high = column(view, at + 8 * count, count);
    at += 16 * count;
    message.series.push({ channel, piece: { step, first, low, high, count } });
  }
  return message;
}

/** Copied, so that a piece does not hold the whole message. */
function column(view, at, count) {
  const values = new Float64Array(count);
  for (let i = 0; i < count; i += 1) values[i] = view.getFloat64(at + 8 * i, true);
  return values;
}
