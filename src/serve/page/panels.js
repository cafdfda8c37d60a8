// The panels beside the traces: alerts, sources, the path of a sample with its ledger, sinks, and what happened.
// They show a normalised state (`model.js`) and say what was pressed; they ask the server nothing themselves.

import { by, el, keyed, setAttribute, setText } from "./dom.js";
import * as format from "./format.js";

/** @typedef {import("./model.js").State} State */

/** A word with a sign before it, so that colour is not all that tells. */
const SIGNS = { good: "●", warn: "▲", bad: "■", idle: "○" };

/** What a state of a source means. */
const STATES = { connected: "good", silent: "warn", finished: "idle", computed: "idle", disconnected: "bad", failed: "bad" };

function status(element, kind, text) {
  setAttribute(element, "class", `status ${kind}`);
  setText(element, `${SIGNS[kind]} ${text}`);
}

/** @param {State} state */
export function drawSources(state) {
  keyed(by("sources"), state.sources, (source) => source.name, (source) => el("tr", {},
    el("th", { scope: "row" }, el("span", { class: "who" }, source.name), el("span", { class: "status" })),
    el("td", { class: "number rate" }), el("td", { class: "number queue" }), el("td", { class: "number" }), el("td", { class: "number" }),
    el("td", { class: "number" })), (row, source) => {
    const [head, rate, queue, dropped, corrupt, drift] = row.children;
    const isUp = source.state !== "disconnected" && source.state !== "failed";
    status(head.children[1], STATES[source.state] ?? "bad", source.state);
    row.title = source.error ?? "";
    row.classList.toggle("down", !isUp);
    const share = source.rate !== null && source.nominal ? source.rate / source.nominal : null;
    setText(rate, format.rate(source.rate));
    rate.title = source.nominal ? `nominal ${format.rate(source.nominal)}${share === null ? "" : `, ${(share * 100).toFixed(1)} %`}` : "no nominal rate";
    rate.classList.toggle("warn", share !== null && (share < 0.95 || share > 1.05));
    setText(queue, `${format.count(source.queued)}${source.capacity ? `/${format.count(source.capacity)}` : ""}`);
    setText(dropped, format.count(source.dropped));
    dropped.title = source.droppedBy.map(([reason, n]) => `${reason}: ${n}`).join(", ");
    dropped.classList.toggle("bad", source.dropped > 0);
    setText(corrupt, format.count(source.corrupt));
    corrupt.title = `${source.skipped} bytes skipped, ${source.lost} samples lost by the device, ${source.reconnects} reconnects`;
    corrupt.classList.toggle("warn", source.corrupt > 0);
    setText(drift, source.drift === null ? "–" : `${source.drift.toFixed(1).replace("-", "−")}`);
  });
  const failing = state.sources.filter((source) => source.error !== null && source.state !== "connected");
  keyed(by("source-errors"), failing, (source) => source.name, () => el("li"), (item, source) => {
    setText(item, `${source.name}: ${source.error}`);
  });
}

/**
 * @param {State} state @param {number} now seconds @param {string} role
 * @param {{acknowledge: (rule: string) => void, silence: (rule: string) => void, unsilence: (rule: string) => void}} actions
 */
export function drawAlerts(state, now, role, actions) {
  const order = { firing: 0, subsided: 1, pending: 2, quiet: 4 };
  const place = (alert) => (alert.silenced ? 3 : order[alert.state] ?? 4);
  const alerts = [...state.alerts].sort((a, b) => place(a) - place(b) || a.rule.localeCompare(b.rule));
  const mayAct = role !== "reader";
  keyed(by("alerts"), alerts, (alert) => alert.rule, (alert) => el("li", { "data-rule": alert.rule },
    el("div", { class: "line" }, el("span", { class: "status" }), el("span", { class: "who" }, alert.rule), el("span", { class: "since number" })),
    el("div", { class: "detail" }),
    el("div", { class: "actions" },
      el("button", { type: "button", "data-act": "acknowledge", onclick: () => actions.acknowledge(alert.rule) }, "Acknowledge"),
      el("button", { type: "button", "data-act": "silence", onclick: () => actions.silence(alert.rule) }, "Silence…"),
      el("button", { type: "button", "data-act": "unsilence", onclick: () => actions.unsilence(alert.rule) }, "Unsilence"))),
  (item, alert) => {
    const [line, detail, buttons] = item.children;
    const isAlert = alert.state === "firing" || alert.state === "subsided";
    const kind = alert.silenced ? "idle" : isAlert ? (alert.acknowledged ? "warn" : "bad") : alert.state === "pending" ? "warn" : "good";
    const words = [alert.state, isAlert && alert.acknowledged ? "acknowledged" : "", alert.silenced ? "silenced" : ""];
    status(line.children[0], kind, words.filter((word) => word !== "").join(", "));
    setAttribute(item, "class", isAlert && !alert.acknowledged && !alert.silenced ? `alert firing ${alert.severity}` : "alert");
    setText(line.children[2], alert.since === null || !isAlert ? "" : format.duration(Math.max(0, Math.floor(now - alert.since))));
    setText(detail, isAlert || alert.state === "pending" ? alert.message ?? alert.channel ?? "" : alert.channel ?? "");
    buttons.children[0].hidden = !mayAct || !isAlert || alert.acknowledged;
    buttons.children[1].hidden = !mayAct || alert.silenced;
    buttons.children[2].hidden = !mayAct || !alert.silenced;
  });
  by("no-alerts").hidden = alerts.length > 0;
}

