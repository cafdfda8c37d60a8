// What happened, on the time axis: alerts as bars, gaps as shading, annotations and the rest as lines; and cursors.

import { el, keyed, setAttribute } from "./dom.js";
import { colour } from "./theme.js";
import * as format from "./format.js";

/** @typedef {{key: string, kind: "alert"|"gap"|"note"|"event", from: number, to: number|null, source: string|null, text: string, severity: string}} Mark */

/** More than this on one screen says no more. */
const SHOWN_MAX = 200;

/** @param {Mark[]} marks by time @returns {Mark[]} */
export function within(marks, from, to) {
  const found = [];
  // The newest, if there are too many.
  for (let i = marks.length - 1; i >= 0 && found.length < SHOWN_MAX; i -= 1) {
    const mark = marks[i];
    if (mark.from <= to && (mark.to ?? (mark.kind === "alert" ? to : mark.from)) >= from) found.push(mark);
  }
  return found.reverse();
}

/** Shading and lines behind the traces of a pane. */
export function drawMarks(u, marks, channels) {
  const context = u.ctx;
  const { left, top, width, height } = u.bbox;
  const [from, to] = [u.scales.x.min, u.scales.x.max];
  const place = (time) => left + Math.min(1, Math.max(0, (time - from) / (to - from))) * width;
  const sources = new Set(channels.map((name) => name.slice(0, name.indexOf("."))));
  context.save();
  for (const mark of within(marks, from, to)) {
    const x = place(mark.from);
    if (mark.kind === "gap" && (mark.source === null || sources.has(mark.source))) {
      context.fillStyle = colour("gap");
      context.fillRect(x, top, Math.max(1, place(mark.to ?? mark.from) - x), height);
    } else if (mark.kind === "note" && mark.from >= from) {
      context.fillStyle = colour("note");
      context.fillRect(Math.round(x), top, 1, height);
    }
  }
  context.restore();
}

/** @param {import("./cursors.js").Cursors} cursors */
export function drawCursors(u, cursors) {
  const context = u.ctx;
  const { left, top, width, height } = u.bbox;
  const [from, to] = [u.scales.x.min, u.scales.x.max];
  context.save();
  for (const [name, time] of /** @type {[string, number|null][]} */ ([["A", cursors.a], ["B", cursors.b]])) {
    if (time === null || time < from || time > to) continue;
    const x = Math.round(left + ((time - from) / (to - from)) * width);
    context.fillStyle = colour("accent");
    context.fillRect(x, top, 1, height);
    context.font = `${11 * devicePixelRatio}px ${colour("font")}`;
    context.fillText(name, x + 3 * devicePixelRatio, top + 10 * devicePixelRatio);
  }
  context.restore();
}

/** The strip above the panes. `left` and `right` are the plots' margins in CSS pixels. */
export function drawStrip(strip, marks, from, to, go) {
  const percent = (time) => Math.min(100, Math.max(0, ((time - from) / (to - from)) * 100));
  keyed(strip, within(marks, from, to), (mark) => mark.key, (mark) => {
    const name = `${mark.kind === "note" ? "annotation" : mark.kind}: ${mark.text}, ${format.clock(mark.from, 1)}`;
    return el("button", { type: "button", class: `mark ${mark.kind} ${mark.severity}`, title: name, "aria-label": name, tabindex: "-1", onclick: () => go(mark) });
  }, (button, mark) => {
    const begin = percent(mark.from);
    const end = mark.to === null ? (mark.kind === "alert" ? 100 : begin) : percent(mark.to);
    button.style.left = `${begin.toFixed(2)}%`;
    button.style.width = mark.kind === "alert" || mark.kind === "gap" ? `max(4px, ${(end - begin).toFixed(2)}%)` : "";
    setAttribute(button, "data-from", String(mark.from));
  });
}
