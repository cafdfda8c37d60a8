use std::f64::consts::PI;

use super::*;

fn converted(value: f64, from: &str, to: &str) -> Option<f64> {
    let (scale, offset) = Unit::parse(from).conversion_to(&Unit::parse(to))?;
    Some(value * scale + offset)
}

#[test]
fn values_agree_with_ucum() {
    for (value, from, to, expected) in [
        (2.5, "bar", "mbar", 2500.0),
        (1.0, "bar", "kPa", 100.0),
        (1.0, "[psi]", "Pa", 6_894.757_293),
        (760.0, "mm[Hg]", "atm", 0.999_997_236),
        (1.0, "kg.m/s2", "N", 1.0),
        (1.0, "m.kg.s-2", "N", 1.0),
        (1.0, "J/s", "W", 1.0),
        (1.0, "V.A", "W", 1.0),
        (1.0, "V/A", "Ohm", 1.0),
        (1.0, "C/V", "F", 1.0),
        (1.0, "Wb/m2", "T", 1.0),
        (1.0, "Ohm-1", "S", 1.0),
        (1.0, "V.s/A", "H", 1.0),
        (36.0, "km/h", "m/s", 10.0),
        (180.0, "deg", "rad", PI),
        (60.0, "/min", "Hz", 1.0),
        (5.0, "%", "1", 0.05),
        (1.0, "ml", "cm3", 1.0),
        (1.0, "10*3/ul", "10^9/l", 1.0),
        (1.0, "dam", "dm", 100.0),
        (1.0, "[g]", "m/s2", 9.80665),
        (1.0, "µm", "um", 1.0),
        (60.0, "{turns}/min", "Hz", 1.0),
        (1.0, "mol/(m.m.m)", "mmol/l", 1.0),
        (3.0, "(m/s)/s", "m/s2", 3.0),
        (25.0, "Cel", "K", 298.15),
        (60.0, "Cel/min", "K/s", 1.0),
        (32.0, "[degF]", "Cel", 0.0),
        (7.0, "counts", "counts", 7.0),
    ] {
        let found = converted(value, from, to);
        let found = found.unwrap_or_else(|| panic!("{from} is {to}"));
        assert!(
            (found - expected).abs() <= 1e-6 * expected.abs().max(1e-6),
            "{from} {found}"
        );
    }
}

#[test]
fn what_measures_another_thing_cannot_be_converted() {
    for (from, to) in [
        ("bar", "m"),
        ("counts", "ticks"),
        ("counts", "1"),
        ("Hz", "rad/s"),
        ("mol", "1"),
        ("N.m", "N"),
    ] {
        assert_eq!(converted(1.0, from, to), None, "{from} {to}");
    }
}

#[test]
fn a_difference_is_no_point() {
    let celsius = Unit::parse("Cel");
    let difference = celsius.of_difference();
    assert_eq!(difference.to_string(), "K");
    assert_eq!(difference.conversion_to(&celsius), None);
    assert_eq!(
        difference.conversion_to(&Unit::parse("mK")),
        Some((1000.0, 0.0))
    );
    assert_eq!(
        Unit::parse("K").conversion_to(&celsius),
        Some((1.0, -273.15))
    );
    assert_eq!(
        Unit::parse("[degF]").of_difference().scale_to(&difference),
        5.0 / 9.0
    );
}

#[test]
fn products_are_written_as_ucum_writes_them() {
    let unit = Unit::parse("m").times(&Unit::parse("s"), -2);
    assert_eq!(unit.map(|unit| unit.to_string()).as_deref(), Some("m/s2"));
    let hertz = Unit::one().times(&Unit::parse("s"), -1);
    assert_eq!(hertz.map(|unit| unit.to_string()).as_deref(), Some("1/s"));
    assert_eq!(
        Unit::parse("m2/s2")
            .root()
            .map(|u| u.to_string())
            .as_deref(),
        Some("m/s")
    );
    assert_eq!(Unit::parse("m").root(), None);
    let square = Unit::parse("counts").times(&Unit::parse("counts"), 1);
    assert_eq!(
        square.map(|unit| unit.to_string()).as_deref(),
        Some("counts2")
    );
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,30}|[mskgK/.()0-9*^{}\\[\\]%-]{0,30}") {
        let unit = Unit::parse(&text);
        let _ = (unit.to_string(), unit.root(), unit.times(&unit, -1), unit.to_power(24));
        proptest::prop_assert!(unit.is_alike(&unit));
    }
}