/** The path and its ledger. @param {State} state */
export function drawPath(state) {
  const longest = Math.max(1, ...state.latencies.map((stage) => stage.max ?? 0));
  const width = (us) => `${us === null || us <= 0 ? 0 : Math.max(2, (Math.log10(1 + us) / Math.log10(1 + longest)) * 100)}%`;
  keyed(by("latencies"), state.latencies, (stage) => stage.name, (stage) => el("tr", {},
    el("th", { scope: "row" }, stage.label, el("span", { class: "bar", "aria-hidden": "true" }, el("i", { class: "p99" }), el("i", { class: "p50" }))),
    el("td", { class: "number" }), el("td", { class: "number" }), el("td", { class: "number" })), (row, stage) => {
    const [head, p50, p99, max] = row.children;
    head.lastElementChild.children[0].style.width = width(stage.p99);
    head.lastElementChild.children[1].style.width = width(stage.p50);
    setText(p50, format.micros(stage.p50));
    setText(p99, format.micros(stage.p99));
    setText(max, format.micros(stage.max));
  });
  const ledger = state.ledger;
  setText(by("acquired"), format.count(ledger.acquired));
  setText(by("journaled"), format.count(ledger.journaled));
  setText(by("dropped"), format.count(ledger.dropped));
  setText(by("inflight"), format.count(ledger.inFlight));
  by("dropped").classList.toggle("bad", ledger.dropped > 0);
  status(by("balance"), ledger.balanced ? "good" : "bad", ledger.balanced ? "balanced" : "out of balance");
}

/** @param {State} state */
export function drawSinks(state) {
  keyed(by("sinks"), state.sinks, (sink) => sink.name, (sink) => el("tr", {},
    el("th", { scope: "row" }, el("span", { class: "who" }, sink.name), el("span", { class: "status" })),
    el("td", { class: "number" }), el("td", { class: "number" }), el("td", { class: "number" })), (row, sink) => {
    const [head, lag, written, rejected] = row.children;
    const isBad = sink.trouble !== null;
    status(head.children[1], isBad ? "bad" : sink.lag !== null && sink.lag > 10 ? "warn" : "good", sink.state);
    row.title = [sink.to, sink.trouble ?? ""].join(" ");
    setText(lag, sink.lag === null ? `${format.count(sink.behind)}` : format.duration(sink.lag));
    setText(written, format.count(sink.written));
    setText(rejected, format.count(sink.rejected));
    rejected.classList.toggle("bad", (sink.rejected ?? 0) > 0);
  });
  by("sinks-panel").hidden = state.sinks.length === 0;
}

/** @param {import("./marks.js").Mark[]} marks newest first @param {(mark: import("./marks.js").Mark) => void} go */
export function drawHistory(marks, go) {
  const shown = marks.slice(0, 60);
  keyed(by("history"), shown, (mark) => mark.key, (mark) => el("li", {},
    el("button", { type: "button", class: `quiet entry ${mark.kind}`, onclick: () => go(mark) },
      el("time", {}, format.clock(mark.from, 1)), el("span", { class: "kind" }, mark.kind === "note" ? "note" : mark.kind), el("span", { class: "text" }))),
  (item, mark) => {
    const length = mark.to !== null && mark.to > mark.from ? ` (${format.duration(mark.to - mark.from)})` : "";
    setText(item.firstElementChild.children[2], `${mark.text}${length}`);
    setAttribute(item.firstElementChild, "title", `${mark.text}${length}: show it`);
  });
  by("no-history").hidden = shown.length > 0;
}
