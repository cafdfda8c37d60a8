// The WebSocket of live traces: opened, kept, opened again after longer and longer waits, and always saying how it is.

import { decode } from "./wire.js";

const WAIT_FIRST_MS = 500;
const WAIT_MAX_MS = 5000;

export class Live {
  /**
   * @param {{message: (message: import("./wire.js").Message) => void, opened: () => void, closed: (why: string) => void}} on
   */
  constructor(on) {
    this.on = on;
    this.id = 0;
    this.wait = WAIT_FIRST_MS;
    /** @type {WebSocket|null} */
    this.socket = null;
    this.isOpen = false;
    this.timer = 0;
    addEventListener("online", () => this.retry());
  }

  open() {
    clearTimeout(this.timer);
    const address = new URL("api/live", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    address.hash = "";
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    socket.onopen = () => {
      this.isOpen = true;
      this.wait = WAIT_FIRST_MS;
      this.on.opened();
    };
    socket.onmessage = (event) => {
      if (!(event.data instanceof ArrayBuffer)) return;
      try {
        this.on.message(decode(event.data));
      } catch (error) {
        socket.close(4000, "not understood");
        this.on.closed(error.message);
      }
    };
    socket.onclose = (event) => {
      if (this.socket !== socket) return;
      this.isOpen = false;
      this.socket = null;
      this.on.closed(event.reason);
      this.timer = setTimeout(() => this.open(), this.wait);
      this.wait = Math.min(WAIT_MAX_MS, this.wait * 2);
    };
  }

  /** Tries at once, as after a sign-in. */
  retry() {
    if (this.socket === null) this.open();
  }

  /**
   * Wishes for live traces; the answer is the id that comes back with them, or -1 while there is no connection.
   * @param {number[]} channels @param {number} span seconds @param {number} width columns
   */
  follow(channels, span, width) {
    if (this.socket === null || !this.isOpen) return -1;
    this.id = (this.id + 1) % 0x7fffffff;
    this.socket.send(JSON.stringify({ id: this.id, channels, span_ns: String(BigInt(Math.round(span * 1e6)) * 1000n), width }));
    return this.id;
  }
}
