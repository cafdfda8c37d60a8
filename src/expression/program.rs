//! The compiled form: a list of steps over registers, each a stretch of values that stays in the first-level cache.
//!
//! **Logic with three values.** A condition is 1, 0 or NaN, which is "not known": whatever compares with NaN is not
//! known, `false and unknown` is false, `true or unknown` is true (Kleene's strong logic). So a rule
//! over a value that is missing is neither true nor false, and its state stays as it is.

use super::Columns;
use super::check::{Binary, Node, Unary};
use super::state::State;

/// Values handled at a time: 4 KiB a register.
const STRETCH: usize = 512;

#[derive(Debug, Clone, Copy)]
enum Operand {
    Register(usize),
    Channel(usize),
    Constant(f64),
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Into a register.
    Load(usize, Operand),
    Unary(usize, Unary),
    Binary(usize, Binary, Operand),
    Affine(usize, f64, f64),
    /// Condition in the register, choices in the next two.
    Select(usize),
    /// A state fed with the register's values.
    Follow(usize, usize),
    /// A state fed with a channel's own samples; into a register.
    FollowChannel {
        register: usize,
        state: usize,
        channel: usize,
    },
}

/// Steps, and the memory they need.
#[derive(Debug, Clone)]
pub(super) struct Program {
    steps: Vec<Step>,
    registers: Vec<Vec<f64>>,
    /// How far each state has come in its channel's samples.
    done: Vec<usize>,
}

impl Program {
    pub(super) fn new(node: &Node, states: usize) -> Self {
        let mut program = Self {
            steps: Vec::new(),
            registers: Vec::new(),
            done: vec![0; states],
        };
        let deepest = program.compile(node, 0);
        program.registers = vec![vec![0.0; STRETCH]; deepest + 1];
        program
    }

    /// Steps that leave a node's value in a register; the highest register used.
    fn compile(&mut self, node: &Node, to: usize) -> usize {
        match node {
            Node::Constant(value) => {
                self.steps.push(Step::Load(to, Operand::Constant(*value)));
                to
            }
            Node::Channel(channel) => {
                self.steps.push(Step::Load(to, Operand::Channel(*channel)));
                to
            }
            Node::Unary(operation, of) => {
                let deepest = self.compile(of, to);
                self.steps.push(Step::Unary(to, *operation));
                deepest
            }
            Node::Affine { of, scale, offset } => {
                let deepest = self.compile(of, to);
                self.steps.push(Step::Affine(to, *scale, *offset));
                deepest
            }
            Node::Binary(operation, a, b) => {
                let left = self.compile(a, to);
                let (operand, right) = match **b {
                    Node::Constant(value) => (Operand::Constant(value), to),
                    Node::Channel(channel) => (Operand::Channel(channel), to),
                    _ => (Operand::Register(to + 1), self.compile(b, to + 1)),
                };
                self.steps.push(Step::Binary(to, *operation, operand));
                left.max(right)
            }
            Node::Select { condition, yes, no } => {
                let first = self.compile(condition, to);
                let second = self.compile(yes, to + 1);
                let third = self.compile(no, to + 2);
                self.steps.push(Step::Select(to));
                first.max(second).max(third)
            }
            Node::State { state, of } => {
                if let Node::Channel(channel) = **of {
                    let (register, state) = (to, *state);
                    self.steps.push(Step::FollowChannel {
                        register,
                        state,
                        channel,
                    });
                    return to;
                }
                let deepest = self.compile(of, to);
                self.steps.push(Step::Follow(to, *state));
                deepest
            }
        }
    }

    /// One value for each moment.
    pub(super) fn run(&mut self, states: &mut [State], columns: &Columns<'_>, out: &mut [f64]) {
        self.done.fill(0);
        let times_ns = &columns.times_ns[..out.len().min(columns.times_ns.len())];
        let mut from = 0;
        for (times_ns, out) in times_ns.chunks(STRETCH).zip(out.chunks_mut(STRETCH)) {
            let stretch = Stretch {
                times_ns,
                columns,
                from,
            };
            for step in &self.steps {
                stretch.step(*step, &mut self.registers, states, &mut self.done);
            }
            out.copy_from_slice(&self.registers[0][..out.len()]);
            from += times_ns.len();
        }
        // What came behind the last moment belongs to the next.
        for step in &self.steps {
            if let Step::FollowChannel { state, channel, .. } = *step {
                let column = &columns.inputs[channel];
                let left = self.done[state].min(column.times_ns.len());
                for (time_ns, value) in column.times_ns[left..].iter().zip(&column.values[left..]) {
                    states[state].push(*time_ns, *value);
                }
            }
        }
    }
}

