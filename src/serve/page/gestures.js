// Pointer, wheel and touch over the plots: drag to zoom, Shift and drag or sideways wheel to pan, wheel and pinch to
// zoom about a place, click to put a cursor, double click to follow again. One finger pans, two zoom.

/** A press that moved less than this is a click. */
const CLICK_PX = 4;

/**
 * @param {HTMLElement} area what holds the panes
 * @param {import("./view.js").View} view
 * @param {import("./cursors.js").Cursors} cursors
 * @param {() => void} changed
 */
export function startGestures(area, view, cursors, changed) {
  /** @type {Map<number, {x: number, y: number}>} */
  const pointers = new Map();
  /** @type {{x: number, over: HTMLElement, pans: boolean, at: number, box: HTMLElement|null, moved: boolean, range: [number, number]}|null} */
  let press = null;
  /** @type {{distance: number, middle: number}|null} */
  let pinch = null;

  const overOf = (event) => /** @type {HTMLElement|null} */ (event.target.closest?.(".u-over") ?? null);
  const timeAt = (over, x, range = view.range()) => {
    const box = over.getBoundingClientRect();
    return range[0] + ((x - box.left) / box.width) * (range[1] - range[0]);
  };
  const secondsPerPixel = (over) => {
    const [from, to] = view.range();
    return (to - from) / Math.max(1, over.clientWidth);
  };

  area.addEventListener("pointerdown", (event) => {
    const over = overOf(event);
    if (over === null || (event.pointerType === "mouse" && event.button !== 0 && event.button !== 1)) return;
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    over.setPointerCapture(event.pointerId);
    if (pointers.size === 2) {
      press = null;
      const [a, b] = [...pointers.values()];
      pinch = { distance: Math.max(10, Math.abs(a.x - b.x)), middle: (a.x + b.x) / 2 };
      return;
    }
    const pans = event.pointerType === "touch" || event.shiftKey || event.button === 1;
    press = { x: event.clientX, over, pans, at: event.clientX, box: null, moved: false, range: view.range() };
  });

  area.addEventListener("pointermove", (event) => {
    const pointer = pointers.get(event.pointerId);
    if (pointer === undefined) return;
    pointer.x = event.clientX;
    pointer.y = event.clientY;
    const over = overOf(event) ?? press?.over;
    if (pinch !== null && pointers.size === 2 && over) {
      const [a, b] = [...pointers.values()];
      const distance = Math.max(10, Math.abs(a.x - b.x));
      const middle = (a.x + b.x) / 2;
      view.zoom(pinch.distance / distance, timeAt(over, middle));
      if (!view.following) view.pan(-(middle - pinch.middle) * secondsPerPixel(over));
      pinch = { distance, middle };
      changed();
    } else if (press !== null) {
      if (!press.moved && Math.abs(event.clientX - press.x) < CLICK_PX) return;
      press.moved = true;
      if (press.pans) {
        view.pan(-(event.clientX - press.at) * secondsPerPixel(press.over));
        press.at = event.clientX;
        changed();
      } else markBox(event.clientX);
    }
  });

  /** Shows what a drag would zoom to, in the pane that it began in. */
  function markBox(x) {
    if (press.box === null) {
      press.box = document.createElement("div");
      press.box.className = "zoombox";
      press.over.append(press.box);
    }
    const box = press.over.getBoundingClientRect();
    const left = Math.max(0, Math.min(x, press.x) - box.left);
    const right = Math.min(box.width, Math.max(x, press.x) - box.left);
    press.box.style.left = `${left}px`;
    press.box.style.width = `${Math.max(0, right - left)}px`;
  }

  function release(event, isDone) {
    if (!pointers.delete(event.pointerId)) return;
    pinch = null;
    if (press === null) return;
    const { x, over, pans, moved, box, range } = press;
    press = null;
    box?.remove();
    if (!isDone) return;
    if (!moved) {
      if (event.button === 0) {
        // The first click puts A, the second B, the third begins anew; with Shift only B moves.
        const isSecond = event.shiftKey || (cursors.a !== null && cursors.b === null);
        if (!isSecond) cursors.clear();
        cursors.put(isSecond ? "b" : "a", timeAt(over, x));
      }
    } else if (!pans) {
      // The axis may have moved on meanwhile: what was under the pointer when it was pressed counts.
      const times = [timeAt(over, x, range), timeAt(over, event.clientX, range)].sort((a, b) => a - b);
      view.show(Math.max(range[0], times[0]), Math.min(range[1], times[1]));
    }
    changed();
  }
  area.addEventListener("pointerup", (event) => release(event, true));
  area.addEventListener("pointercancel", (event) => release(event, false));

  area.addEventListener("wheel", (event) => {
    const over = overOf(event);
    if (over === null) return;
    event.preventDefault();
    const unit = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1;
    const sideways = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      view.pan(sideways * unit * secondsPerPixel(over));
    } else {
      view.zoom(Math.exp(Math.max(-1, Math.min(1, event.deltaY * unit * 0.002))), timeAt(over, event.clientX));
    }
    changed();
  }, { passive: false });

  area.addEventListener("dblclick", (event) => {
    if (overOf(event) === null) return;
    cursors.clear();
    view.follow();
    changed();
  });
}
