//! The units and prefixes of UCUM that are known.

/// Base dimensions: length, time, mass, angle, temperature, current, luminous intensity, amount.
pub(super) const BASES: usize = 8;

/// A unit that is not made of others, as it is written.
pub(super) struct Atom {
    pub(super) symbol: &'static str,
    pub(super) takes_prefix: bool,
    pub(super) factor: f64,
    pub(super) dimension: [i32; BASES],
    pub(super) offset: f64,
}

const fn atom(
    symbol: &'static str,
    takes_prefix: bool,
    factor: f64,
    dimension: [i32; BASES],
) -> Atom {
    Atom {
        symbol,
        takes_prefix,
        factor,
        dimension,
        offset: 0.0,
    }
}

pub(super) const NONE: [i32; BASES] = [0; BASES];
const LENGTH: [i32; BASES] = [1, 0, 0, 0, 0, 0, 0, 0];
pub(super) const TIME: [i32; BASES] = [0, 1, 0, 0, 0, 0, 0, 0];
const MASS: [i32; BASES] = [0, 0, 1, 0, 0, 0, 0, 0];
pub(super) const ANGLE: [i32; BASES] = [0, 0, 0, 1, 0, 0, 0, 0];
const TEMPERATURE: [i32; BASES] = [0, 0, 0, 0, 1, 0, 0, 0];
const CURRENT: [i32; BASES] = [0, 0, 0, 0, 0, 1, 0, 0];
pub(super) const FREQUENCY: [i32; BASES] = [0, -1, 0, 0, 0, 0, 0, 0];
const FORCE: [i32; BASES] = [1, -2, 1, 0, 0, 0, 0, 0];
const PRESSURE: [i32; BASES] = [-1, -2, 1, 0, 0, 0, 0, 0];
const ENERGY: [i32; BASES] = [2, -2, 1, 0, 0, 0, 0, 0];
const POWER: [i32; BASES] = [2, -3, 1, 0, 0, 0, 0, 0];
const VOLTAGE: [i32; BASES] = [2, -3, 1, 0, 0, -1, 0, 0];
const VOLUME: [i32; BASES] = [3, 0, 0, 0, 0, 0, 0, 0];
const PI: f64 = std::f64::consts::PI;