struct Stretch<'s> {
    times_ns: &'s [i64],
    columns: &'s Columns<'s>,
    /// Its place among all moments.
    from: usize,
}

impl Stretch<'_> {
    fn channel(&self, channel: usize) -> &[f64] {
        &self.columns.inputs[channel].aligned[self.from..][..self.times_ns.len()]
    }

    fn step(
        &self,
        step: Step,
        registers: &mut [Vec<f64>],
        states: &mut [State],
        done: &mut [usize],
    ) {
        let len = self.times_ns.len();
        match step {
            Step::Load(to, Operand::Constant(value)) => registers[to][..len].fill(value),
            Step::Load(to, Operand::Channel(channel)) => {
                registers[to][..len].copy_from_slice(self.channel(channel));
            }
            Step::Load(to, Operand::Register(from)) => {
                let (low, high) = registers.split_at_mut(from);
                low[to][..len].copy_from_slice(&high[0][..len]);
            }
            Step::Unary(on, operation) => operation.run(&mut registers[on][..len]),
            Step::Affine(on, scale, offset) => {
                for x in &mut registers[on][..len] {
                    *x = *x * scale + offset;
                }
            }
            Step::Binary(on, operation, operand) => {
                let (low, high) = registers.split_at_mut(on + 1);
                let x = &mut low[on][..len];
                match operand {
                    Operand::Constant(y) => operation.run_constant(x, y),
                    Operand::Channel(channel) => operation.run(x, self.channel(channel)),
                    Operand::Register(from) => operation.run(x, &high[from - on - 1][..len]),
                }
            }
            Step::Select(on) => {
                let (low, high) = registers.split_at_mut(on + 1);
                let choices = high[0][..len].iter().zip(&high[1][..len]);
                for (x, (yes, no)) in low[on][..len].iter_mut().zip(choices) {
                    *x = if x.is_nan() {
                        f64::NAN
                    } else if *x != 0.0 {
                        *yes
                    } else {
                        *no
                    };
                }
            }
            Step::Follow(on, state) => {
                let state = &mut states[state];
                for (x, time_ns) in registers[on][..len].iter_mut().zip(self.times_ns) {
                    state.push(*time_ns, *x);
                    *x = state.at(*time_ns);
                }
            }
            Step::FollowChannel {
                register,
                state: place,
                channel,
            } => {
                let state = &mut states[place];
                let column = &self.columns.inputs[channel];
                let mut next = done[place];
                for (x, now_ns) in registers[register][..len].iter_mut().zip(self.times_ns) {
                    while next < column.times_ns.len() && column.times_ns[next] <= *now_ns {
                        state.push(column.times_ns[next], column.values[next]);
                        next += 1;
                    }
                    *x = state.at(*now_ns);
                }
                done[place] = next;
            }
        }
    }
}

/// A truth, of three.
#[inline(always)]
fn truth(known: bool, is: bool) -> f64 {
    if known {
        f64::from(u8::from(is))
    } else {
        f64::NAN
    }
}

impl Unary {
    #[inline(always)]
    pub(super) fn apply(self, x: f64) -> f64 {
        match self {
            Self::Negate => -x,
            Self::Not => 1.0 - x,
            Self::Known => f64::from(u8::from(!x.is_nan())),
            Self::Absolute => x.abs(),
            Self::Root => x.sqrt(),
            Self::Exponential => x.exp(),
            Self::Logarithm => x.ln(),
            Self::Logarithm10 => x.log10(),
            Self::Logarithm2 => x.log2(),
            Self::Sine => x.sin(),
            Self::Cosine => x.cos(),
            Self::Tangent => x.tan(),
            Self::ArcSine => x.asin(),
            Self::ArcCosine => x.acos(),
            Self::ArcTangent => x.atan(),
            Self::HyperbolicSine => x.sinh(),
            Self::HyperbolicCosine => x.cosh(),
            Self::HyperbolicTangent => x.tanh(),
            Self::Floor => x.floor(),
            Self::Ceiling => x.ceil(),
            Self::Round => x.round(),
            Self::Sign => {
                if x == 0.0 {
                    0.0
                } else {
                    x.signum()
                }
            }
        }
    }

