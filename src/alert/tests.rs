//! Scripted scenarios in simulated time: every kind and option, with the exact times of what happens; and that the cut into
//! blocks does not matter.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::config::parse;
use crate::stage::statistics::summarize;

const MS: i64 = 1_000_000;

/// A source of two lanes and one of one, so that rules can join lanes.
const LAB: &str = r#"
[source.a]
link = { type = "serial", path = "/dev/null", baud = 9600 }
protocol = { type = "lines" }
rate_hz = 100
channel = [{ name = "x", unit = "bar" }, { name = "y", unit = "bar", priority = "critical" }]
[source.b]
link = { type = "serial", path = "/dev/null", baud = 9600 }
protocol = { type = "lines" }
channel = [{ name = "z", unit = "Cel" }]
"#;

fn rules(text: &str) -> (Vec<RuleOptions>, Vec<Silence>) {
    let plan = parse("lab.toml", &format!("{LAB}{text}")).unwrap_or_else(|m| panic!("{m}"));
    (plan.rules, plan.silences)
}

fn judge(text: &str) -> (Judge, Vec<RuleOptions>) {
    let (rules, silences) = rules(text);
    (Judge::new(&rules, &silences, &Memory::default(), 0), rules)
}

/// What happened: time in ms, change, value, and whether it was silenced.
fn note(found: &mut String, rule: &str, moved: &Moved) {
    let silent = if moved.silenced { " silenced" } else { "" };
    let _ = writeln!(
        found,
        "{:>8} ms  {rule}: {} at {}{silent}, {:?}",
        number(moved.time_ns as f64 / 1e6),
        moved.change.name(),
        number(moved.value),
        moved.state.is
    );
}

/// One rule over one channel, its samples cut into blocks of so many.
fn script_in(text: &str, samples: &[(i64, f64)], cut: usize) -> String {
    let (mut judge, options) = judge(text);
    let mut found = String::new();
    for block in samples.chunks(cut) {
        let values: Vec<f64> = block.iter().map(|sample| sample.1).collect();
        look(
            &mut judge,
            &values,
            |i| block[i].0 * MS,
            |rule, moved| {
                note(&mut found, &options[rule].name, &moved);
            },
        );
    }
    found
}

fn look(
    judge: &mut Judge,
    values: &[f64],
    time_ns: impl Fn(usize) -> i64,
    mut found: impl FnMut(usize, Moved),
) {
    let summary = summarize(values);
    let column = Column {
        values,
        min: summary.min,
        max: summary.max,
    };
    judge.look(&[0], &column, time_ns, |rule, _, moved| found(rule, moved));
}

/// The same, whatever the cut.
#[track_caller]
fn script(text: &str, samples: &[(i64, f64)]) -> String {
    let whole = script_in(text, samples, samples.len());
    for cut in [1, 2, 3, 7] {
        assert_eq!(
            script_in(text, samples, cut),
            whole,
            "cut into blocks of {cut}"
        );
    }
    format!("\n{whole}")
}

/// A sample every 10 ms from 0 on.
fn each_10ms(values: &[f64]) -> Vec<(i64, f64)> {
    (0..).map(|i| i * 10).zip(values.iter().copied()).collect()
}

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

fn rule(rest: &str) -> String {
    format!("[[rule]]\nname = \"r\"\nchannel = \"a.x\"\n{rest}\n")
}

#[test]
fn for_clear_and_nan_of_a_threshold() {
    let text = rule("above = 2\nclear = 1\nfor = \"20ms\"");
    let values = [
        3.0, 1.5, 3.0, 3.0, NAN, 3.0, 1.5, 2.5, NAN, 0.5, INF, INF, INF, -INF,
    ];
    insta::assert_snapshot!(script(&text, &each_10ms(&values)));
}

#[test]
fn keep_holds_an_alert_after_its_cause() {
    let text = rule("above = 2\nkeep = \"30ms\"");
    // Back within the 30 ms: no second firing; then clear for as long.
    let values = [3.0, 1.0, 1.0, 3.0, 1.0, 1.0, NAN, 1.0, 1.0, 1.0];
    insta::assert_snapshot!(script(&text, &each_10ms(&values)));
}

