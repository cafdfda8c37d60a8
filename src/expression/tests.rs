//! The language, from its text to its values.

use proptest::prelude::*;

use super::*;

/// Channels by name, unit and rate.
struct Lab(Vec<(&'static str, &'static str, Option<f64>)>);

impl Channels for Lab {
    fn find(&self, name: &str) -> Option<Channel> {
        let channel = self.0.iter().position(|(known, ..)| *known == name)?;
        let (_, unit, rate_hz) = self.0[channel];
        Some(Channel {
            channel,
            unit: unit.to_owned(),
            rate_hz,
        })
    }

    fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, ..)| (*name).to_owned()).collect()
    }

    fn clock_rate_hz(&self) -> Option<f64> {
        Some(1000.0)
    }
}

fn lab() -> Lab {
    let rate = Some(1000.0);
    Lab(vec![
        ("p.x", "bar", rate),
        ("p.y", "kPa", rate),
        ("t.in", "Cel", rate),
        ("t.out", "[degF]", rate),
        ("a.a", "1", rate),
        ("a.b", "1", rate),
        ("a.c", "1", rate),
        ("m.s", "m", rate),
        ("c.n", "counts", rate),
        ("w.deg", "deg", rate),
        ("f.slow", "1", None),
    ])
}

fn compiled(text: &str) -> Expression {
    Expression::compile(text, &lab()).unwrap_or_else(|errors| panic!("{text}: {errors:?}"))
}

/// Values at 1 kHz, the first input's and so on.
fn values(text: &str, inputs: &[&[f64]]) -> Vec<f64> {
    let mut expression = compiled(text);
    let times: Vec<i64> = (0..inputs[0].len() as i64).map(|i| i * 1_000_000).collect();
    let columns: Vec<Column<'_>> = inputs
        .iter()
        .map(|x| Column {
            aligned: x,
            times_ns: &times,
            values: x,
        })
        .collect();
    let mut out = vec![0.0; times.len()];
    expression.evaluate_columns(
        &Columns {
            times_ns: &times,
            inputs: &columns,
        },
        &mut out,
    );
    out
}

