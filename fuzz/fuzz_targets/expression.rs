//! Any text is an expression or is told why not, with places inside it; what compiles runs over any columns, whole and in pieces alike.

#![no_main]

use kymo::expression::{Channel, Channels, Column, Columns, Expression};
use kymo_fuzz::Choices;
use libfuzzer_sys::fuzz_target;

const NAMES: [(&str, &str); 3] = [("a.x", "m/s2"), ("a.y", "m/s2"), ("b.t", "Cel")];

struct Three;

impl Channels for Three {
    fn find(&self, name: &str) -> Option<Channel> {
        let channel = NAMES.iter().position(|(known, _)| *known == name)?;
        Some(Channel {
            channel,
            unit: NAMES[channel].1.to_owned(),
            rate_hz: (channel < 2).then_some(1000.0),
        })
    }

    fn names(&self) -> Vec<String> {
        NAMES.map(|(name, _)| name.to_owned()).to_vec()
    }

    fn clock_rate_hz(&self) -> Option<f64> {
        Some(1000.0)
    }
}

fn run(expression: &mut Expression, times_ns: &[i64], columns: &[Vec<f64>; 3], out: &mut [f64]) {
    let inputs: Vec<Column<'_>> = expression
        .inputs()
        .iter()
        .map(|input| Column {
            aligned: &columns[input.channel],
            times_ns,
            values: &columns[input.channel],
        })
        .collect();
    let columns = Columns { times_ns, inputs: &inputs };
    expression.evaluate_columns(&columns, out);
}

fuzz_target!(|data: &[u8]| {
    let (mut choices, text) = Choices::split(data, 24);
    let Ok(text) = std::str::from_utf8(text) else { return };
    let compiled = match Expression::compile(text, &Three) {
        Ok(compiled) => compiled,
        Err(errors) => {
            assert!(!errors.is_empty());
            for error in errors {
                assert!(error.span.start <= error.span.end && error.span.end <= text.len());
                assert!(!error.to_string().is_empty());
            }
            return;
        }
    };
    let special = [0.0, -0.0, 1.0, -1.5, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    const FRAMES: usize = 8;
    let mut column = || -> Vec<f64> { (0..FRAMES).map(|_| choices.one_of(&special)).collect() };
    let columns = [column(), column(), column()];
    let times_ns: Vec<i64> = (1..=FRAMES as i64).map(|frame| frame * 1_000_000).collect();
    let mut whole = vec![0.0; FRAMES];
    run(&mut compiled.clone(), &times_ns, &columns, &mut whole);
    let mut pieces = vec![0.0; FRAMES];
    let mut again = compiled;
    for at in 0..FRAMES {
        let one = std::array::from_fn(|channel| columns[channel][at..=at].to_vec());
        run(&mut again, &times_ns[at..=at], &one, &mut pieces[at..=at]);
    }
    for (a, b) in whole.iter().zip(&pieces) {
        assert!(a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()), "{text}: {whole:?} {pieces:?}");
    }
});
