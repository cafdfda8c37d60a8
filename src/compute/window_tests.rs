//! Windows against a plain recomputation over the raw samples.

use proptest::prelude::*;

use super::*;

const ALL: [Statistic; 16] = [
    Statistic::Count,
    Statistic::Mean,
    Statistic::Min,
    Statistic::Max,
    Statistic::First,
    Statistic::Last,
    Statistic::Sum,
    Statistic::Deviation,
    Statistic::Rms,
    Statistic::PeakToPeak,
    Statistic::Crest,
    Statistic::Slope,
    Statistic::Complete,
    Statistic::Gaps,
    Statistic::Quantile(0.5),
    Statistic::Quantile(0.99),
];

fn options(span: Span) -> Options {
    Options {
        span,
        statistics: ALL.to_vec(),
        rate_hz: Some(1e8),
        lateness_ns: 0,
        taper: Taper::Hann,
    }
}

/// What is fed: times, values, gaps by the place of the frame behind.
#[derive(Debug, Clone)]
struct Input {
    times: Vec<i64>,
    values: Vec<f64>,
    gaps: Vec<usize>,
}

fn input() -> impl Strategy<Value = Input> {
    let value = prop_oneof![
        8 => -100.0..100.0_f64,
        1 => Just(f64::NAN),
        1 => prop_oneof![Just(f64::INFINITY), Just(f64::NEG_INFINITY)],
    ];
    let step = prop_oneof![20 => 1..20_i64, 1 => 200..2000_i64];
    let frame = (step, value, proptest::bool::weighted(0.05));
    (proptest::collection::vec(frame, 1..400), -500..500_i64).prop_map(|(frames, start)| {
        let mut now = start;
        let (mut times, mut values, mut gaps) = (Vec::new(), Vec::new(), Vec::new());
        for (place, (step, value, gap)) in frames.into_iter().enumerate() {
            now += step;
            times.push(now);
            values.push(value);
            if gap {
                gaps.push(place);
            }
        }
        Input {
            times,
            values,
            gaps,
        }
    })
}

type Row = (i64, Vec<f64>);

/// The results, with the input cut into pieces.
fn run(options: &Options, input: &Input, cuts: &[usize]) -> Vec<Row> {
    let mut windows = Windows::new(options.clone(), 1);
    let mut rows: Vec<Row> = Vec::new();
    let mut from = 0;
    let mut cuts = cuts.iter().copied().cycle();
    while from < input.times.len() {
        let to = input
            .times
            .len()
            .min(from + cuts.next().unwrap_or(usize::MAX / 2));
        let gaps: Vec<usize> = input
            .gaps
            .iter()
            .filter(|g| (from..to).contains(g))
            .map(|g| g - from)
            .collect();
        windows.push(
            &input.times[from..to],
            |_| &input.values[from..to],
            gaps.iter().copied(),
            |time, row| rows.push((time, row.to_vec())),
        );
        from = to;
    }
    windows.finish(|time, row| rows.push((time, row.to_vec())));
    rows
}

/// The same by looking at all frames of each window.
fn plain(span: Span, input: &Input) -> Vec<Row> {
    let mut rows = Vec::new();
    let (Some(first), Some(last)) = (input.times.first(), input.times.last()) else {
        return rows;
    };
    match span {
        Span::Time { length, hop } => {
            let mut end = (first.div_euclid(hop) + 1) * hop;
            while end <= (last.div_euclid(hop) + 1) * hop {
                let inside: Vec<usize> = (0..input.times.len())
                    .filter(|i| (end - length..end).contains(&input.times[*i]))
                    .collect();
                if !inside.is_empty() {
                    rows.push((end, statistics(input, &inside, length as f64 * 0.1)));
                }
                end += hop;
            }
        }
        Span::Frames { length, hop } => {
            let mut end = length;
            while end <= input.times.len() as i64 {
                let inside: Vec<usize> = (end - length..end).map(|i| i as usize).collect();
                rows.push((
                    input.times[end as usize - 1],
                    statistics(input, &inside, length as f64),
                ));
                end += hop;
            }
        }
    }
    rows
}

