// The page, put together: who tells whom what. Everything else in this folder knows only its own part.

import * as api from "./api.js";
import * as model from "./model.js";
import * as format from "./format.js";
import * as dialogs from "./dialogs.js";
import { by, setAttribute, setText } from "./dom.js";
import { startTheme } from "./theme.js";
import { View } from "./view.js";
import { Cursors } from "./cursors.js";
import { Live } from "./live.js";
import { Store } from "./store.js";
import { Panes } from "./panes.js";
import { Happenings } from "./happenings.js";
import { Spectrum } from "./spectrum.js";
import { drawStrip } from "./marks.js";
import { drawAlerts, drawHistory, drawPath, drawSinks, drawSources } from "./panels.js";
import { firstLayout, fromHash, toHash } from "./layout.js";
import { startGestures } from "./gestures.js";
import { startKeys } from "./keys.js";

/** Thirty pictures a second; a little less than their distance, since the screen's own clock rounds up. */
const PICTURE_MS = 30;
const STATE_MS = 500;
const LEGEND_MS = 150;
const LINK_MS = 250;
const HAPPENINGS_MS = 1500;

const view = new View();
const cursors = new Cursors(() => { store.dirty = true; });
/** @type {import("./model.js").About|null} */
let about = null;
/** @type {import("./model.js").State|null} */
let state = null;
/** Whether the run answers. */
let isReached = false;
/** Our own change of the hash must not be taken for the user's. */
let ownHash = "";
let toastTimer = 0;
let linkTimer = 0;

const live = new Live({
  opened: () => { store.reconnected(); drawConnection(); },
  message: (message) => store.take(message),
  closed: () => drawConnection(),
});
const store = new Store(view, live, api.envelope, toast);
const happenings = new Happenings(api.events, api.gaps);
const spectrum = new Spectrum(view, async (name, from, to) => {
  const channel = panes.channels.get(name);
  if (channel === undefined) throw new Error(`There is no channel ${name} in this run.`);
  return model.spectrum(await api.spectrum(channel.number, from, to));
});
const panes = new Panes({ store, view, cursors, marks: () => happenings.marks, spectrum: (name) => spectrum.open(name), changed: () => changed() });

/** Says something that passes. */
function toast(text) {
  const place = by("toast");
  setText(place, text);
  place.classList.add("shown");
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => place.classList.remove("shown"), 5000);
}

/** What is shown is another thing: the next picture shows it, and the link says it. */
function changed() {
  store.dirty = true;
  setAttribute(by("follow"), "aria-pressed", String(view.following));
  setText(by("follow"), view.following ? "Pause" : "Follow");
  for (const button of document.querySelectorAll("[data-span]")) {
    const span = button.getAttribute("data-span");
    setAttribute(button, "aria-pressed", String(span === "whole" ? view.whole : !view.whole && Math.abs(Number(span) - view.span) < 1e-6));
  }
  linkTimer ||= setTimeout(writeLink, LINK_MS);
}

/** Puts what is shown into the link; not with each step of a gesture, which browsers do not suffer. */
function writeLink() {
  clearTimeout(linkTimer);
  linkTimer = 0;
  if (about === null) return;
  const [from, to] = view.range();
  ownHash = toHash({ panes: panes.layouts(), span: view.whole ? "whole" : view.span, from: view.following ? null : from, to: view.following ? null : to });
  history.replaceState(null, "", `#${ownHash}`);
}

/** Takes over what a link says, or what suits the run. */
function applyHash() {
  if (about === null) return;
  const layout = fromHash(location.hash) ?? firstLayout(about.channels);
  if (layout.from !== null && layout.to !== null) view.show(layout.from, layout.to);
  else if (layout.span === "whole") view.showWhole();
  else {
    view.follow();
    view.setSpan(layout.span);
  }
  panes.show(layout.panes);
}

function drawConnection() {
  const banner = by("banner");
  const isEnded = state !== null && state.stopping;
  const word = isEnded ? "stopped" : !isReached ? (state === null ? "connecting" : "not reached") : live.isOpen ? "recording" : "no live data";
  const kind = isEnded ? "idle" : isReached && live.isOpen ? "good" : state === null ? "idle" : "bad";
  const place = by("run-state");
  setAttribute(place, "class", `status ${kind}`);
  setText(place, `${{ good: "●", bad: "■", idle: "○" }[kind]} ${word}`);
  const text = isEnded ? "The run is stopped: what is shown is what was recorded last."
    : state !== null && !isReached ? "The run cannot be reached: it has ended, or the connection is lost. Trying again."
      : isReached && !live.isOpen && state !== null ? "Live traces are interrupted. Connecting again." : "";
  banner.hidden = text === "";
  banner.classList.toggle("calm", isEnded);
  setText(banner, text);
}