/// UCUM tables 2 (base), 4 to 9 (derived, other), as a laboratory meets them. Base of mass: the gram, as in UCUM,
/// hence the thousands.
pub(super) const ATOMS: &[Atom] = &[
    atom("m", true, 1.0, LENGTH),
    atom("s", true, 1.0, TIME),
    atom("g", true, 1.0, MASS),
    atom("rad", true, 1.0, ANGLE),
    atom("K", true, 1.0, TEMPERATURE),
    atom("A", true, 1.0, CURRENT),
    atom("cd", true, 1.0, [0, 0, 0, 0, 0, 0, 1, 0]),
    atom("mol", true, 1.0, [0, 0, 0, 0, 0, 0, 0, 1]),
    atom("%", false, 1e-2, NONE),
    atom("[ppth]", false, 1e-3, NONE),
    atom("[ppm]", false, 1e-6, NONE),
    atom("[ppb]", false, 1e-9, NONE),
    atom("Hz", true, 1.0, FREQUENCY),
    atom("N", true, 1e3, FORCE),
    atom("Pa", true, 1e3, PRESSURE),
    atom("J", true, 1e3, ENERGY),
    atom("W", true, 1e3, POWER),
    atom("C", true, 1.0, [0, 1, 0, 0, 0, 1, 0, 0]),
    atom("V", true, 1e3, VOLTAGE),
    atom("F", true, 1e-3, [-2, 4, -1, 0, 0, 2, 0, 0]),
    atom("Ohm", true, 1e3, [2, -3, 1, 0, 0, -2, 0, 0]),
    atom("S", true, 1e-3, [-2, 3, -1, 0, 0, 2, 0, 0]),
    atom("Wb", true, 1e3, [2, -2, 1, 0, 0, -1, 0, 0]),
    atom("T", true, 1e3, [0, -2, 1, 0, 0, -1, 0, 0]),
    atom("H", true, 1e3, [2, -2, 1, 0, 0, -2, 0, 0]),
    atom("G", true, 1e-1, [0, -2, 1, 0, 0, -1, 0, 0]),
    atom("sr", true, 1.0, [0, 0, 0, 2, 0, 0, 0, 0]),
    atom("lm", true, 1.0, [0, 0, 0, 2, 0, 0, 1, 0]),
    atom("lx", true, 1.0, [-2, 0, 0, 2, 0, 0, 1, 0]),
    atom("Bq", true, 1.0, FREQUENCY),
    atom("Gy", true, 1.0, [2, -2, 0, 0, 0, 0, 0, 0]),
    atom("Sv", true, 1.0, [2, -2, 0, 0, 0, 0, 0, 0]),
    atom("kat", true, 1.0, [0, -1, 0, 0, 0, 0, 0, 1]),
    Atom {
        symbol: "Cel",
        takes_prefix: false,
        factor: 1.0,
        dimension: TEMPERATURE,
        offset: 273.15,
    },
    Atom {
        symbol: "[degF]",
        takes_prefix: false,
        factor: 5.0 / 9.0,
        dimension: TEMPERATURE,
        offset: 459.67 * 5.0 / 9.0,
    },
    atom("[degR]", false, 5.0 / 9.0, TEMPERATURE),
    atom("deg", false, PI / 180.0, ANGLE),
    atom("gon", false, PI / 200.0, ANGLE),
    atom("circ", false, 2.0 * PI, ANGLE),
    atom("'", false, PI / 10_800.0, ANGLE),
    atom("''", false, PI / 648_000.0, ANGLE),
    atom("min", false, 60.0, TIME),
    atom("h", false, 3_600.0, TIME),
    atom("d", false, 86_400.0, TIME),
    atom("wk", false, 604_800.0, TIME),
    atom("a", false, 31_557_600.0, TIME),
    atom("L", true, 1e-3, VOLUME),
    atom("l", true, 1e-3, VOLUME),
    atom("ar", true, 100.0, [2, 0, 0, 0, 0, 0, 0, 0]),
    atom("t", true, 1e6, MASS),
    atom("u", true, 1.660_540_2e-24, MASS),
    atom("bar", true, 1e8, PRESSURE),
    atom("atm", false, 101_325e3, PRESSURE),
    atom("m[Hg]", true, 133_322e3, PRESSURE),
    atom("m[H2O]", true, 980_665e1, PRESSURE),
    atom("[psi]", false, 6_894_757.293_168_36, PRESSURE),
    atom("eV", true, 1.602_177_33e-16, ENERGY),
    atom("cal", true, 4_184.0, ENERGY),
    atom("dyn", true, 1e-2, FORCE),
    atom("gf", true, 9.806_65, FORCE),
    atom("[lbf_av]", false, 4_448.221_615_260_5, FORCE),
    atom("P", true, 100.0, [-1, -1, 1, 0, 0, 0, 0, 0]),
    atom("St", true, 1e-4, [2, -1, 0, 0, 0, 0, 0, 0]),
    atom("Gal", true, 1e-2, [1, -2, 0, 0, 0, 0, 0, 0]),
    atom("[g]", true, 9.806_65, [1, -2, 0, 0, 0, 0, 0, 0]),
    atom("Ao", false, 1e-10, LENGTH),
    atom("[in_i]", false, 2.54e-2, LENGTH),
    atom("[ft_i]", false, 0.3048, LENGTH),
    atom("[mil_i]", false, 2.54e-5, LENGTH),
    atom("[mi_i]", false, 1_609.344, LENGTH),
    atom("[nmi_i]", false, 1_852.0, LENGTH),
    atom(
        "[kn_i]",
        false,
        1_852.0 / 3_600.0,
        [1, -1, 0, 0, 0, 0, 0, 0],
    ),
    atom("[lb_av]", false, 453.592_37, MASS),
    atom("[gal_us]", false, 3.785_411_784e-3, VOLUME),
    atom("Ci", true, 3.7e10, FREQUENCY),
    atom("bit", true, 1.0, NONE),
    atom("By", true, 8.0, NONE),
];

/// UCUM table 1. The longer symbols first: `da` before `d`.
pub(super) const PREFIXES: [(&str, f64); 25] = [
    ("da", 1e1),
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Y", 1e24),
    ("Z", 1e21),
    ("E", 1e18),
    ("P", 1e15),
    ("T", 1e12),
    ("G", 1e9),
    ("M", 1e6),
    ("k", 1e3),
    ("h", 1e2),
    ("d", 1e-1),
    ("c", 1e-2),
    ("m", 1e-3),
    ("u", 1e-6),
    ("µ", 1e-6),
    ("n", 1e-9),
    ("p", 1e-12),
    ("f", 1e-15),
    ("a", 1e-18),
    ("z", 1e-21),
    ("y", 1e-24),
];
