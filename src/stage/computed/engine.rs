//! Machines, and who feeds which.

use std::collections::VecDeque;

use kymo_drivers::block::{Block, SourceId};

use super::machine::{Machine, MachineOptions, Ready, Watermark};

/// Machines by the lanes that they look at.
pub(super) struct Engine {
    machines: Vec<Machine>,
    /// By source, then lane: machine and its input.
    routes: Vec<Vec<Vec<(usize, usize)>>>,
    /// What the machines gave.
    pub(super) ready: VecDeque<Ready>,
}

impl Engine {
    pub(super) fn new(machines: Vec<MachineOptions>) -> Self {
        let machines: Vec<Machine> = machines.into_iter().map(Machine::new).collect();
        let mut routes: Vec<Vec<Vec<(usize, usize)>>> = Vec::new();
        for (index, machine) in machines.iter().enumerate() {
            for (input, lane) in machine.inputs().iter().enumerate() {
                let (source, number) = (usize::from(lane.source.0), usize::from(lane.lane));
                if routes.len() <= source {
                    routes.resize_with(source + 1, Vec::new);
                }
                if routes[source].len() <= number {
                    routes[source].resize_with(number + 1, Vec::new);
                }
                routes[source][number].push((index, input));
            }
        }
        Self {
            machines,
            routes,
            ready: VecDeque::new(),
        }
    }

    /// Nothing is lost for want of a block, whatever the machines' bounds are.
    pub(super) fn keep_all(&mut self) {
        self.machines.iter_mut().for_each(Machine::keep_all);
    }

    fn route(&self, source: SourceId, lane: u8) -> &[(usize, usize)] {
        let lanes = self.routes.get(usize::from(source.0));
        lanes
            .and_then(|lanes| lanes.get(usize::from(lane)))
            .map_or(&[], Vec::as_slice)
    }

    /// Whether any machine looks at a lane.
    pub(super) fn watches(&self, source: SourceId, lane: u8) -> bool {
        !self.route(source, lane).is_empty()
    }

    /// The lanes that machines make.
    pub(super) fn made(&self) -> impl Iterator<Item = (SourceId, u8)> {
        self.machines.iter().map(Machine::output)
    }

    pub(super) fn feed(&mut self, block: &Block) {
        for index in 0..self.route(block.source, block.lane).len() {
            let (machine, input) = self.route(block.source, block.lane)[index];
            self.machines[machine].feed(input, block, &mut self.ready);
        }
    }

    pub(super) fn advance(&mut self, mark: Watermark) {
        for index in 0..self.route(mark.source, mark.lane).len() {
            let (machine, input) = self.route(mark.source, mark.lane)[index];
            self.machines[machine].advance(input, mark, &mut self.ready);
        }
    }

    /// Frames that came too late for what they belong to.
    pub(super) fn late_frames(&self) -> u64 {
        self.machines.iter().map(Machine::late_frames).sum()
    }
}
