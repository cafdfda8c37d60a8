// What is known of one channel: columns of the live end, and of the piece of the past last asked for. Bounded: a live
// end holds its span, a past piece is replaced by the next. Knows no page and no server.

/**
 * Columns of one width side by side: column i spans (first + i) to (first + i + 1) widths, low and high are its envelope.
 * NaN: no value in that time. Times are seconds since 1970.
 * @typedef {{step: number, first: number, low: Float64Array, high: Float64Array, count: number}} Piece
 */

/** No piece grows beyond so many columns, whatever a server sends. */
export const COLUMNS_MAX = 16384;

/** From when to when a piece tells something. @param {Piece} p @returns {[number, number]} */
export function extent(p) {
  return [p.first * p.step, (p.first + p.count) * p.step];
}

/** The column that holds a time, or the nearest. @param {Piece} p */
export function placeOf(p, time) {
  return Math.min(p.count, Math.max(0, Math.floor(time / p.step) - p.first));
}

/** Joins new columns to a piece: what is there already is replaced; another width begins anew. Keeps so many seconds. */
export function joined(old, fresh, keep) {
  if (old === null || old.step !== fresh.step) return fresh;
  if (fresh.count === 0) return old;
  const end = Math.max(old.first + old.count, fresh.first + fresh.count);
  const begin = Math.max(Math.min(old.first, fresh.first), end - Math.ceil(keep / old.step) - 1, end - COLUMNS_MAX);
  const count = end - begin;
  const into = { step: old.step, first: begin, low: new Float64Array(count).fill(NaN), high: new Float64Array(count).fill(NaN), count };
  for (const part of [old, fresh]) {
    const skip = Math.max(0, begin - part.first);
    if (skip >= part.count) continue;
    into.low.set(part.low.subarray(skip, part.count), part.first + skip - begin);
    into.high.set(part.high.subarray(skip, part.count), part.first + skip - begin);
  }
  return into;
}

export class Trace {
  constructor() {
    /** @type {Piece|null} */
    this.live = null;
    this.liveId = -1;
    /** @type {Piece|null} */
    this.past = null;
    /** What the past piece was asked for; it may tell of less. @type {[number, number]} */
    this.pastRange = [0, 0];
    /** How wide its columns were asked to be; the server may have had only wider ones. */
    this.pastStep = Infinity;
  }

  /** Live columns of a subscription came; those of a new one replace what the old one knew. */
  takeLive(id, fresh, keep) {
    this.live = joined(id === this.liveId ? this.live : null, fresh, keep);
    this.liveId = id;
  }

  /** A piece of the past came; null: there is nothing. */
  takePast(fresh, from, to, step) {
    this.past = fresh;
    this.pastStep = step;
    this.pastRange = [from, to];
  }

  /**
   * Pieces that together tell most about a range, each with the part of it that it shall tell: the finer wins where both
   * know, so that there is no seam and nothing is drawn twice.
   * @returns {[Piece, number, number][]}
   */
  parts(from, to) {
    const live = this.live !== null && this.live.count > 0 ? this.live : null;
    const past = this.past !== null && this.past.count > 0 ? this.past : null;
    if (live === null) return past === null ? [] : [[past, from, to]];
    const [liveFrom, liveTo] = extent(live);
    if (past === null || this.pastRange[1] <= from || this.pastRange[0] >= to) return [[live, from, to]];
    /** @type {[Piece, number, number][]} */
    const parts = [];
    if (past.step < live.step || liveFrom > from) {
      // What was asked for and did not come yet, at the very end, is left to the live columns.
      const [pastFrom, pastTo] = [this.pastRange[0], Math.min(this.pastRange[1], extent(past)[1])];
      parts.push([live, from, Math.min(to, pastFrom)], [past, Math.max(from, pastFrom), Math.min(to, pastTo)], [live, Math.max(from, pastTo), to]);
    } else parts.push([live, from, Math.min(to, liveTo)], [past, liveTo, to]);
    return parts.filter(([, begin, end]) => begin < end);
  }

  /** The lowest and highest value in a range; null if there is none. @returns {[number, number]|null} */
  bounds(from, to) {
    let lowest = Infinity;
    let highest = -Infinity;
    for (const [part, begin, end] of this.parts(from, to)) {
      const last = Math.min(part.count, placeOf(part, end) + 1);
      for (let i = placeOf(part, begin); i < last; i += 1) {
        if (part.low[i] < lowest) lowest = part.low[i];
        if (part.high[i] > highest) highest = part.high[i];
      }
    }
    return lowest <= highest ? [lowest, highest] : null;
  }

  /** The envelope of the nearest column with a value, not further off than `reach` seconds. @returns {[number, number]|null} */
  at(time, reach) {
    for (const [part] of this.parts(time, time + 1e-6)) {
      const place = Math.floor(time / part.step) - part.first;
      const steps = Math.min(COLUMNS_MAX, Math.max(1, Math.ceil(reach / part.step)));
      for (let off = 0; off <= steps; off += 1) {
        for (const i of [place - off, place + off]) {
          if (i >= 0 && i < part.count && !Number.isNaN(part.low[i])) return [part.low[i], part.high[i]];
        }
      }
    }
    return null;
  }

  /** The newest envelope and its time. @returns {{time: number, low: number, high: number}|null} */
  latest() {
    const p = this.live;
    if (p === null) return null;
    for (let i = p.count - 1; i >= 0; i -= 1) {
      if (!Number.isNaN(p.low[i])) return { time: (p.first + i + 0.5) * p.step, low: p.low[i], high: p.high[i] };
    }
    return null;
  }

  /**
   * Draws a range as one line through the envelopes. `xf`, `xs` and `yf`, `ys` make pixels of times and values as factor
   * and shift. No line is drawn over more than `bridge` seconds without a value: a gap is a gap.
   */
  draw(path, from, to, xf, xs, yf, ys, bridge) {
    let before = NaN;
    let isUp = true;
    for (const [part, begin, end] of this.parts(from, to)) {
      const last = Math.min(part.count, placeOf(part, end) + 2);
      const reach = Math.max(bridge, part.step * 2.5);
      for (let i = Math.max(0, placeOf(part, begin) - 1 - Math.ceil(bridge / part.step)); i < last; i += 1) {
        const low = part.low[i];
        if (Number.isNaN(low)) continue;
        const time = (part.first + i + 0.5) * part.step;
        if (time <= before) continue;
        const x = time * xf + xs;
        const yl = low * yf + ys;
        const yh = part.high[i] * yf + ys;
        if (!(time - before <= reach)) {
          path.moveTo(x, yl);
          isUp = true;
          if (yl === yh) path.lineTo(x + 1, yl);
        } else path.lineTo(x, isUp ? yl : yh);
        // Up one column and down the next, so that the line does not cross itself.
        if (yl !== yh) {
          path.lineTo(x, isUp ? yh : yl);
          isUp = !isUp;
        }
        before = time;
      }
    }
  }
}