fn said(text: &str) -> String {
    let errors = Expression::compile(text, &lab())
        .map(|_| ())
        .expect_err(text);
    let lines = errors.iter().map(|error| {
        let help = error
            .help
            .as_ref()
            .map_or(String::new(), |help| format!("; {help}"));
        format!(
            "{} «{}» {}{help}",
            error.what,
            &text[error.span.clone()],
            error.label
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn units_are_converted_where_they_differ() {
    assert_eq!(
        values("p.x > 2500 mbar", &[&[2.4, 2.5, 2.6]]),
        [0.0, 0.0, 1.0]
    );
    assert_eq!(values("p.x + p.y", &[&[1.0], &[50.0]]), [1.5]);
    assert_eq!(values("p.x in kPa", &[&[1.0]]), [100.0]);
    assert_eq!(values("p.x / p.y", &[&[1.0], &[50.0]]), [2.0]);
    assert_eq!(values("t.in > 300 K", &[&[26.0, 27.0]]), [0.0, 1.0]);
    assert_eq!(values("(t.in + 5 K) in Cel", &[&[20.0]]), [25.0]);
    assert_eq!(
        values("(t.in - t.out) > 1 K", &[&[1.0, 1.1], &[32.0, 32.0]]),
        [0.0, 1.0]
    );
    assert_eq!(values("t.in > -5 Cel", &[&[-6.0, -4.0]]), [0.0, 1.0]);
    assert_eq!(values("c.n > 3 counts", &[&[3.0, 4.0]]), [0.0, 1.0]);
    assert!((values("sin(w.deg)", &[&[30.0]])[0] - 0.5).abs() < 1e-15);
    assert_eq!(
        compiled("p.x * m.s^2")
            .unit()
            .map(ToString::to_string)
            .as_deref(),
        Some("bar.m2")
    );
    assert_eq!(
        compiled("rate(t.in, 1 s)")
            .unit()
            .map(ToString::to_string)
            .as_deref(),
        Some("K/s")
    );
    assert!(compiled("p.x > 1 bar").is_condition());
}

#[test]
fn operators_bind_as_they_do_on_paper() {
    let one: &[f64] = &[2.0];
    for (text, expected) in [
        ("a.a + 3 * 4", 14.0),
        ("-a.a^2", -4.0),
        ("a.a^3^2", 512.0),
        ("(a.a + 1) * 2", 6.0),
        ("10 - a.a - 3", 5.0),
        ("a.a % 1.5", 0.5),
        ("2 * -a.a", -4.0),
        ("clamp(a.a, 3, 4)", 3.0),
        ("greatest(a.a, 1, 7)", 7.0),
        ("if(a.a > 1, 10, 20)", 10.0),
        ("not a.a > 3 and a.a < 3", 1.0),
        ("a.a > 3 or a.a < 3 and false", 0.0),
        ("atan2(a.a, 2) in deg", 45.0),
        ("a.a in %", 200.0),
        ("sqrt(a.a * 8)", 4.0),
    ] {
        let found = values(text, &[one])[0];
        assert!((found - expected).abs() < 1e-12, "{text} is {found}");
    }
}

#[test]
fn what_is_not_known_is_neither_true_nor_false() {
    let nan = f64::NAN;
    let cases: &[(&str, [f64; 3])] = &[
        ("a.a > 1", [0.0, 1.0, nan]),
        ("a.a > 1 and false", [0.0, 0.0, 0.0]),
        ("a.a > 1 or true", [1.0, 1.0, 1.0]),
        ("a.a > 1 and true", [0.0, 1.0, nan]),
        ("not a.a > 1", [1.0, 0.0, nan]),
        ("known(a.a)", [1.0, 1.0, 0.0]),
        ("coalesce(a.a, 9)", [0.0, 2.0, 9.0]),
        ("if(a.a > 1, 1, 2)", [2.0, 1.0, nan]),
        ("least(a.a, 1)", [0.0, 1.0, nan]),
    ];
    for (text, expected) in cases {
        let found = values(text, &[&[0.0, 2.0, nan]]);
        let same = found
            .iter()
            .zip(expected)
            .all(|(a, b)| a == b || (a.is_nan() && b.is_nan()));
        assert!(same, "{text}: {found:?}");
    }
}

#[test]
fn a_division_by_zero_is_what_ieee_says() {
    let found = values("1 / a.a", &[&[0.0, -0.0, f64::INFINITY]]);
    assert_eq!(found, [f64::INFINITY, f64::NEG_INFINITY, 0.0]);
    assert!(values("a.a / a.b", &[&[0.0], &[0.0]])[0].is_nan());
}

#[test]
fn mistakes_are_told_with_their_places() {
    insta::assert_snapshot!(
        [
            "p.xx > 1 bar",
            "p.x > 2",
            "p.x + m.s",
            "p.x > 1 bar and p.y",
            "p.x > 1 m or p.y > 1 s",
            "p.x and p.y",
            "t.in + t.out",
            "t.in * 2",
            "t.in - 5 Cel > 3 Cel",
            "5 K - t.in",
            "menu(p.x, 200ms)",
            "mean(p.x)",
            "mean(p.x, 5 m)",
            "mean(p.x, p.y)",
            "mean(p.x, -1 s)",
            "mean(p.x, 1 wk)",
            "lowpass(p.x, 600 Hz)",
            "lowpass(f.slow, 1 Hz)",
            "p.x / 0",
            "1 + 1",
            "",
            "p.x >",
            "(p.x",
            "p.x)",
            "p.x > 1 bar > 2 bar",
            "p.x = 1 bar",
            "p.x $ 2",
            "p.x p.y",
            "if(p.x > 1 bar, p.x, true)",
            "sqrt(m.s)",
            "m.s^a.a",
            "m.s^99",
            "exp(p.x)",
            "p.x in",
            "p.x in m",
            "sum(t.in, 1 s)",
            "1e999 > a.a",
            "`p.x",
            "c.n > 3 ticks",
            "a.a > 3 ticks",
            "rate(t.in, 1 s) > 2 Cel",
        ]
        .map(|text| format!("{text}\n    {}", said(text).replace('\n', "\n    ")))
        .join("\n")
    );
}

#[test]
fn trailing_windows_follow_the_channels_own_samples() {
    let found = values("mean(a.a, 2 ms)", &[&[1.0, 3.0, 5.0, f64::NAN, 9.0]]);
    assert_eq!(found, [1.0, 2.0, 4.0, 5.0, 9.0]);
    // A slow channel on a fast clock: two samples of its own, five moments.
    let mut expression = compiled("count(f.slow, 3 ms) + a.a * 0");
    let slow = Column {
        aligned: &[0.0; 5],
        times_ns: &[500_000, 2_500_000],
        values: &[7.0, 8.0],
    };
    let times: Vec<i64> = (0..5).map(|i| i * 1_000_000).collect();
    let own = Column {
        aligned: &[0.0; 5],
        times_ns: &times,
        values: &[0.0; 5],
    };
    let mut out = [0.0; 5];
    expression.evaluate_columns(
        &Columns {
            times_ns: &times,
            inputs: &[slow, own],
        },
        &mut out,
    );
    assert_eq!(out, [0.0, 1.0, 1.0, 2.0, 1.0]);
    let mut age = compiled("age(f.slow)");
    age.evaluate_columns(
        &Columns {
            times_ns: &times,
            inputs: &[slow],
        },
        &mut out,
    );
    assert!(out[0].is_nan());
    assert!(
        (out[1] - 0.0005).abs() < 1e-12 && (out[4] - 0.0015).abs() < 1e-12,
        "{out:?}"
    );
}

#[test]
fn a_prediction_of_a_line_is_the_line() {
    let line: Vec<f64> = (0..200).map(|i| 1.0 + f64::from(i) * 0.001 * 3.0).collect();
    let found = values("predict(a.a, 10 s, 100 ms)", &[&line]);
    assert!(
        (found[199] - (1.0 + 3.0 * 10.199)).abs() < 1e-9,
        "{}",
        found[199]
    );
    let found = values("derivative(a.a)", &[&line]);
    assert!((found[199] - 3.0).abs() < 1e-9);
    let found = values("integral(a.a)", &[&[2.0; 1001]]);
    assert!((found[1000] - 2.0).abs() < 1e-12);
}

/// What makes a number of an angle, in our language alone.
const ANGLE: &str = " / 1 rad";

/// A tree as both languages write it.
fn formula() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("a.a".to_owned()),
        Just("a.b".to_owned()),
        Just("a.c".to_owned()),
        (1..1000_u32).prop_map(|n| format!("{}", f64::from(n) / 8.0)),
    ];
    leaf.prop_recursive(5, 40, 2, |inner| {
        let functions = [
            "sin", "cos", "exp", "ln", "sqrt", "abs", "floor", "tanh", "atan",
        ];
        let pair = (inner.clone(), 0..4_usize, inner.clone());
        prop_oneof![
            pair.prop_map(|(a, op, b)| format!("({a} {} {b})", ["+", "-", "*", "/"][op])),
            (0..functions.len(), inner.clone()).prop_map(move |(f, x)| match functions[f] {
                // Here it is an angle, and there a number.
                "atan" => format!("(atan({x}){ANGLE})"),
                function => format!("{function}({x})"),
            }),
            inner.clone().prop_map(|x| format!("(-({x}))")),
            (inner, 2..4_u32).prop_map(|(x, n)| format!("(({x}) ^ {n})")),
        ]
    })
}

/// Texts without parentheses, so that precedence is compared as well.
fn flat() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("a.a"),
        Just("a.b"),
        Just("a.c"),
        Just("1.5"),
        Just("0.25")
    ];
    proptest::collection::vec(
        (
            leaf,
            prop_oneof![Just("+"), Just("-"), Just("*"), Just("/")],
        ),
        2..12,
    )
    .prop_map(|parts| {
        let mut text = String::new();
        for (leaf, operator) in &parts {
            text += &format!("{leaf} {operator} ");
        }
        text + "a.a"
    })
}