    /// The choice is made once, outside of the loop, so that each loop can become vector instructions.
    #[rustfmt::skip]
    fn run(self, values: &mut [f64]) {
        macro_rules! each {
            ($($operation:ident)*) => {
                match self {
                    $(Self::$operation => for x in values { *x = Self::$operation.apply(*x); },)*
                }
            };
        }
        each!(Negate Not Known Absolute Root Exponential Logarithm Logarithm10 Logarithm2 Sine Cosine Tangent
            ArcSine ArcCosine ArcTangent HyperbolicSine HyperbolicCosine HyperbolicTangent Floor Ceiling Round Sign);
    }
}

macro_rules! each_pair {
    ($self:ident, $x:ident, $y:expr, $with:ident; $($operation:ident)*) => {
        match $self {
            $(Self::$operation => $with($x, $y, |x, y| Self::$operation.apply(x, y)),)*
        }
    };
}

fn with_column(values: &mut [f64], others: &[f64], make: impl Fn(f64, f64) -> f64) {
    for (x, y) in values.iter_mut().zip(others) {
        *x = make(*x, *y);
    }
}

fn with_constant(values: &mut [f64], y: f64, make: impl Fn(f64, f64) -> f64) {
    for x in values {
        *x = make(*x, y);
    }
}

impl Binary {
    #[inline(always)]
    pub(super) fn apply(self, x: f64, y: f64) -> f64 {
        let known = !(x.is_nan() | y.is_nan());
        match self {
            Self::Add => x + y,
            Self::Subtract => x - y,
            Self::Multiply => x * y,
            Self::Divide => x / y,
            Self::Remainder => x % y,
            Self::Power => x.powf(y),
            Self::Less => truth(known, x < y),
            Self::LessEqual => truth(known, x <= y),
            Self::Greater => truth(known, x > y),
            Self::GreaterEqual => truth(known, x >= y),
            Self::Equal => truth(known, x == y),
            Self::NotEqual => truth(known, x != y),
            Self::And => {
                if x == 0.0 || y == 0.0 {
                    0.0
                } else {
                    truth(known, true)
                }
            }
            Self::Or => {
                // NaN is not above 0.
                if x > 0.0 || y > 0.0 {
                    1.0
                } else {
                    truth(known, false)
                }
            }
            Self::Least => {
                if known {
                    x.min(y)
                } else {
                    f64::NAN
                }
            }
            Self::Greatest => {
                if known {
                    x.max(y)
                } else {
                    f64::NAN
                }
            }
            Self::Hypotenuse => x.hypot(y),
            Self::ArcTangent2 => x.atan2(y),
            Self::Coalesce => {
                if x.is_nan() {
                    y
                } else {
                    x
                }
            }
        }
    }

    #[rustfmt::skip]
    fn run(self, values: &mut [f64], others: &[f64]) {
        each_pair!(self, values, others, with_column;
            Add Subtract Multiply Divide Remainder Power Less LessEqual Greater GreaterEqual Equal NotEqual
            And Or Least Greatest Hypotenuse ArcTangent2 Coalesce);
    }

    #[rustfmt::skip]
    fn run_constant(self, values: &mut [f64], y: f64) {
        if self == Self::Power && y == 2.0 {
            // The square needs no logarithm.
            return with_constant(values, y, |x, _| x * x);
        }
        each_pair!(self, values, y, with_constant;
            Add Subtract Multiply Divide Remainder Power Less LessEqual Greater GreaterEqual Equal NotEqual
            And Or Least Greatest Hypotenuse ArcTangent2 Coalesce);
    }
}