function drawState() {
  if (state === null || about === null) return;
  const elapsed = state.now - about.started;
  setText(by("run-about"), `${about.host} · run ${about.run} · ${format.duration(Math.floor(elapsed))} · Kymo ${about.version}${about.role === "reader" ? " · read only" : ""}`);
  drawAlerts(state, state.now, about.role, actions);
  drawSources(state);
  drawPath(state);
  drawSinks(state);
  by("annotate").hidden = about.role === "reader";
  const firing = state.alerts.filter((alert) => alert.state === "firing" && !alert.silenced).length;
  document.title = firing > 0 ? `(${firing}) Kymo` : "Kymo";
}

const order = (does) => async (...details) => {
  try {
    await does(...details);
    await renewState();
  } catch (error) {
    toast(error.message);
  }
};
const actions = {
  acknowledge: order(api.acknowledge),
  silence: (rule) => dialogs.silence(rule, async (seconds) => { await api.silence(rule, seconds); await renewState(); }),
  unsilence: order(api.unsilence),
};

async function loadAbout() {
  about = model.about(await api.channels());
  view.start = about.started;
  panes.channels = new Map(about.channels.map((channel) => [channel.name, channel]));
}

async function renewState() {
  try {
    const before = about?.run;
    const fresh = model.state(await api.state());
    view.heard(fresh.now);
    if (about === null || before !== fresh.run) {
      // The first answer, or another run behind the same address: everything known is of the old one.
      await loadAbout();
      happenings.forget();
      if (before === undefined) applyHash();
      else panes.show(panes.layouts());
      live.retry();
    }
    state = fresh;
    view.last = fresh.stopping ? fresh.now : null;
    isReached = true;
  } catch (error) {
    isReached = false;
    // Nothing comes any more: what came last stays in sight.
    if (state !== null && error.status === 0) view.last = state.now;
    if (error.status === 401) dialogs.askToken(async (token) => { await api.login(token); await renewState(); });
    else if (error.status > 0) toast(error.message);
  }
  drawConnection();
  drawState();
}

/** Does something again and again, each time so long after it was done. */
async function repeat(does, pause) {
  for (;;) {
    if (!document.hidden || pause === STATE_MS) {
      try {
        await does();
      } catch (error) {
        if (isReached && error.status !== 401) toast(error.message);
      }
    }
    await new Promise((resume) => setTimeout(resume, isReached ? pause : Math.max(pause, 1000)));
  }
}

async function renewHappenings() {
  if (about === null || !isReached) return;
  const [from, to] = view.range();
  await happenings.tend(from, to, about.started, view.now(), panes.sources());
  drawHistory([...happenings.marks].reverse(), goTo);
  store.dirty = true;
}

/** Shows a mark in the middle of the axis. @param {import("./marks.js").Mark} mark */
function goTo(mark) {
  const [from, to] = view.range();
  const span = Math.min(to - from, 600);
  view.show(mark.from - span / 2, mark.from + span / 2);
  changed();
}

function annotate() {
  if (about === null || about.role === "reader") return;
  const time = cursors.hovered ?? cursors.b ?? cursors.a ?? view.now();
  dialogs.annotate(time, async (text) => {
    await api.note(text, time);
    toast("Written down.");
    await renewHappenings();
  });
}

async function share() {
  writeLink();
  try {
    await navigator.clipboard.writeText(location.href);
    toast("The link to this layout is copied.");
  } catch {
    toast("The link to this layout is in the address bar.");
  }
}

function toggleFollow() {
  if (view.following) view.pause();
  else view.follow();
  changed();
}

function setSpan(span) {
  if (span === "whole") view.showWhole();
  else view.setSpan(Number(span));
  changed();
}

const move = (does) => () => { does(); changed(); };
const width = () => { const [from, to] = view.range(); return to - from; };
const middle = () => { const [from, to] = view.range(); return cursors.hovered ?? (from + to) / 2; };

