// What the server says, in the page's words: times in seconds, absent things as null. The only file that knows the
// names of the server's fields.

/**
 * @typedef {{number: number, name: string, source: string, unit: string, rate: number|null}} Channel
 * @typedef {{run: string, version: string, host: string, started: number, role: string, channels: Channel[]}} About
 * @typedef {{name: string, state: string, hasDevice: boolean, rate: number|null, nominal: number|null, queued: number, capacity: number|null, dropped: number,
 *   droppedBy: [string, number][], corrupt: number, skipped: number, lost: number, reconnects: number, drift: number|null, error: string|null}} Source
 * @typedef {{rule: string, severity: string, state: string, since: number|null, acknowledged: boolean, silenced: boolean,
 *   channel: string|null, message: string|null}} Alert
 * @typedef {{name: string, label: string, p50: number|null, p99: number|null, max: number|null}} Latency
 * @typedef {{name: string, state: string, to: string, lag: number|null, behind: number, written: number, rejected: number, trouble: string|null}} Sink
 * @typedef {{run: string, now: number, stopping: boolean, sources: Source[], alerts: Alert[], latencies: Latency[],
 *   ledger: {acquired: number, journaled: number, dropped: number, inFlight: number, balanced: boolean}, sinks: Sink[]}} State
 * @typedef {{frequencies: number[], amplitudes: number[], unit: string, step: number, peakHz: number, peak: number, samples: number}} SpectrumAnswer
 */

/** Digits of nanoseconds as seconds. @param {string|number|null|undefined} ns */
export function time(ns) {
  return ns === null || ns === undefined ? null : Number(BigInt(ns) / 1000n) / 1e6;
}

/** @returns {About} */
export function about(said) {
  return {
    run: said.run, version: said.version, host: said.host ?? "", started: time(said.started_ns) ?? 0, role: said.role,
    channels: said.channels.map((c) => ({ number: c.number, name: c.name, source: c.source, unit: c.unit ?? "", rate: c.rate_hz ?? null })),
  };
}

const STAGES = [["read_to_stage", "stage"], ["read_to_alert", "alert"], ["read_to_journal", "journal"]];

/** @returns {State} */
export function state(said) {
  return {
    run: said.run, now: time(said.now_ns) ?? 0, stopping: said.stopping === true,
    sources: said.sources.map((s) => ({
      name: s.name, state: s.state, hasDevice: s.state !== "computed", rate: s.rate_hz ?? null, nominal: s.nominal_hz ?? null,
      queued: s.waiting, capacity: s.capacity ?? null, dropped: s.dropped,
      droppedBy: Object.entries(s.dropped_by ?? {}), corrupt: s.corrupt_frames, skipped: s.skipped_bytes, lost: s.lost_by_device,
      reconnects: s.reconnects, drift: s.clock_ppm ?? null, error: s.last_error ?? null,
    })),
    alerts: said.alerts.map((a) => ({
      rule: a.rule, severity: a.severity, state: a.state, since: time(a.since_ns), acknowledged: a.acknowledged === true,
      silenced: a.silenced_until_ns !== null && a.silenced_until_ns !== undefined, channel: a.channel ?? null, message: a.message ?? null,
    })),
    latencies: STAGES.filter(([name]) => said.latency_us[name] !== undefined).map(([name, label]) => {
      const found = said.latency_us[name];
      const known = found.count > 0;
      return { name, label, p50: known ? found.p50 : null, p99: known ? found.p99 : null, max: known ? found.max : null };
    }),
    ledger: {
      acquired: said.ledger.acquired, journaled: said.ledger.journaled, dropped: said.ledger.dropped,
      inFlight: said.ledger.in_flight, balanced: said.ledger.balanced,
    },
    sinks: said.sinks.map((s) => ({
      name: s.name, state: s.state, to: s.to ?? "", lag: s.lag_s ?? null, behind: s.behind, written: s.written, rejected: s.rejected, trouble: s.trouble ?? null,
    })),
  };
}

/** @returns {SpectrumAnswer} */
export function spectrum(said) {
  return {
    frequencies: said.amplitude.map((_, i) => i * said.step_hz), amplitudes: said.amplitude, unit: said.unit ?? "", step: said.step_hz,
    peakHz: said.peak_hz, peak: said.peak, samples: said.samples,
  };
}
