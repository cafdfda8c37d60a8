// The one time axis: what it shows, whether it moves, and what zooming and panning do to it. No page, no server.

/** The shortest and longest span in seconds: 1 ms still tells samples of 1 MHz apart, and epoch seconds in a double do too. */
export const SPAN_MIN = 0.001;
export const SPAN_MAX = 366 * 86400;

/** How far behind now the axis runs: a commit each 100 ms, its way here, and a margin so that it never waits. */
export const DELAY = 0.35;

export class View {
  constructor() {
    /** Whether the right edge follows the time. */
    this.following = true;
    /** Whether the left edge stays at the beginning of the run. */
    this.whole = false;
    this.span = 10;
    /** The right edge while it does not move. */
    this.end = 0;
    /** The beginning of the run. */
    this.start = 0;
    /** Local clock to the server's, in seconds; null until it has spoken. @type {number|null} */
    this.offset = null;
    /** The last time of a run that has ended. @type {number|null} */
    this.last = null;
  }

  /** The server's time now, carried on by our clock. */
  now() {
    if (this.last !== null) return this.last + DELAY;
    return this.offset === null ? Date.now() / 1000 : performance.now() / 1000 + this.offset;
  }

  /**
   * The server said what time it is. Messages are only ever late, so the largest offset is the best; it sinks slowly,
   * to follow clocks that run apart, and jumps if it is far off.
   */
  heard(time) {
    const offset = time - performance.now() / 1000;
    if (this.offset === null || offset > this.offset || this.offset - offset > 2) this.offset = offset;
    else this.offset -= (this.offset - offset) * 0.01;
  }

  /** What is shown: [from, to] in seconds. @returns {[number, number]} */
  range() {
    const to = this.following ? this.now() - DELAY : this.end;
    if (this.whole && this.following && this.start > 0) return [Math.min(this.start, to - 1), to];
    return [to - this.span, to];
  }

  /** Stops where it is. */
  pause() {
    if (!this.following) return;
    const [from, to] = this.range();
    this.following = false;
    this.whole = false;
    this.end = to;
    this.span = to - from;
  }

  /** Follows the time again. */
  follow() {
    this.following = true;
  }

  /** Shows so many seconds; around the middle if it stands. @param {number} span */
  setSpan(span) {
    const [from, to] = this.range();
    this.whole = false;
    const wanted = Math.min(SPAN_MAX, Math.max(SPAN_MIN, span));
    if (!this.following) this.end = (from + to) / 2 + wanted / 2;
    this.span = wanted;
  }

  /** Shows the whole run, and what comes. */
  showWhole() {
    this.whole = true;
    this.following = true;
  }

  /** Shows exactly this. */
  show(from, to) {
    this.following = false;
    this.whole = false;
    this.span = Math.min(SPAN_MAX, Math.max(SPAN_MIN, to - from));
    this.end = (from + to) / 2 + this.span / 2;
  }

  /** Zooms by a factor with a time that stays in its place; while following, the right edge does. */
  zoom(factor, at) {
    if (this.following) {
      const [from, to] = this.range();
      this.whole = false;
      this.span = Math.min(SPAN_MAX, Math.max(SPAN_MIN, (to - from) * factor));
      return;
    }
    const [from, to] = this.range();
    const span = Math.min(SPAN_MAX, Math.max(SPAN_MIN, (to - from) * factor));
    const share = (at - from) / (to - from);
    this.span = span;
    this.end = at - share * span + span;
  }

  /** Moves by so many seconds; to the left edge of now it follows again. */
  pan(seconds) {
    this.pause();
    this.end += seconds;
    const latest = this.now() - DELAY;
    if (this.end >= latest && seconds > 0) this.follow();
  }
}