fn statistics(input: &Input, inside: &[usize], expected: f64) -> Vec<f64> {
    let known: Vec<f64> = inside
        .iter()
        .map(|i| input.values[*i])
        .filter(|v| !v.is_nan())
        .collect();
    let finite: Vec<(f64, f64)> = inside
        .iter()
        .map(|i| (input.times[*i] as f64 * 1e-9, input.values[*i]))
        .filter(|(_, v)| v.is_finite())
        .collect();
    let n = finite.len() as f64;
    let mean = finite.iter().map(|(_, v)| v).sum::<f64>() / n;
    let time = finite.iter().map(|(t, _)| t).sum::<f64>() / n;
    let squares: f64 = finite.iter().map(|(_, v)| (v - mean).powi(2)).sum();
    let min = known.iter().copied().fold(f64::NAN, f64::min);
    let max = known.iter().copied().fold(f64::NAN, f64::max);
    let rms = (finite.iter().map(|(_, v)| v * v).sum::<f64>() / n).sqrt();
    let deviation = if finite.len() == 1 {
        0.0
    } else {
        (squares / (n - 1.0)).sqrt()
    };
    let slope = if finite.len() < 2 {
        f64::NAN
    } else {
        finite
            .iter()
            .map(|(t, v)| (t - time) * (v - mean))
            .sum::<f64>()
            / finite.iter().map(|(t, _)| (t - time).powi(2)).sum::<f64>()
    };
    let mut sorted: Vec<f64> = finite.iter().map(|(_, v)| *v).collect();
    sorted.sort_by(f64::total_cmp);
    let quantile = |q: f64| match sorted.len() {
        0 => f64::NAN,
        len => sorted[(q * (len - 1) as f64).floor() as usize],
    };
    vec![
        n,
        if finite.is_empty() { f64::NAN } else { mean },
        min,
        max,
        known.first().copied().unwrap_or(f64::NAN),
        known.last().copied().unwrap_or(f64::NAN),
        finite.iter().map(|(_, v)| v).sum(),
        if finite.is_empty() {
            f64::NAN
        } else {
            deviation
        },
        if finite.is_empty() { f64::NAN } else { rms },
        max - min,
        if finite.is_empty() {
            f64::NAN
        } else {
            min.abs().max(max.abs()) / rms
        },
        slope,
        n / expected,
        input.gaps.iter().filter(|g| inside.contains(g)).count() as f64,
        quantile(0.5),
        quantile(0.99),
    ]
}

fn span() -> impl Strategy<Value = Span> {
    prop_oneof![
        (1..200_i64, 1..6_i64).prop_map(|(hop, times)| Span::Time {
            length: hop * times,
            hop
        }),
        (1..50_i64, 1..6_i64).prop_map(|(hop, times)| Span::Frames {
            length: hop * times,
            hop
        }),
    ]
}

proptest! {
    #[test]
    fn windows_agree_with_a_plain_recomputation(input in input(), span in span()) {
        let (found, expected) = (run(&options(span), &input, &[]), plain(span, &input));
        prop_assert_eq!(found.len(), expected.len());
        for ((time, found), (expected_time, expected)) in found.iter().zip(&expected) {
            prop_assert_eq!(time, expected_time);
            for ((statistic, found), expected) in ALL.iter().zip(found).zip(expected) {
                let close = match statistic {
                    // Within the sketch's error of the exact one.
                    Statistic::Quantile(_) => 1.001 * QUANTILE_ERROR * expected.abs() + 1e-30,
                    Statistic::Slope => 1e-6 * expected.abs().max(1e3),
                    _ => 1e-9 * expected.abs().max(1.0),
                };
                let is_same = found == expected || (found.is_nan() && expected.is_nan())
                    || (found - expected).abs() <= close;
                prop_assert!(is_same, "{:?} at {}: {} {}", statistic, time, found, expected);
            }
        }
    }

    #[test]
    fn how_the_input_is_cut_does_not_matter(
        input in input(), span in span(), cuts in proptest::collection::vec(1..90_usize, 1..20),
    ) {
        let bits = |rows: Vec<Row>| rows.into_iter()
            .map(|(time, row)| (time, row.iter().map(|x| x.to_bits()).collect::<Vec<_>>())).collect::<Vec<_>>();
        let options = options(span);
        prop_assert_eq!(bits(run(&options, &input, &cuts)), bits(run(&options, &input, &[])));
    }
}

