// Light and dark: as the system says, or as the switch says; and the colours that the canvas needs from the style sheet.

const KEY = "kymo-theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

/** How many colours channels have before they repeat. */
export const COLOURS = 8;

/** @type {Map<string, string>} */
let colours = new Map();

function chosen() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

/** Whether the page is dark now. */
export function isDark() {
  const choice = chosen();
  return choice === null ? dark.matches : choice === "dark";
}

/** Applies the choice, and calls back whenever colours change. @param {() => void} changed */
export function startTheme(changed) {
  const apply = () => {
    document.documentElement.dataset.theme = isDark() ? "dark" : "light";
    colours = new Map();
    changed();
  };
  dark.addEventListener("change", apply);
  apply();
  return () => {
    try {
      localStorage.setItem(KEY, isDark() ? "light" : "dark");
    } catch {
      // Without storage the switch would do nothing: follow the system.
    }
    apply();
  };
}

/** A colour of the style sheet, as `--name`. @param {string} name */
export function colour(name) {
  let found = colours.get(name);
  if (found === undefined) {
    found = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
    colours.set(name, found);
  }
  return found;
}