#[test]
fn cooldown_is_the_least_time_from_one_firing_to_the_next() {
    let text = rule("above = 2\ncooldown = \"50ms\"");
    // Bad again at 20 ms, but 50 ms are over only at 50; from 60 on good; at 70 too soon after 50.
    let values = [3.0, 1.0, 3.0, 3.0, 3.0, 3.0, 1.0, 3.0, 1.0, 1.0, 1.0, 3.0];
    insta::assert_snapshot!(script(&text, &each_10ms(&values)));
}

#[test]
fn a_latched_alert_waits_to_be_acknowledged() {
    let (mut judge, options) = judge(&rule("above = 2\nlatch = true"));
    let mut found = String::from("\n");
    let feed = |judge: &mut Judge, at_ms: i64, value: f64, found: &mut String| {
        look(
            judge,
            &[value],
            |_| at_ms * MS,
            |rule, moved| {
                note(found, &options[rule].name, &moved);
            },
        );
    };
    let acknowledge = |judge: &mut Judge, at_ms: i64, found: &mut String| {
        let order = Order::Acknowledge {
            rule: "r".to_owned(),
        };
        let done = judge.obey(
            &order,
            at_ms * MS,
            |_, moved| note(found, "r", &moved),
            |_| {},
        );
        let _ = match done {
            Ok(_) => writeln!(found, "{at_ms:>8} ms  obeyed"),
            Err(error) => writeln!(found, "{at_ms:>8} ms  {error}"),
        };
    };
    acknowledge(&mut judge, 0, &mut found);
    feed(&mut judge, 10, 3.0, &mut found);
    feed(&mut judge, 20, 1.0, &mut found);
    feed(&mut judge, 30, 3.0, &mut found);
    feed(&mut judge, 40, 1.0, &mut found);
    acknowledge(&mut judge, 50, &mut found);
    acknowledge(&mut judge, 55, &mut found);
    // Acknowledged while it fires, it clears by itself.
    feed(&mut judge, 60, 3.0, &mut found);
    acknowledge(&mut judge, 70, &mut found);
    feed(&mut judge, 80, 1.0, &mut found);
    insta::assert_snapshot!(found);
}

#[test]
fn a_silence_is_kept_and_its_end_tells_what_still_is() {
    let silence = "[[silence]]\nrules = [\"r*\"]\nfrom = 1970-01-01T00:00:00.015Z\nto = \"1970-01-01T00:00:00.045Z\"\n";
    // Fires and clears within the silence; fires again, and is told of when the silence is over.
    let values = [0.0, 0.0, 3.0, 1.0, 3.0, 3.0, 1.0];
    let text = rule("above = 2") + silence;
    insta::assert_snapshot!(script(&text, &each_10ms(&values)));
}

#[test]
fn a_silence_declared_while_running_can_be_taken_back() {
    let (mut judge, _) = judge(&rule("above = 2"));
    let mut found = String::from("\n");
    let mut declared = Vec::new();
    let order = Order::Silence {
        rule: "r".to_owned(),
        until_ns: 1000 * MS,
        reason: "test".to_owned(),
    };
    judge
        .obey(&order, 5 * MS, |_, _| {}, |s| declared.push(s.clone()))
        .expect("there is such a rule");
    look(
        &mut judge,
        &[3.0],
        |_| 10 * MS,
        |_, moved| note(&mut found, "r", &moved),
    );
    let order = Order::Unsilence {
        rule: "r".to_owned(),
    };
    judge
        .obey(&order, 20 * MS, |_, _| {}, |s| declared.push(s.clone()))
        .expect("it is silenced");
    look(
        &mut judge,
        &[3.0],
        |_| 30 * MS,
        |_, moved| note(&mut found, "r", &moved),
    );
    assert_eq!(declared[0].id, declared[1].id);
    assert_eq!((declared[0].to_ns, declared[1].to_ns), (1000 * MS, 20 * MS));
    assert!(
        judge.obey(&order, 40 * MS, |_, _| {}, |_| {}).is_err(),
        "there is nothing left to take back"
    );
    insta::assert_snapshot!(found);
}

