// The crosshair, and two cursors A and B that stay where they were put. Knows times only.

import * as format from "./format.js";

export class Cursors {
  /** @param {() => void} changed */
  constructor(changed) {
    this.changed = changed;
    /** @type {number|null} */
    this.a = null;
    /** @type {number|null} */
    this.b = null;
    /** @type {number|null} */
    this.hovered = null;
  }

  /** @param {number|null} time */
  hover(time) {
    this.hovered = time;
    this.changed();
  }

  /** Puts one down. @param {"a"|"b"} which @param {number|null} time */
  put(which, time) {
    this[which] = time;
    this.changed();
  }

  clear() {
    this.a = null;
    this.b = null;
    this.changed();
  }

  /** The time whose values are shown; null: the newest. */
  time() {
    return this.hovered ?? this.b ?? this.a;
  }

  /** What a channel does from A to B. @param {import("./trace.js").Trace} trace @param {number} reach */
  difference(trace, reach) {
    if (this.a === null || this.b === null) return "";
    const [before, after] = [trace.at(this.a, reach), trace.at(this.b, reach)];
    if (before === null || after === null) return "Δ –";
    return `Δ ${format.value((after[0] + after[1] - before[0] - before[1]) / 2)}`;
  }

  /** One line about all of them. @param {number} span */
  text(span) {
    const decimals = Math.max(3, format.decimalsFor(span));
    const parts = [];
    if (this.hovered !== null) parts.push(`at ${format.clock(this.hovered, decimals)}`);
    if (this.a !== null) parts.push(`A ${format.clock(this.a, decimals)}`);
    if (this.b !== null) parts.push(`B ${format.clock(this.b, decimals)}`);
    if (this.a !== null && this.b !== null && this.a !== this.b) {
      const length = this.b - this.a;
      parts.push(`Δt ${format.duration(length)}`, `1/Δt ${format.rate(Math.abs(1 / length))}`);
    }
    return parts.join("   ");
  }
}
