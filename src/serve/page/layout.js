// The layout as a link: panes, channels, scales and what the axis shows, in the part of the URL behind `#`.
// It never leaves the browser, and whoever opens the link sees the same. What cannot be read is left out.

/**
 * @typedef {{channels: string[], low: number|null, high: number|null}} PaneLayout
 * @typedef {{panes: PaneLayout[], span: number|"whole", from: number|null, to: number|null}} Layout
 */

export const PANES_MAX = 12;
export const CHANNELS_MAX = 16;

/** @param {Layout} layout @returns {string} without the `#` */
export function toHash(layout) {
  const parts = layout.panes.map((pane) => {
    const names = pane.channels.map(encodeURIComponent).join("+");
    const fixed = pane.low !== null && pane.high !== null ? `@${pane.low}:${pane.high}` : "";
    return `p=${names}${fixed}`;
  });
  if (layout.from !== null && layout.to !== null) {
    parts.push(`from=${layout.from.toFixed(6)}`, `to=${layout.to.toFixed(6)}`);
  } else {
    parts.push(`span=${layout.span === "whole" ? "whole" : Number(layout.span.toPrecision(4))}`);
  }
  return parts.join("&");
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}

/** @param {string} hash @returns {Layout|null} null if it names no pane */
export function fromHash(hash) {
  /** @type {Layout} */
  const layout = { panes: [], span: 10, from: null, to: null };
  for (const part of hash.replace(/^#/, "").split("&")) {
    const cut = part.indexOf("=");
    if (cut < 0) continue;
    const key = part.slice(0, cut);
    const text = part.slice(cut + 1);
    const number = Number(text);
    if (key === "p" && layout.panes.length < PANES_MAX) {
      const [names, scale] = text.split("@");
      const channels = names.split("+").map(decoded).filter((name) => name !== "").slice(0, CHANNELS_MAX);
      const [low, high] = (scale ?? "").split(":").map((bound) => (bound === "" ? NaN : Number(bound)));
      const isFixed = Number.isFinite(low) && Number.isFinite(high) && low < high;
      layout.panes.push({ channels, low: isFixed ? low : null, high: isFixed ? high : null });
    } else if (key === "span") {
      if (text === "whole") layout.span = "whole";
      else if (number > 0 && Number.isFinite(number)) layout.span = number;
    } else if (key === "from" && Number.isFinite(number)) layout.from = number;
    else if (key === "to" && Number.isFinite(number)) layout.to = number;
  }
  if (!(layout.from !== null && layout.to !== null && layout.from < layout.to)) {
    layout.from = null;
    layout.to = null;
  }
  return layout.panes.length > 0 ? layout : null;
}

/**
 * What is shown where nobody has chosen yet: a pane for each unit of each source, the first few.
 * @param {{name: string, source: string, unit: string}[]} channels
 * @returns {Layout}
 */
export function firstLayout(channels) {
  /** @type {Map<string, string[]>} */
  const groups = new Map();
  for (const channel of channels) {
    const key = `${channel.source} ${channel.unit}`;
    const names = groups.get(key) ?? [];
    if (names.length < 6) names.push(channel.name);
    groups.set(key, names);
  }
  const panes = [...groups.values()].slice(0, 5).map((names) => ({ channels: names, low: null, high: null }));
  return { panes, span: 10, from: null, to: null };
}