#[test]
fn a_rate_is_taken_over_its_time() {
    let text = rule("kind = \"rate\"\nover = \"40ms\"\nabove = 20");
    // 0.1 in 10 ms are 10/s; then 0.5 in 10 ms; NaN; a gap of 400 ms over which 4 are 10/s; an infinity; time back.
    let mut samples: Vec<(i64, f64)> = (0..10).map(|i| (i * 10, i as f64 * 0.1)).collect();
    samples.extend((10..20).map(|i| (i * 10, 1.0 + (i - 10) as f64 * 0.5)));
    samples.extend([
        (200, NAN),
        (210, 6.0),
        (250, 6.0),
        (300, 6.0),
        (700, 10.0),
        (740, 10.0),
        (750, INF),
    ]);
    samples.extend([
        (760, 10.0),
        (800, 10.0),
        (100, 50.0),
        (110, 80.0),
        (140, 90.0),
        (150, 50.0),
    ]);
    insta::assert_snapshot!(script(&text, &samples));
}

#[test]
fn a_stuck_value_is_one_that_stays_within_its_tolerance() {
    let text = rule("kind = \"stuck\"\nafter = \"30ms\"\ntolerance = 0.1");
    let values = [
        1.0, 1.05, NAN, 1.1, 1.0, 1.2, 1.2, NAN, NAN, 1.2, INF, INF, INF, INF, INF, -INF,
    ];
    let mut samples = each_10ms(&values);
    // What is the same after a gap was the same meanwhile; time that steps back begins the wait anew.
    samples.extend([
        (1000, -INF),
        (100, -INF),
        (120, -INF),
        (140, -INF),
        (150, 2.0),
    ]);
    insta::assert_snapshot!(script(&text, &samples));
}

#[test]
fn missing_data_fire_at_their_deadline_whoever_notices() {
    let text = rule("kind = \"no-data\"\nafter = \"50ms\"\nfor = \"20ms\"");
    // 60 ms without are pending and no more; NaN is data; then 200 ms without; time back.
    let samples = [
        (10, 1.0),
        (70, 1.0),
        (80, NAN),
        (120, INF),
        (320, 1.0),
        (330, 1.0),
        (200, 1.0),
        (330, 1.0),
    ];
    insta::assert_snapshot!(script(&text, &samples));
}

#[test]
fn missing_data_fire_by_the_clock_alone() {
    let (mut judge, _) = judge(&rule("kind = \"no-data\"\nafter = \"50ms\""));
    let mut found = String::from("\n");
    assert_eq!(
        judge.deadline_ns(),
        Some(50 * MS),
        "it waits from the start on"
    );
    judge.tick(49 * MS, 49 * MS, |_, moved| note(&mut found, "r", &moved));
    judge.tick(90 * MS, 90 * MS, |_, moved| note(&mut found, "r", &moved));
    judge.tick(99 * MS, 99 * MS, |_, moved| note(&mut found, "r", &moved));
    assert_eq!(
        judge.deadline_ns(),
        None,
        "nothing more can happen without data"
    );
    look(
        &mut judge,
        &[1.0],
        |_| 120 * MS,
        |_, moved| note(&mut found, "r", &moved),
    );
    assert_eq!(judge.deadline_ns(), Some(170 * MS));
    insta::assert_snapshot!(found);
}

#[test]
fn a_forecast_sees_the_limit_coming_through_outliers() {
    let text =
        rule("kind = \"forecast\"\nabove = 10\nclear = 9\nwithin = \"1s\"\nover = \"320ms\"");
    // Rises by 5/s from 3 on, so that 8 ahead of 3 is reached at 400 ms; every 13th value is an outlier, some are no numbers.
    let rising = (0..100).map(|i| match i {
        _ if i % 13 == 5 => (i * 10, 1e6),
        _ if i % 17 == 3 => (i * 10, NAN),
        _ if i % 29 == 7 => (i * 10, -INF),
        _ => (i * 10, 3.0 + i as f64 * 0.05),
    });
    let falling = (100..200).map(|i| (i * 10, 8.0 - (i - 100) as f64 * 0.05));
    // Behind a gap, and a step back, too little is known for a while.
    let later = (0..12)
        .map(|i| (5000 + i * 10, 20.0))
        .chain((0..12).map(|i| (i * 10, 20.0)));
    let samples: Vec<(i64, f64)> = rising.chain(falling).chain(later).collect();
    insta::assert_snapshot!(script(&text, &samples));
}

