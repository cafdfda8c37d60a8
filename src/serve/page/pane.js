// One pane: a plot of some channels over the common time, with its legend. uPlot makes axes, grid and crosshair; the
// traces are drawn here, straight from their columns.

import uPlot from "./vendor/uPlot.esm.js";
import { el, keyed, setAttribute, setText } from "./dom.js";
import { colour } from "./theme.js";
import * as format from "./format.js";
import { drawMarks, drawCursors } from "./marks.js";

const MARGIN = 0.08;

/**
 * @typedef {{trace: (name: string) => import("./trace.js").Trace, view: import("./view.js").View, marks: () => import("./marks.js").Mark[],
 *   cursors: import("./cursors.js").Cursors, unit: (name: string) => string, reach: (name: string) => number,
 *   colourOf: (name: string) => string, changed: () => void, choose: (pane: Pane) => void, scale: (pane: Pane) => void,
 *   spectrum: (name: string) => void, close: (pane: Pane) => void}} Page
 */

export class Pane {
  /** @param {Page} page @param {import("./layout.js").PaneLayout} layout */
  constructor(page, layout) {
    this.page = page;
    this.channels = [...layout.channels];
    this.low = layout.low;
    this.high = layout.high;
    /** @type {[number, number]} what the value axis shows */
    this.bounds = [0, 1];
    this.hasBounds = false;
    this.legend = el("ul", { class: "legend", "aria-label": "channels of this pane" });
    this.scaleButton = el("button", { type: "button", class: "quiet", onclick: () => page.scale(this) }, "auto");
    this.body = el("div", { class: "plot" });
    this.root = el("section", { class: "pane", tabindex: "0", role: "group" },
      el("header", {}, this.legend,
        el("span", { class: "tools" },
          el("button", { type: "button", class: "quiet", title: "Choose channels (C)", onclick: () => page.choose(this) }, "channels"),
          this.scaleButton,
          el("button", { type: "button", class: "quiet", title: "Close this pane", "aria-label": "close pane", onclick: () => page.close(this) }, "×"))),
      this.body);
    /** @type {uPlot|null} */
    this.plot = null;
  }

  /** @returns {import("./layout.js").PaneLayout} */
  layout() {
    return { channels: [...this.channels], low: this.low, high: this.high };
  }

  /** Makes the plot anew: after other channels, other colours, the last pane that alone has a time axis. */
  build(hasAxis) {
    this.plot?.destroy();
    const font = `11px ${colour("font")}`;
    const axis = { stroke: colour("ink-2"), font, grid: { stroke: colour("grid"), width: 1 }, ticks: { stroke: colour("grid"), width: 1, size: 4 } };
    const draw = (u, index) => this.path(u, this.channels[index - 1]);
    this.plot = new uPlot({
      width: Math.max(60, this.body.clientWidth),
      height: Math.max(40, this.body.clientHeight),
      padding: [6, 8, hasAxis ? 0 : 4, 0],
      legend: { show: false },
      cursor: { x: true, y: false, points: { show: false }, drag: { x: false, y: false, setScale: false }, sync: { key: "kymo" } },
      scales: { x: { time: true, range: () => this.page.view.range() }, y: { range: () => this.bounds } },
      axes: [
        { ...axis, size: hasAxis ? 26 : 0, gap: 2, space: 90, show: true, values: hasAxis ? timeLabels : () => [] },
        { ...axis, size: 58, gap: 4, space: 26, values: (_, splits) => valueLabels(splits) },
      ],
      series: [{}, ...this.channels.map((name) => ({
        stroke: this.page.colourOf(name), width: 1.25, points: { show: false }, paths: draw,
      }))],
      hooks: {
        drawAxes: [(u) => drawMarks(u, this.page.marks(), this.channels)],
        draw: [(u) => drawCursors(u, this.page.cursors)],
        setCursor: [(u) => {
          if (u.cursor.event) this.page.cursors.hover(u.cursor.left >= 0 ? u.posToVal(u.cursor.left, "x") : null);
        }],
      },
    }, this.dataNow(), this.body);
    setAttribute(this.plot.root, "aria-hidden", "true");
    this.plot.over.dataset.testid = "over";
  }

  dataNow() {
    const [from, to] = this.page.view.range();
    return [[from, to], ...this.channels.map(() => [0, 0])];
  }

