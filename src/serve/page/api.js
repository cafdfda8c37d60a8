// Questions to the server and orders, by its JSON API and its one binary answer. The only file that knows its routes.

import { decode, digits } from "./wire.js";

export class Refused extends Error {
  /** @param {number} status @param {string} text */
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/** How long an answer may take: longer than the server itself allows a question. */
const PATIENCE_MS = 20_000;

async function request(path, options = {}) {
  let answer;
  const timeout = AbortSignal.timeout(PATIENCE_MS);
  const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout;
  try {
    answer = await fetch(path, { credentials: "same-origin", cache: "no-store", ...options, signal });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Refused(0, error.name === "TimeoutError" ? "no answer came in time" : "the run cannot be reached");
  }
  if (answer.ok) return answer;
  let text = `${answer.status} ${answer.statusText}`;
  try {
    text = (await answer.json()).error ?? text;
  } catch {
    // Not JSON: the status says enough.
  }
  throw new Refused(answer.status, text);
}

const get = async (path) => (await request(path)).json();
const post = async (path, body) => (await request(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) })).json();

export const channels = () => get("api/channels");
export const state = () => get("api/state");
export const events = (from, to, limit) => get(`api/events?from_ns=${digits(from)}&to_ns=${digits(to)}&limit=${limit}`);
export const gaps = (channel, from, to) => get(`api/gaps?channel=${encodeURIComponent(channel)}&from_ns=${digits(from)}&to_ns=${digits(to)}`);
export const spectrum = (channel, from, to) => get(`api/spectrum?channel=${channel}&from_ns=${digits(from)}&to_ns=${digits(to)}`);

/** @param {number[]} channels @returns {Promise<import("./wire.js").Message>} */
export async function envelope(channels, from, to, width, signal) {
  const path = `api/envelope?channels=${channels.join(",")}&from_ns=${digits(from)}&to_ns=${digits(to)}&width=${width}`;
  return decode(await (await request(path, { signal })).arrayBuffer());
}

export const acknowledge = (rule) => post("api/alerts/acknowledge", { rule });
export const silence = (rule, seconds) => post("api/alerts/silence", { rule, for_s: seconds });
export const unsilence = (rule) => post("api/alerts/unsilence", { rule });
export const note = (text, time) => post("api/notes", { text, time_ns: digits(time) });
export const login = (token) => post("api/login", { token });
