//! Spectra beside numpy's: the same stretches, tapered and transformed by a library of others.

use std::io::Write;
use std::process::{Command, Stdio};

use kymo::compute::spectrum::{Spectrum, Taper};
use serde_json::{Value, json};

use super::lab::{expect_status, python_with};

/// Reads a list of stretches and prints what numpy makes of each: the peak's bin and amplitude, and the power in a band, by the
/// definitions at the head of `src/compute/spectrum.rs`.
const NUMPY: &str = r#"
import json, sys
import numpy as np
found = []
for one in json.load(sys.stdin):
    x = np.array(one["values"])
    n, rate = len(x), one["rate_hz"]
    k = np.arange(n)
    w = sum(c * np.cos(2 * np.pi * order * k / n) for order, c in enumerate(one["cosines"]))
    X = np.fft.rfft((x - x.mean()) * w)
    amplitude = 2 * np.abs(X) / w.sum()
    density = 2 * np.abs(X) ** 2 / (rate * (w ** 2).sum())
    f = np.fft.rfftfreq(n, 1 / rate)
    low, high = one["band"]
    inside = (f >= low) & (f <= high)
    found.append({"peak": float(amplitude[1:].max()), "at": float(f[1:][amplitude[1:].argmax()]), "band": float(density[inside].sum() * rate / n)})
json.dump(found, sys.stdout)
"#;

/// Of each taper, from the literature (Harris 1978; Heinzel 2002 for the flat top), not from the program.
const COSINES: [(Taper, &[f64]); 5] = [
    (Taper::Rectangular, &[1.0]),
    (Taper::Hann, &[0.5, -0.5]),
    (Taper::Hamming, &[0.54, -0.46]),
    (Taper::Blackman, &[0.42, -0.5, 0.08]),
    (
        Taper::FlatTop,
        &[1.0, -1.938_337_9, 1.304_554_2, -0.402_827_0, 0.035_066_5],
    ),
];

#[test]
fn spectra_agree_with_numpy() {
    let Some(python) = python_with("numpy") else {
        return;
    };
    let mut stretches = Vec::new();
    let mut ours = Vec::new();
    let mut random = fastrand::Rng::with_seed(7);
    for len in [64, 1000, 1023, 4096] {
        for (taper, cosines) in COSINES {
            let (rate_hz, tone) = (1000.0, random.f64() * 350.0 + 50.0);
            let values: Vec<f64> = (0..len)
                .map(|index| {
                    let phase = std::f64::consts::TAU * tone * f64::from(index) / rate_hz;
                    3.0 + 2.0 * phase.sin() + random.f64() - 0.5
                })
                .collect();
            let mut spectrum = Spectrum::new(values.len(), rate_hz, taper);
            assert!(spectrum.take(values.iter().copied()));
            ours.push((spectrum.peak(), spectrum.band(40.0, 420.0), tone));
            stretches.push(json!({
                "values": values, "rate_hz": rate_hz, "cosines": cosines, "band": [40.0, 420.0],
            }));
        }
    }
    let mut child = Command::new(python)
        .args(["-c", NUMPY])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let mut input = child.stdin.take().expect("a pipe");
    input
        .write_all(json!(stretches).to_string().as_bytes())
        .expect("Python reads");
    drop(input);
    let read = child.wait_with_output().expect("Python ends");
    expect_status(&read, 0);
    let theirs: Vec<Value> = serde_json::from_slice(&read.stdout).expect("JSON");
    assert_eq!(theirs.len(), ours.len());
    for (((at, peak), band, tone), found) in ours.iter().zip(&theirs) {
        let number = |key: &str| found[key].as_f64().expect("a number");
        let agrees = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b.abs().max(1e-12);
        assert!(agrees(*band, number("band")), "{band} {found}");
        assert!(agrees(*at, number("at")), "{at} {tone} {found}");
        assert!(agrees(*peak, number("peak")), "{peak} {found}");
    }
}
