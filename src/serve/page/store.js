// The traces of all channels on the page, and asking for what they lack: one live subscription for the moving end, one
// question at a time for the past. Knows the view and the server's answers, not how they are drawn.

import { Trace, extent } from "./trace.js";

/** How long a gesture rests before the server is asked. */
const REST_MS = 120;
/** What the server gives at most (docs/api.md). */
const WIDTH_MAX = 4096;
export const CHANNELS_MAX = 64;

export class Store {
  /**
   * @param {import("./view.js").View} view
   * @param {{follow: (channels: number[], span: number, width: number) => number}} live
   * @param {(channels: number[], from: number, to: number, width: number, signal: AbortSignal) => Promise<import("./wire.js").Message>} ask
   * @param {(text: string) => void} failed
   */
  constructor(view, live, ask, failed) {
    this.view = view;
    this.live = live;
    this.ask = ask;
    this.failed = failed;
    /** @type {Map<number, Trace>} */
    this.traces = new Map();
    /** @type {number[]} */
    this.channels = [];
    /** How many columns the screen can show. */
    this.width = 800;
    this.dirty = true;
    this.followed = { id: -1, least: 0, most: 0, span: 0, width: 0, key: "" };
    /** @type {AbortController|null} */
    this.asking = null;
    this.notBefore = 0;
    this.changedAt = 0;
    this.shown = [0, 0];
  }

  /** @param {number} channel */
  trace(channel) {
    let trace = this.traces.get(channel);
    if (trace === undefined) {
      trace = new Trace();
      if (this.channels.includes(channel)) this.traces.set(channel, trace);
    }
    return trace;
  }

  /** These channels are shown; what is known of others is forgotten. @param {number[]} channels */
  show(channels) {
    this.channels = channels.slice(0, CHANNELS_MAX);
    for (const channel of this.traces.keys()) if (!this.channels.includes(channel)) this.traces.delete(channel);
    // What was asked for lacks the new ones.
    this.asking?.abort();
    this.asking = null;
    this.notBefore = 0;
  }

  /** The connection is new: whatever was subscribed is not any more. */
  reconnected() {
    this.followed.key = "";
  }

  /** @param {import("./wire.js").Message} message */
  take(message) {
    this.view.heard(message.now);
    if (message.id !== this.followed.id) return;
    for (const { channel, piece } of message.series) {
      if (this.channels.includes(channel)) this.trace(channel).takeLive(message.id, piece, this.followed.span);
    }
    this.dirty = true;
  }

  /** Called with every picture: subscribes and asks as far as is needed. @param {number} now milliseconds */
  tend(now) {
    const [from, to] = this.view.range();
    const moved = this.view.following
      ? Math.abs(to - from - (this.shown[1] - this.shown[0])) > 1e-6 && !this.view.whole
      : from !== this.shown[0] || to !== this.shown[1];
    if (moved) this.changedAt = now;
    this.shown = [from, to];
    if (now - this.changedAt < REST_MS || this.channels.length === 0) return;
    if (this.view.following) {
      this.subscribe(to - from);
      this.fillBehind(from, to, now);
    } else {
      // Also while the axis stands: for the newest values in the legend, and for coming back.
      if (this.followed.key !== this.key()) this.subscribe(Math.min(to - from, 60));
      this.lookBack(from, to, now);
    }
  }

  key() {
    return this.channels.join(",");
  }

  subscribe(span) {
    const { least, most, width } = this.followed;
    if (this.followed.key === this.key() && span >= least && span <= most && width >= this.width * 0.8) return;
    // Wider than the view by what it lags behind, and so that a little zooming out, or growing, needs no new wish.
    const wanted = span * 1.2 + 1;
    // The server has widths four times apart, and takes the one with no more columns than asked for: so ask for twice as many.
    const columns = Math.min(WIDTH_MAX, Math.ceil(this.width * 2 * (wanted / span)));
    const id = this.live.follow(this.channels, wanted, columns);
    if (id >= 0) this.followed = { id, least: span * 0.6, most: span * 1.2, span: wanted, width: this.width, key: this.key() };
  }

  /** Whether all that is shown is known as finely as the screen can show it. */
  isKnown(from, to) {
    const fine = ((to - from) / Math.min(this.width, WIDTH_MAX / 2)) * 1.25;
    return this.channels.every((channel) => {
      const trace = this.trace(channel);
      const [pastFrom, pastTo] = trace.pastRange;
      const latest = this.view.now() - 2;
      if (pastFrom <= from && pastTo >= Math.min(to, latest) && trace.pastStep <= fine) return true;
      const live = trace.live;
      return live !== null && trace.liveId === this.followed.id && extent(live)[0] <= from && live.step <= fine;
    });
  }

  /** Whether something better than what is shown is on its way. */
  isBusy(from, to) {
    return this.asking !== null || (!this.view.following && this.channels.length > 0 && !this.isKnown(from, to));
  }

  lookBack(from, to, now) {
    if (this.isKnown(from, to)) return;
    const margin = (to - from) * 0.5;
    this.askFor(from - margin, to + margin, this.width * 2, now);
  }

  /** The server pushes what it has in memory; what a long span shows from before that is asked for. */
  fillBehind(from, to, now) {
    const begin = Math.max(from, this.view.start);
    const isKnown = this.channels.every((channel) => {
      const { live, liveId, pastRange } = this.trace(channel);
      // What is on its way is waited for.
      if (live === null || liveId !== this.followed.id) return true;
      const liveFrom = extent(live)[0];
      const slack = Math.max(live.step * 3, (to - from) * 0.02);
      return liveFrom <= begin + slack || (pastRange[0] <= begin + slack && pastRange[1] >= liveFrom - slack);
    });
    if (!isKnown) this.askFor(begin, to, this.width, now);
  }

  askFor(begin, end, columns, now) {
    if (this.asking !== null || now < this.notBefore) return;
    const width = Math.min(WIDTH_MAX, columns);
    const channels = this.channels;
    const asking = new AbortController();
    this.asking = asking;
    this.ask(channels, begin, end, width, asking.signal)
      .then((message) => {
        if (this.asking !== asking) return;
        const found = new Map(message.series.map(({ channel, piece }) => [channel, piece]));
        // What is not committed yet may come later: it counts as asked for up to now only.
        const known = Math.min(end, message.now - 1);
        for (const channel of channels) this.trace(channel).takePast(found.get(channel) ?? null, begin, known, (end - begin) / width);
        this.dirty = true;
        this.notBefore = performance.now() + REST_MS;
      })
      .catch((error) => {
        if (this.asking !== asking) return;
        this.notBefore = performance.now() + 3000;
        this.failed(`the past cannot be shown: ${error.message}`);
      })
      .finally(() => {
        if (this.asking === asking) this.asking = null;
        this.dirty = true;
      });
  }
}