  /** uPlot asks for the line of a channel. */
  path(u, name) {
    const path = new Path2D();
    const { left, top, width, height } = u.bbox;
    const [from, to] = [u.scales.x.min, u.scales.x.max];
    const [low, high] = this.bounds;
    const xf = width / (to - from);
    const yf = -height / (high - low);
    this.page.trace(name).draw(path, from, to, xf, left - from * xf, yf, top + height - low * yf, this.page.reach(name));
    return { stroke: path, fill: null, clip: null, band: null, gaps: null, flags: 1 };
  }

  /** Fits the value axis: widens at once, narrows only when much is empty, so that it does not tremble. */
  fit(from, to) {
    if (this.low !== null && this.high !== null) {
      this.bounds = [this.low, this.high];
      this.hasBounds = true;
      return;
    }
    let lowest = Infinity;
    let highest = -Infinity;
    for (const name of this.channels) {
      const found = this.page.trace(name).bounds(from, to);
      if (found === null) continue;
      lowest = Math.min(lowest, found[0]);
      highest = Math.max(highest, found[1]);
    }
    if (!(lowest <= highest) || !Number.isFinite(lowest) || !Number.isFinite(highest)) return;
    let extent = highest - lowest;
    if (extent === 0) extent = Math.abs(highest) * 0.02 || 1;
    const wanted = [lowest - extent * MARGIN, highest + extent * MARGIN];
    const [low, high] = this.bounds;
    const isInside = low <= lowest && high >= highest;
    const isTight = (highest - lowest) > (high - low) * 0.6;
    if (this.hasBounds && isInside && isTight) return;
    this.bounds = /** @type {[number, number]} */ (wanted);
    this.hasBounds = true;
  }

  /** One picture. */
  draw() {
    if (this.plot === null) return;
    const [from, to] = this.page.view.range();
    this.fit(from, to);
    this.plot.setData(this.dataNow(), true);
  }

  /** The values beside the channels' names: at the crosshair, between the cursors, or the newest. */
  drawLegend() {
    const { cursors } = this.page;
    const time = cursors.time();
    setText(this.scaleButton, this.low === null ? "auto" : "fixed");
    setAttribute(this.scaleButton, "title", this.low === null ? "Scale fits the values: fix it (F)" : "Scale is fixed: change it (F)");
    keyed(this.legend, this.channels, (name) => name, (name) => {
      const swatch = el("span", { class: "swatch" });
      const item = el("li", {},
        swatch, el("button", { type: "button", class: "name quiet", title: "Spectrum of this channel", onclick: () => this.page.spectrum(name) }, name),
        el("output", { class: "value", "data-channel": name }), el("span", { class: "unit" }, format.unitText(this.page.unit(name))), el("span", { class: "delta" }));
      return item;
    }, (item, name) => {
      item.children[0].style.background = this.page.colourOf(name);
      const trace = this.page.trace(name);
      const found = time === null ? trace.latest() : null;
      const pair = time === null ? (found === null ? null : [found.low, found.high]) : trace.at(time, this.page.reach(name));
      setText(item.children[2], pair === null ? "–" : envelope(pair, this.bounds));
      setText(item.children[3], format.unitText(this.page.unit(name)));
      setText(item.children[4], cursors.difference(trace, this.page.reach(name)));
    });
  }

  /** The room has another size. */
  resize() {
    if (this.plot === null) return;
    const width = Math.max(60, this.body.clientWidth);
    const height = Math.max(40, this.body.clientHeight);
    if (width !== this.plot.width || height !== this.plot.height) this.plot.setSize({ width, height });
  }
}

/** A value; or from where to where, if a column holds so much that one number would mislead. */
function envelope([low, high], bounds) {
  if (high - low > (bounds[1] - bounds[0]) * 0.05) return `${format.value(low, 3)} … ${format.value(high, 3)}`;
  return format.value((low + high) / 2);
}

function timeLabels(_, splits) {
  const step = splits.length > 1 ? splits[1] - splits[0] : 1;
  const decimals = step >= 1 ? 0 : Math.min(6, Math.ceil(-Math.log10(step) - 1e-9));
  return splits.map((time) => format.clock(time + 1e-9, decimals));
}

function valueLabels(splits) {
  const step = splits.length > 1 ? Math.abs(splits[1] - splits[0]) : 1;
  const largest = Math.max(...splits.map(Math.abs));
  if (largest >= 1e6 || step < 1e-5) return splits.map((v) => v.toPrecision(4).replace("-", "−"));
  const decimals = Math.max(0, Math.ceil(-Math.log10(step) - 1e-9));
  return splits.map((v) => v.toFixed(decimals).replace("-", "−"));
}
