// The spectrum of a channel over what the axis shows, asked for again each second while it is open.

import uPlot from "./vendor/uPlot.esm.js";
import { by, setText } from "./dom.js";
import { colour } from "./theme.js";
import * as format from "./format.js";

/** A spectrum of more than this many seconds tells no more about a signal, and costs the server more. */
const SPAN_MAX = 60;
const RENEW_MS = 1000;

export class Spectrum {
  /**
   * @param {import("./view.js").View} view
   * @param {(channel: string, from: number, to: number) => Promise<import("./model.js").SpectrumAnswer>} ask
   */
  constructor(view, ask) {
    this.view = view;
    this.ask = ask;
    this.dialog = /** @type {HTMLDialogElement} */ (by("spectrum-dialog"));
    this.name = "";
    this.timer = 0;
    /** @type {uPlot|null} */
    this.plot = null;
    this.isLogarithmic = true;
    this.dialog.addEventListener("close", () => this.stop());
    by("spectrum-scale").addEventListener("click", () => {
      this.isLogarithmic = !this.isLogarithmic;
      this.plot?.destroy();
      this.plot = null;
      this.renew();
    });
  }

  /** @param {string} name */
  open(name) {
    this.name = name;
    setText(by("spectrum-title"), `Spectrum of ${name}`);
    setText(by("spectrum-peak"), "");
    if (!this.dialog.open) this.dialog.showModal();
    this.renew();
  }

  stop() {
    clearTimeout(this.timer);
    this.plot?.destroy();
    this.plot = null;
    this.name = "";
  }

  async renew() {
    clearTimeout(this.timer);
    const name = this.name;
    if (name === "") return;
    const [begin, end] = this.view.range();
    const to = Math.min(end, this.view.now() - 0.3);
    const from = Math.max(begin, to - SPAN_MAX);
    try {
      const answer = await this.ask(name, from, to);
      if (this.name !== name) return;
      this.draw(answer);
    } catch (error) {
      if (this.name === name) setText(by("spectrum-peak"), error.message);
    }
    if (this.name === name) this.timer = setTimeout(() => this.renew(), RENEW_MS);
  }

  /** @param {import("./model.js").SpectrumAnswer} answer */
  draw(answer) {
    const { frequencies, amplitudes, unit } = answer;
    let peak = -1;
    for (let i = 1; i < frequencies.length; i += 1) if (peak < 0 || amplitudes[i] > amplitudes[peak]) peak = i;
    const what = by("spectrum-peak");
    if (peak >= 0) {
      setText(what, `highest at ${format.value(frequencies[peak], 5)} Hz: ${format.value(amplitudes[peak], 4)} ${format.unitText(unit)} · resolution ${format.value(answer.step, 3)} Hz`);
      what.dataset.hz = String(frequencies[peak]);
    } else setText(what, "no samples here");
    // A logarithmic axis has no zero.
    const floor = Math.max(1e-300, (amplitudes[peak] ?? 1) * 1e-9);
    const shown = this.isLogarithmic ? amplitudes.map((a) => Math.max(a, floor)) : amplitudes;
    const room = by("spectrum-plot");
    if (this.plot === null) {
      const axis = { stroke: colour("ink-2"), font: `11px ${colour("font")}`, grid: { stroke: colour("grid"), width: 1 }, ticks: { stroke: colour("grid"), width: 1, size: 4 } };
      this.plot = new uPlot({
        width: room.clientWidth, height: room.clientHeight, legend: { show: false }, padding: [8, 12, 0, 0],
        cursor: { y: false, points: { show: false }, drag: { x: true, y: false } },
        scales: { x: { time: false }, y: this.isLogarithmic ? { distr: 3 } : {} },
        axes: [{ ...axis, size: 40, label: "frequency, Hz", labelSize: 14, labelFont: axis.font, labelGap: 0 }, { ...axis, size: 64, values: (_, splits) => splits.map((v) => (v === null ? "" : format.value(v, 2))) }],
        series: [{}, { stroke: colour("c0"), width: 1.25, points: { show: false } }],
      }, [frequencies, shown], room);
    } else this.plot.setData([frequencies, shown], this.plot.scales.x.min === this.plot.data[0][0]);
  }
}