proptest! {
    /// The same formula, compiled here and by exmex.
    #[test]
    fn values_agree_with_exmex(
        formula in prop_oneof![formula(), flat()],
        rows in proptest::collection::vec((-10.0..10.0_f64, -10.0..10.0_f64, -10.0..10.0_f64), 1..4),
    ) {
        use exmex::Express as _;
        let theirs = formula.replace(ANGLE, "").replace("a.a", "x").replace("a.b", "y").replace("a.c", "z");
        let theirs = exmex::parse::<f64>(&theirs).expect("exmex reads it");
        // A formula of constants alone is refused, and one whose divisor is always 0.
        let Ok(mut ours) = Expression::compile(&formula, &lab()) else {
            prop_assert!(said(&formula).contains("no channel") || said(&formula).contains("divides by zero"));
            return Ok(());
        };
        let times: Vec<i64> = (0..rows.len() as i64).collect();
        let column = |name: &str| -> Vec<f64> {
            rows.iter().map(|row| match name { "a.a" => row.0, "a.b" => row.1, _ => row.2 }).collect()
        };
        let held: Vec<Vec<f64>> = ours.inputs().iter().map(|input| column(&input.name)).collect();
        let inputs: Vec<Column<'_>> =
            held.iter().map(|v| Column { aligned: v, times_ns: &times, values: v }).collect();
        let mut out = vec![0.0; rows.len()];
        ours.evaluate_columns(&Columns { times_ns: &times, inputs: &inputs }, &mut out);
        let variables: Vec<String> = theirs.var_names().to_vec();
        for (found, row) in out.iter().zip(&rows) {
            let arguments: Vec<f64> = variables.iter()
                .map(|name| match name.as_str() { "x" => row.0, "y" => row.1, _ => row.2 }).collect();
            let expected = theirs.eval(&arguments).expect("it has its arguments");
            // A power is a multiplication here and a library call there: they differ in the last places, which what
            // stands around it may enlarge.
            let is_same = found == &expected || (found.is_nan() && expected.is_nan())
                || (found - expected).abs() <= 1e-6 * expected.abs().max(1.0)
                || expected.is_nan() || expected.abs() >= 1e12;
            prop_assert!(is_same, "{}: {} {}", formula, found, expected);
        }
    }

    /// Cut anywhere, the same input gives the same bits.
    #[test]
    fn how_the_input_is_cut_does_not_matter(
        samples in proptest::collection::vec(prop_oneof![9 => -1e3..1e3_f64, 1 => Just(f64::NAN)], 1..1500),
        cuts in proptest::collection::vec(1..700_usize, 1..20),
    ) {
        let text = "lowpass(a.a, 20 Hz) + mean(a.a, 30 ms) * median(a.a, 20 ms) - predict(a.a + 1, 1 s, 50 ms) \
                    + integral(a.a) * 1 Hz + rate(a.a) * 1 s + sd(a.a, 7 ms)";
        let whole = values(text, &[&samples]);
        let mut expression = compiled(text);
        let times: Vec<i64> = (0..samples.len() as i64).map(|i| i * 1_000_000).collect();
        let (mut from, mut cut) = (0, cuts.iter().cycle());
        let mut pieces = Vec::new();
        while from < samples.len() {
            let to = samples.len().min(from + cut.next().copied().unwrap_or(1));
            let (times_ns, values) = (&times[from..to], &samples[from..to]);
            let inputs = [Column { aligned: values, times_ns, values }];
            let mut out = vec![0.0; to - from];
            expression.evaluate_columns(&Columns { times_ns, inputs: &inputs }, &mut out);
            pieces.extend(out);
            from = to;
        }
        let bits = |values: &[f64]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&pieces), bits(&whole));
    }

    #[test]
    fn no_text_makes_it_panic(
        text in "\\PC{0,40}|([a-z.]{1,4}|[0-9.]{1,3}| |[-+*/^%()<>=!,`]|p\\.x|a\\.a|mean|if|in|bar|ms|and|or|not){0,20}",
    ) {
        match Expression::compile(&text, &lab()) {
            Ok(expression) => prop_assert!(!expression.inputs().is_empty()),
            Err(errors) => {
                prop_assert!(!errors.is_empty());
                for error in errors {
                    prop_assert!(text.get(error.span.clone()).is_some(), "{:?} of {}", error.span, text);
                }
            }
        }
    }
}

#[test]
fn depth_and_length_are_bounded() {
    for text in [
        "(".repeat(2000) + "a.a" + &")".repeat(2000),
        "-".repeat(3000) + "a.a",
        "a.a".to_owned() + &"^2".repeat(1500),
        "not ".repeat(1000) + "a.a > 1",
        "a.a + ".repeat(600) + "a.a",
        "abs(".repeat(500) + "a.a" + &")".repeat(500),
    ] {
        assert!(said(&text).contains("too deep"), "{}", &text[..20]);
    }
    assert!(said(&"a.a + 1 ".repeat(1000)).contains("too long"));
}
