// The keyboard: one table of shortcuts, which the help shows too. Not while something is typed or a dialog is open.

import { el } from "./dom.js";

/** @typedef {{keys: string[], shown: string, what: string, does: () => void}} Shortcut */

/** @param {Shortcut[]} shortcuts @param {HTMLElement} list where the help shows them */
export function startKeys(shortcuts, list) {
  for (const { shown, what } of shortcuts) {
    list.append(el("dt", {}, ...shown.split(" ").map((key) => el("kbd", {}, key))), el("dd", {}, what));
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = /** @type {HTMLElement} */ (event.target);
    if (target.closest("input, textarea, select, dialog[open]") !== null || document.querySelector("dialog[open]") !== null) return;
    // Space and Enter press a button that has the focus.
    if (target.closest("button, a, summary") !== null && (event.key === " " || event.key === "Enter")) return;
    const found = shortcuts.find(({ keys }) => keys.includes(event.key));
    if (found === undefined) return;
    event.preventDefault();
    found.does();
  });
}
