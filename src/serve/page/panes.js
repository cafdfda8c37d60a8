// All panes over the one time axis: made from a layout, drawn together, and back into a layout.

import { by } from "./dom.js";
import { colour, COLOURS } from "./theme.js";
import { Pane } from "./pane.js";
import { Trace } from "./trace.js";
import { PANES_MAX, CHANNELS_MAX } from "./layout.js";
import { chooseChannels, chooseScale } from "./dialogs.js";

const NOTHING = new Trace();

export class Panes {
  /**
   * @param {{store: import("./store.js").Store, view: import("./view.js").View, cursors: import("./cursors.js").Cursors,
   *   marks: () => import("./marks.js").Mark[], spectrum: (name: string) => void, changed: () => void}} page
   */
  constructor(page) {
    this.page = page;
    this.room = by("panes");
    /** @type {Pane[]} */
    this.panes = [];
    /** @type {Map<string, import("./model.js").Channel>} */
    this.channels = new Map();
    /** @type {Map<string, number>} which colour a channel has */
    this.colours = new Map();
    // A legend that takes another line, a window of another size: whatever changes the room of a plot.
    this.observer = new ResizeObserver(() => this.resize());
  }

  /** What a pane may ask. @returns {import("./pane.js").Page} */
  forPane() {
    const channelOf = (name) => this.channels.get(name);
    return {
      view: this.page.view, cursors: this.page.cursors, marks: this.page.marks, spectrum: this.page.spectrum, changed: this.page.changed,
      trace: (name) => {
        const channel = channelOf(name);
        return channel === undefined ? NOTHING : this.page.store.trace(channel.number);
      },
      unit: (name) => channelOf(name)?.unit ?? "",
      reach: (name) => {
        const rate = channelOf(name)?.rate;
        return rate ? 3.5 / rate : 1.5;
      },
      colourOf: (name) => colour(`c${this.colours.get(name) ?? 0}`),
      choose: (pane) => this.choose(pane),
      scale: (pane) => this.scale(pane),
      close: (pane) => this.close(pane),
    };
  }

  /** @param {import("./layout.js").PaneLayout[]} layouts */
  show(layouts) {
    for (const pane of this.panes) {
      pane.plot?.destroy();
      pane.root.remove();
    }
    this.panes = layouts.slice(0, PANES_MAX).map((layout) => new Pane(this.forPane(), layout));
    this.room.append(...this.panes.map((pane) => pane.root));
    this.rebuild();
  }

  layouts() {
    return this.panes.map((pane) => pane.layout());
  }

  /** Colours are given within a pane first, so that neighbours differ; a channel keeps the one it has. */
  paint() {
    const shown = new Set(this.panes.flatMap((pane) => pane.channels));
    for (const name of this.colours.keys()) if (!shown.has(name)) this.colours.delete(name);
    for (const pane of this.panes) {
      const taken = new Set(pane.channels.map((name) => this.colours.get(name)));
      for (const name of pane.channels) {
        if (this.colours.has(name)) continue;
        let free = 0;
        while (free < COLOURS && taken.has(free)) free += 1;
        this.colours.set(name, free % COLOURS);
        taken.add(free);
      }
    }
  }

  /** Everything anew: other panes, channels, or colours. */
  rebuild() {
    this.paint();
    const numbers = new Set();
    for (const pane of this.panes) for (const name of pane.channels) numbers.add(this.channels.get(name)?.number);
    numbers.delete(undefined);
    this.page.store.show([...numbers]);
    by("empty").hidden = this.panes.length > 0;
    this.observer.disconnect();
    this.panes.forEach((pane, i) => {
      pane.build(i === this.panes.length - 1);
      pane.root.setAttribute("aria-label", `pane ${i + 1}: ${pane.channels.join(", ")}`);
      this.observer.observe(pane.body);
    });
    this.page.changed();
  }

  resize() {
    for (const pane of this.panes) pane.resize();
    this.page.store.width = Math.max(200, Math.round(this.panes[0]?.plot?.bbox.width ?? 800));
    this.page.store.dirty = true;
  }

  /** One channel of each source that is shown. @returns {[number, string][]} */
  sources() {
    /** @type {Map<string, number>} */
    const found = new Map();
    for (const pane of this.panes) {
      for (const name of pane.channels) {
        const channel = this.channels.get(name);
        if (channel !== undefined && !found.has(channel.source)) found.set(channel.source, channel.number);
      }
    }
    return [...found].map(([source, number]) => [number, source]);
  }

  /** The pane that has the focus, or the first. @returns {Pane|undefined} */
  current() {
    return this.panes.find((pane) => pane.root.contains(document.activeElement)) ?? this.panes[0];
  }

  add() {
    if (this.panes.length >= PANES_MAX) return;
    const pane = new Pane(this.forPane(), { channels: [], low: null, high: null });
    chooseChannels([...this.channels.values()], [], CHANNELS_MAX, (names) => {
      if (names.length === 0) return;
      pane.channels = names;
      this.panes.push(pane);
      this.room.append(pane.root);
      this.rebuild();
      pane.root.focus();
    });
  }

  /** @param {Pane} pane */
  choose(pane) {
    chooseChannels([...this.channels.values()], pane.channels, CHANNELS_MAX, (names) => {
      pane.channels = names;
      pane.hasBounds = false;
      this.rebuild();
    });
  }

  /** @param {Pane} pane */
  scale(pane) {
    chooseScale(pane.bounds, pane.low !== null, (low, high) => {
      pane.low = low;
      pane.high = high;
      pane.hasBounds = false;
      this.page.changed();
    });
  }

  /** @param {Pane} pane */
  close(pane) {
    pane.plot?.destroy();
    pane.root.remove();
    this.panes = this.panes.filter((other) => other !== pane);
    this.rebuild();
  }

  draw() {
    for (const pane of this.panes) pane.draw();
  }

  drawLegends() {
    for (const pane of this.panes) pane.drawLegend();
  }
}