#[test]
fn a_window_is_closed_by_the_watermark_after_its_lateness() {
    let mut windows = Windows::new(
        Options {
            lateness_ns: 50,
            ..options(Span::Time {
                length: 100,
                hop: 100,
            })
        },
        1,
    );
    let mut ends = Vec::new();
    windows.push(
        &[10, 90, 120],
        |_| &[1.0, 2.0, 3.0],
        [].into_iter(),
        |end, _| ends.push(end),
    );
    assert!(ends.is_empty());
    windows.advance(149, |end, _| ends.push(end));
    assert!(ends.is_empty());
    windows.advance(150, |end, row| {
        assert_eq!(row[0], 2.0);
        ends.push(end);
    });
    assert_eq!(ends, [100]);
    // Behind the watermark, and before it.
    windows.push(&[95], |_| &[9.0], [].into_iter(), |end, _| ends.push(end));
    assert_eq!(windows.late_frames(), 1);
    windows.finish(|end, row| {
        assert_eq!(row[0], 1.0);
        ends.push(end);
    });
    assert_eq!(ends, [100, 200]);
}

/// As between two runs whose clock was set back: what is behind a window that was told is left out and counted, what is within its
/// lateness is taken, and nothing is told twice.
#[test]
fn time_that_steps_back_reopens_no_window() {
    for lateness_ns in [0, 150] {
        let mut windows = Windows::new(
            Options {
                lateness_ns,
                ..options(Span::Time {
                    length: 200,
                    hop: 100,
                })
            },
            1,
        );
        let mut rows: Vec<(i64, f64)> = Vec::new();
        let mut feed = |windows: &mut Windows, times: &[i64]| {
            let ones = vec![1.0; times.len()];
            windows.push(
                times,
                |_| &ones,
                [].into_iter(),
                |end, row| rows.push((end, row[0])),
            );
        };
        feed(&mut windows, &[10, 20, 110, 310]);
        // Back by two hundred, and on from there.
        feed(&mut windows, &[120, 130]);
        feed(&mut windows, &[250, 260, 420, 430]);
        windows.finish(|end, row| rows.push((end, row[0])));
        let ends: Vec<i64> = rows.iter().map(|(end, _)| *end).collect();
        assert_eq!(ends, [100, 200, 300, 400, 500], "{rows:?}");
        let counts: Vec<f64> = rows.iter().map(|(_, count)| *count).collect();
        if lateness_ns == 0 {
            assert_eq!(windows.late_frames(), 4);
            assert_eq!(counts, [2.0, 3.0, 1.0, 1.0, 3.0]);
        } else {
            assert_eq!(windows.late_frames(), 0);
            assert_eq!(counts, [2.0, 5.0, 5.0, 3.0, 3.0]);
        }
    }
}

#[test]
fn a_pause_of_a_year_gives_no_windows_and_takes_no_time() {
    let mut windows = Windows::new(
        options(Span::Time {
            length: 1000,
            hop: 1,
        }),
        1,
    );
    let mut rows = 0;
    let year = 31_557_600_000_000_000;
    windows.push(
        &[0, year],
        |_| &[1.0, 2.0],
        [].into_iter(),
        |_, _| rows += 1,
    );
    // Each of the thousand windows that the first frame is in.
    assert_eq!(rows, 1000);
}

#[test]
fn spectra_are_of_the_window_and_not_over_a_gap() {
    let span = Span::Time {
        length: 1_000_000_000,
        hop: 500_000_000,
    };
    let statistics = vec![
        Statistic::PeakFrequency,
        Statistic::PeakAmplitude,
        Statistic::Band(40.0, 60.0),
    ];
    let options = Options {
        statistics,
        rate_hz: Some(1000.0),
        ..options(span)
    };
    let times: Vec<i64> = (0..3000).map(|i| i * 1_000_000).collect();
    let values: Vec<f64> = (0..3000)
        .map(|i| 2.0 * (std::f64::consts::TAU * 50.0 * f64::from(i) / 1000.0).sin())
        .collect();
    let mut windows = Windows::new(options, 1);
    let mut rows = Vec::new();
    windows.push(
        &times,
        |_| &values,
        [2200].into_iter(),
        |time, row| rows.push((time, row.to_vec())),
    );
    windows.finish(|time, row| rows.push((time, row.to_vec())));
    assert_eq!(rows.len(), 6);
    // The first has half of its samples.
    assert!(rows[0].1.iter().all(|x| x.is_nan()));
    for (_, row) in &rows[1..4] {
        assert!(
            (row[0] - 50.0).abs() < 1e-9
                && (row[1] - 2.0).abs() < 1e-6
                && (row[2] - 2.0).abs() < 1e-6
        );
    }
    assert!(rows[4..].iter().all(|(_, row)| row[0].is_nan()));
}