/// Lanes of an expression: (time in ms, values of the lane's channels).
type Lane<'a> = (&'a [usize], Vec<(i64, Vec<f64>)>);

/// Feeds lanes in an order of their blocks, each a lane's number and how many samples.
fn joined(text: &str, lanes: &[Lane<'_>], order: &[(usize, usize)], end: bool) -> String {
    let (mut judge, options) = judge(text);
    let mut found = String::from("\n");
    for (inputs, _) in lanes {
        judge.add_lane(0, inputs);
    }
    let mut done = vec![0; lanes.len()];
    for (lane, count) in order {
        let (inputs, samples) = &lanes[*lane];
        let block = &samples[done[*lane]..done[*lane] + count];
        done[*lane] += count;
        let columns: Vec<Vec<f64>> = (0..inputs.len())
            .map(|column| block.iter().map(|(_, values)| values[column]).collect())
            .collect();
        let column_of = |input: usize| {
            inputs
                .iter()
                .position(|i| *i == input)
                .expect("of this lane")
        };
        judge.join(
            (0, *lane),
            *count,
            |i| block[i].0 * MS,
            |input| columns[column_of(input)].as_slice(),
            |_, moved| note(&mut found, &options[0].name, &moved),
        );
    }
    if end {
        judge.tick(i64::MIN, i64::MAX, |_, moved| {
            note(&mut found, &options[0].name, &moved);
        });
    }
    let late: u64 = judge.late().sum();
    if late > 0 {
        let _ = writeln!(found, "{late} samples were late");
    }
    found
}

#[test]
fn a_condition_over_one_lane_with_hysteresis() {
    let text =
        "[[rule]]\nname = \"r\"\nwhen = \"a.x > 2 bar\"\nclear = 'a.x < 1 bar'\nfor = \"10ms\"\n";
    let values = [3.0, NAN, 3.0, 1.5, 0.5, INF, INF, 5.0 / 0.0, -1.0];
    let samples: Vec<(i64, Vec<f64>)> = each_10ms(&values)
        .into_iter()
        .map(|(t, v)| (t, vec![v]))
        .collect();
    let lanes: [Lane<'_>; 1] = [(&[0], samples)];
    let whole = joined(text, &lanes, &[(0, 9)], true);
    assert_eq!(joined(text, &lanes, &[(0, 1); 9], true), whole);
    insta::assert_snapshot!(whole);
}

/// Two sources at 100 and 30 Hz: whatever comes first, the alerts are the same.
#[test]
fn a_condition_over_two_sources_follows_time_and_not_arrival() {
    let text = "[[rule]]\nname = \"r\"\nwhen = \"a.x > 2 bar and b.z > 20 Cel\"\n";
    let a = (0..30)
        .map(|i| (i * 10, vec![if i % 10 < 5 { 3.0 } else { 1.0 }]))
        .collect();
    let b = (0..10)
        .map(|i| (i * 33, vec![if i < 4 { 15.0 } else { 25.0 }]))
        .collect();
    let lanes: [Lane<'_>; 2] = [(&[0], a), (&[1], b)];
    let whole = joined(text, &lanes, &[(0, 30), (1, 10)], true);
    for order in [
        vec![(1, 10), (0, 30)],
        vec![(0, 1), (1, 9), (0, 29), (1, 1)],
        [(0, 3), (1, 1)].repeat(10),
    ] {
        assert_eq!(joined(text, &lanes, &order, true), whole, "{order:?}");
    }
    insta::assert_snapshot!(whole);
}

#[test]
fn a_lane_that_is_late_or_steps_back_in_time_is_counted() {
    let text = "[[rule]]\nname = \"r\"\nwhen = \"a.x > 2 bar and b.z > 20 Cel\"\n";
    let a = [0, 10, 20, 5, 15, 30, 40].map(|t| (t, vec![3.0])).to_vec();
    let b = [0, 25, 35].map(|t| (t, vec![25.0])).to_vec();
    let lanes: [Lane<'_>; 2] = [(&[0], a), (&[1], b)];
    insta::assert_snapshot!(joined(
        text,
        &lanes,
        &[(0, 3), (0, 2), (1, 3), (0, 2)],
        true
    ));
}

#[test]
fn where_a_rule_stands_survives_a_restart() {
    let (options, silences) = rules(&rule("above = 2\nclear = 1\nlatch = true"));
    let mut before = Judge::new(&options, &silences, &Memory::default(), 0);
    look(&mut before, &[3.0, 0.5], |i| i as i64 * 10 * MS, |_, _| {});
    let mut memory = Memory::default();
    for (name, state) in before.memories() {
        memory.rules.insert(name.to_owned(), state);
    }
    let json = serde_json::to_string(&memory).expect("it can be written");
    let memory: Memory = serde_json::from_str(&json).expect("it can be read");
    let mut after = Judge::new(&options, &silences, &memory, 50 * MS);
    let mut found = String::new();
    look(
        &mut after,
        &[0.5, 3.0],
        |i| (i as i64 * 10 + 60) * MS,
        |_, moved| note(&mut found, "r", &moved),
    );
    assert_eq!(found, "      70 ms  r: resumed at 3, Firing\n");
}

#[test]
fn an_order_for_a_rule_that_is_not_there_says_which_are() {
    let (mut judge, _) = judge(&rule("above = 2"));
    let order = Order::Acknowledge {
        rule: "x".to_owned(),
    };
    let error = judge
        .obey(&order, 0, |_, _| {}, |_| {})
        .expect_err("there is none");
    assert_eq!(error.to_string(), "there is no rule `x`; there are r");
}

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => (-4..8_i32).prop_map(|i| f64::from(i) * 0.5),
        1 => Just(NAN),
        1 => prop_oneof![Just(INF), Just(-INF)],
    ]
}

/// Samples mostly 10 ms apart, with gaps, and now and then a step back.
fn any_samples() -> impl Strategy<Value = Vec<(i64, f64)>> {
    let step = prop_oneof![20 => Just(10_i64), 3 => 30..400_i64, 1 => -300..0_i64];
    proptest::collection::vec((step, any_value()), 1..300).prop_map(|steps| {
        let mut at = 1000;
        steps
            .into_iter()
            .map(|(step, value)| {
                at += step;
                (at, value)
            })
            .collect()
    })
}

const EVERY_KIND: [&str; 6] = [
    "above = 2\nclear = 1",
    "below = 1\nclear = 2",
    "kind = \"rate\"\nover = \"50ms\"\nabove = 20\nclear = 5",
    "kind = \"stuck\"\nafter = \"40ms\"\ntolerance = 0.6",
    "kind = \"no-data\"\nafter = \"50ms\"",
    "kind = \"forecast\"\nwithin = \"100ms\"\nover = \"320ms\"\nabove = 4",
];
const EVERY_OPTION: [&str; 6] = [
    "",
    "for = \"30ms\"",
    "keep = \"40ms\"",
    "cooldown = \"200ms\"",
    "latch = true",
    "for = \"20ms\"\nkeep = \"30ms\"\ncooldown = \"100ms\"",
];

proptest! {
    /// The same samples give the same, byte for byte, however they are cut into blocks; so a block that is settled by its
    /// extremes is never one in which something would have happened.
    #[test]
    fn the_cut_into_blocks_changes_nothing(
        samples in any_samples(), cuts in proptest::collection::vec(1..60_usize, 1..50),
        kind in 0..EVERY_KIND.len(), option in 0..EVERY_OPTION.len(), silent in any::<bool>(),
    ) {
        let silence = "[[silence]]\nrules = [\"r\"]\nto = 1970-01-01T00:00:01.5Z\n";
        let text = rule(&format!("{}\n{}", EVERY_KIND[kind], EVERY_OPTION[option]))
            + if silent { silence } else { "" };
        let single = script_in(&text, &samples, 1);
        let (mut judge, options) = judge(&text);
        let (mut found, mut at) = (String::new(), 0);
        let mut cuts = cuts.iter().cycle();
        while at < samples.len() {
            let count = (*cuts.next().expect("it has no end")).min(samples.len() - at);
            let block = &samples[at..at + count];
            at += count;
            let values: Vec<f64> = block.iter().map(|sample| sample.1).collect();
            look(&mut judge, &values, |i| block[i].0 * MS, |rule, moved| {
                note(&mut found, &options[rule].name, &moved);
            });
        }
        prop_assert_eq!(found, single);
    }
}
