// The dialogs: which channels a pane shows, a fixed scale, a new annotation, how long to silence, a spectrum's frame.
// Each is an HTML dialog: Escape closes it, the focus stays in it and goes back.

import { by, closable, el, setText } from "./dom.js";
import * as format from "./format.js";

/** @returns {HTMLDialogElement} */
const dialog = (id) => /** @type {HTMLDialogElement} */ (by(id));
const input = (id) => /** @type {HTMLInputElement} */ (by(id));

export function startDialogs() {
  for (const found of document.querySelectorAll("dialog")) closable(found);
}

/** Runs on submit; the dialog stays open with a word about it if that fails. */
function ask(id, submit) {
  const open = dialog(id);
  const form = /** @type {HTMLFormElement} */ (open.querySelector("form"));
  const said = /** @type {HTMLElement} */ (open.querySelector(".said"));
  setText(said, "");
  form.onsubmit = async (event) => {
    event.preventDefault();
    try {
      await submit();
      open.close();
    } catch (error) {
      setText(said, error.message);
    }
  };
  open.showModal();
}

/**
 * @param {{name: string, unit: string, source: string}[]} channels
 * @param {string[]} chosen @param {number} limit
 * @param {(names: string[]) => void} done
 */
export function chooseChannels(channels, chosen, limit, done) {
  const list = by("channel-list");
  const filter = input("channel-filter");
  list.replaceChildren();
  for (const channel of channels) {
    const box = el("input", { type: "checkbox", value: channel.name });
    box.checked = chosen.includes(channel.name);
    list.append(el("label", {}, box, el("span", {}, channel.name), el("span", { class: "unit" }, format.unitText(channel.unit))));
  }
  filter.value = "";
  filter.oninput = () => {
    const words = filter.value.toLowerCase().split(/\s+/);
    for (const label of list.children) {
      label.hidden = !words.every((word) => label.textContent.toLowerCase().includes(word));
    }
  };
  ask("channels-dialog", () => {
    const names = [...list.querySelectorAll("input:checked")].map((box) => box.value);
    if (names.length > limit) throw new Error(`A pane holds up to ${limit} channels, and ${names.length} are chosen.`);
    done(names);
  });
}

/** @param {[number, number]} bounds @param {boolean} isFixed @param {(low: number|null, high: number|null) => void} done */
export function chooseScale(bounds, isFixed, done) {
  input("scale-low").value = String(Number(bounds[0].toPrecision(5)));
  input("scale-high").value = String(Number(bounds[1].toPrecision(5)));
  const auto = input("scale-auto");
  auto.checked = false;
  by("scale-auto-label").hidden = !isFixed;
  ask("scale-dialog", () => {
    if (auto.checked) return done(null, null);
    const [low, high] = [Number(input("scale-low").value), Number(input("scale-high").value)];
    if (!(low < high)) throw new Error("The lower bound must be below the upper one.");
    return done(low, high);
  });
}

/** @param {number} time seconds @param {(text: string) => Promise<void>} send */
export function annotate(time, send) {
  setText(by("annotate-time"), format.clock(time, 3));
  const text = input("annotate-text");
  text.value = "";
  ask("annotate-dialog", async () => {
    if (text.value.trim() === "") throw new Error("An annotation needs a text.");
    await send(text.value.trim());
  });
  text.focus();
}

/** @param {string} rule @param {(seconds: number) => Promise<void>} send */
export function silence(rule, send) {
  setText(by("silence-rule"), rule);
  ask("silence-dialog", () => send(Number(input("silence-for").value)));
}

/** A question with one line of text, such as a token. @param {(text: string) => Promise<void>} send */
export function askToken(send) {
  if (dialog("token-dialog").open) return;
  ask("token-dialog", () => send(input("token").value));
}