function start() {
  dialogs.startDialogs();
  const toggleTheme = startTheme(() => { if (panes.panes.length > 0) panes.rebuild(); });
  const help = /** @type {HTMLDialogElement} */ (by("help-dialog"));
  startKeys([
    { keys: [" "], shown: "Space", what: "pause, or follow the time", does: toggleFollow },
    { keys: ["ArrowLeft"], shown: "←", what: "back by a quarter", does: move(() => view.pan(-width() / 4)) },
    { keys: ["ArrowRight"], shown: "→", what: "on by a quarter", does: move(() => view.pan(width() / 4)) },
    { keys: ["+", "=", "ArrowUp"], shown: "+ ↑", what: "zoom in", does: move(() => view.zoom(0.5, middle())) },
    { keys: ["-", "ArrowDown"], shown: "- ↓", what: "zoom out", does: move(() => view.zoom(2, middle())) },
    ...[[1, "1 s"], [10, "10 s"], [60, "1 min"], [600, "10 min"], [3600, "1 h"]].map(([span, what], i) => (
      { keys: [String(i + 1)], shown: String(i + 1), what: `show ${what}`, does: () => setSpan(span) })),
    { keys: ["0", "w"], shown: "0 W", what: "the whole run", does: () => setSpan("whole") },
    { keys: ["a"], shown: "A", what: "cursor A at the crosshair", does: () => cursors.put("a", middle()) },
    { keys: ["b"], shown: "B", what: "cursor B at the crosshair", does: () => cursors.put("b", middle()) },
    { keys: ["x", "Escape"], shown: "X", what: "take cursors away", does: () => cursors.clear() },
    { keys: ["c"], shown: "C", what: "channels of the pane", does: () => { const pane = panes.current(); if (pane) panes.choose(pane); } },
    { keys: ["f"], shown: "F", what: "fix the scale of the pane", does: () => { const pane = panes.current(); if (pane) panes.scale(pane); } },
    { keys: ["s"], shown: "S", what: "spectrum of the pane's first channel", does: () => { const name = panes.current()?.channels[0]; if (name) spectrum.open(name); } },
    { keys: ["p"], shown: "P", what: "add a pane", does: () => panes.add() },
    { keys: ["n"], shown: "N", what: "annotate", does: annotate },
    { keys: ["l"], shown: "L", what: "copy a link to this layout", does: share },
    { keys: ["t"], shown: "T", what: "light or dark", does: toggleTheme },
    { keys: ["?"], shown: "?", what: "this help", does: () => help.showModal() },
  ], by("help-list"));
  for (const button of document.querySelectorAll("[data-span]")) button.addEventListener("click", () => setSpan(button.getAttribute("data-span")));
  by("follow").addEventListener("click", toggleFollow);
  by("annotate").addEventListener("click", annotate);
  by("add-pane").addEventListener("click", () => panes.add());
  by("empty-add").addEventListener("click", () => panes.add());
  by("share").addEventListener("click", share);
  by("theme").addEventListener("click", toggleTheme);
  by("help").addEventListener("click", () => help.showModal());
  by("panes").addEventListener("pointerleave", () => cursors.hover(null));
  startGestures(by("panes"), view, cursors, changed);
  // The part behind `#` is the layout's: the link that skips to the panels must not change it.
  by("skip").addEventListener("click", (event) => { event.preventDefault(); by("panels").focus(); });
  addEventListener("hashchange", () => { if (location.hash !== `#${ownHash}`) applyHash(); });
  live.open();
  repeat(renewState, STATE_MS);
  repeat(renewHappenings, HAPPENINGS_MS);
  requestAnimationFrame(picture);
}

let lastPicture = 0;
let lastLegend = 0;

function picture(now) {
  requestAnimationFrame(picture);
  if (now - lastPicture < PICTURE_MS) return;
  store.tend(now);
  if (!view.following && !store.dirty) return;
  lastPicture = now;
  store.dirty = false;
  const [from, to] = view.range();
  panes.draw();
  drawStrip(by("strip"), happenings.marks, from, to, goTo);
  // For programs that look at the page.
  Object.assign(by("traces").dataset, { from: from.toFixed(6), to: to.toFixed(6) });
  setAttribute(by("traces"), "aria-busy", String(store.isBusy(from, to)));
  setText(by("range-from"), format.clock(from, format.decimalsFor(to - from) > 3 ? 3 : 0));
  setText(by("range-to"), `${format.duration(Number((to - from).toPrecision(3)))} to ${format.clock(to, 0)}`);
  if (now - lastLegend < LEGEND_MS && view.following && cursors.hovered === null) return;
  lastLegend = now;
  setText(by("cursor-text"), cursors.text(to - from));
  panes.drawLegends();
}

start();
