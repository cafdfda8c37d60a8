// What happened in the run, as marks: asked for bit by bit, joined (an alert from firing to clearing, a source from
// losing its device to having it again), and bounded.

import { time } from "./model.js";

/** @typedef {import("./marks.js").Mark} Mark */

const KEPT_MAX = 2000;
const LIMIT = 500;

export class Happenings {
  /**
   * @param {(from: number, to: number, limit: number) => Promise<any>} askEvents
   * @param {(channel: number, from: number, to: number) => Promise<any>} askGaps
   */
  constructor(askEvents, askGaps) {
    this.askEvents = askEvents;
    this.askGaps = askGaps;
    /** @type {Map<string, any>} events by what tells them apart */
    this.events = new Map();
    /** @type {Map<string, Mark>} */
    this.gaps = new Map();
    /** @type {Mark[]} by time */
    this.marks = [];
    this.known = { from: Infinity, to: -Infinity };
    this.isBusy = false;
  }

  /**
   * Asks for what is not known of a range, and for what is new. One question at a time.
   * @param {number} from @param {number} to what is shown @param {number} start of the run @param {number} now
   * @param {[number, string][]} channels one for each source that is shown
   */
  async tend(from, to, start, now, channels) {
    if (this.isBusy) return;
    this.isBusy = true;
    try {
      if (this.known.to === -Infinity) {
        const first = await this.ask(start - 1, now);
        this.known = { from: first, to: now };
      } else {
        // An event may come a little after its time: what is new overlaps.
        await this.ask(this.known.to - 5, now);
        this.known.to = now;
        if (from < this.known.from && from >= start - 86400 * 366) {
          this.known.from = await this.ask(from, this.known.from) <= from ? from : this.known.from;
        }
      }
      for (const [channel, source] of channels) {
        const said = await this.askGaps(channel, from, Math.min(to, now));
        for (const gap of said.gaps) {
          const [begin, end] = [time(gap.from_ns), time(gap.to_ns)];
          const key = `gap ${source} ${gap.from_ns}`;
          this.gaps.set(key, { key, kind: "gap", from: begin, to: end, source, text: `${source}: ${gap.frames ?? "unknown"} frames missing, ${String(gap.reason).replaceAll("_", " ")}`, severity: "" });
        }
      }
      this.join();
    } finally {
      this.isBusy = false;
    }
  }

  /** Another run: nothing is known of it. */
  forget() {
    this.events.clear();
    this.gaps.clear();
    this.marks = [];
    this.known = { from: Infinity, to: -Infinity };
  }

  /** Asks for events; from when on they are complete. */
  async ask(from, to) {
    const said = await this.askEvents(from, to, LIMIT);
    for (const event of said.events) {
      this.events.set(`${event.time_ns} ${event.event} ${event.source ?? ""} ${event.rule ?? ""} ${event.change ?? ""} ${event.text}`, event);
    }
    return said.complete === false && said.events.length > 0 ? time(said.events[0].time_ns) : from;
  }

  /** Makes marks of events. */
  join() {
    const oldest = (map) => {
      const keys = map.keys();
      while (map.size > KEPT_MAX) map.delete(keys.next().value);
    };
    oldest(this.events);
    oldest(this.gaps);
    const sorted = [...this.events.entries()].sort(([, a], [, b]) => (BigInt(a.time_ns) < BigInt(b.time_ns) ? -1 : 1));
    /** @type {Map<string, Mark>} */
    const open = new Map();
    /** @type {Mark[]} */
    const marks = [...this.gaps.values()];
    for (const [key, event] of sorted) {
      const at = time(event.time_ns);
      const mark = { key, from: at, to: null, source: event.source ?? null, text: event.text, severity: event.severity ?? "" };
      if (event.event === "alert") {
        if (event.change === "fired") {
          const begun = { ...mark, kind: /** @type {const} */ ("alert"), text: `${event.rule}: ${event.text}` };
          open.set(event.rule, begun);
          marks.push(begun);
        } else if (event.change === "cleared") {
          const begun = open.get(event.rule);
          if (begun !== undefined) begun.to = at;
          open.delete(event.rule);
        } else if (event.change === "acknowledged" || event.change === "unsilenced") {
          marks.push({ ...mark, kind: "event", text: `${event.rule} ${event.change}` });
        }
      } else {
        const isNote = event.event === "annotation";
        marks.push({ ...mark, kind: isNote ? "note" : "event", text: isNote || !event.source ? event.text : `${event.source}: ${event.text}` });
      }
    }
    this.marks = marks.sort((a, b) => a.from - b.from);
  }
}
