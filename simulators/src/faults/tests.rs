//! The layer alone: what it says it did is what it did, and it does the same again.

use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000_000;

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn layer(kind: FaultKind, when: When, seed: u64) -> Faults {
    Faults::new(&[Fault { kind, when }], seed, 1.0)
}

fn frame(index: u64) -> Vec<u8> {
    (0..20_u64).map(|place| (index * 7 + place) as u8).collect()
}

/// Frames of 1 kHz, each with what was done to it.
fn strike_all(faults: &mut Faults, count: u64) -> Vec<(Vec<u8>, Vec<Hit>)> {
    let one = |index| {
        let (mut bytes, mut hits) = (frame(index), Vec::new());
        faults.strike(index, index * MS, &mut bytes, 0, &mut hits);
        (bytes, hits)
    };
    (0..count).map(one).collect()
}

/// The frame before, by what is told of what was done to it.
fn is_told(original: &[u8], sent: &[u8], hit: &Hit) -> bool {
    match FAULTS[hit.kind] {
        "byte_loss" => {
            let kept = original.iter().enumerate();
            let kept = kept.filter(|(place, _)| !hit.places.contains(place));
            kept.map(|(_, byte)| *byte).eq(sent.iter().copied())
        }
        "bit_flips" => {
            let changed = original.iter().zip(sent).enumerate();
            original.len() == sent.len()
                && changed.into_iter().all(|(place, (before, after))| {
                    let bits = (before ^ after).count_ones();
                    bits == u32::from(hit.places.contains(&place))
                })
        }
        "doubled_bytes" => {
            let doubled = original.iter().enumerate().flat_map(|(place, byte)| {
                std::iter::repeat_n(*byte, 1 + usize::from(hit.places.contains(&place)))
            });
            doubled.eq(sent.iter().copied())
        }
        "truncated_frames" => {
            hit.places == [sent.len()]
                && original.starts_with(sent)
                && hit.bytes == original.len() - sent.len()
                && !sent.is_empty()
        }
        "burst" => sent.ends_with(original) && sent.len() == original.len() + hit.bytes,
        _ => false,
    }
}

fn frame_kind() -> impl Strategy<Value = FaultKind> {
    prop_oneof![
        (1..30_u32).prop_map(FaultKind::ByteLoss),
        (1..30_u32).prop_map(FaultKind::BitFlips),
        (1..30_u32).prop_map(FaultKind::DoubledBytes),
        Just(FaultKind::TruncatedFrames),
        (1..100_u32).prop_map(FaultKind::Burst),
    ]
}

fn when() -> impl Strategy<Value = When> {
    let rhythm = prop_oneof![
        (0..100_u64).prop_map(|at| Rhythm::At(ms(at))),
        (0..50_u64, 1..50_u64).prop_map(|(first, period)| Rhythm::Every(ms(first), ms(period))),
        (1..50_u64).prop_map(|mean| Rhythm::MeanEvery(ms(mean))),
    ];
    (rhythm, 0..3, 0.0..=1.0).prop_map(|(rhythm, kind, probability)| match kind {
        0 => When::Always(probability),
        1 => When::Each(rhythm),
        _ => When::Within(rhythm, ms(10), probability),
    })
}

proptest! {
    #[test]
    fn what_is_told_is_what_was_done_and_the_same_seed_does_it_again(
        kind in frame_kind(), when in when(), seed in 0..1000_u64
    ) {
        let mut faults = layer(kind.clone(), when.clone(), seed);
        let all = strike_all(&mut faults, 100);
        for (index, (sent, hits)) in (0..).zip(&all) {
            prop_assert!(hits.len() <= 1);
            prop_assert!(!sent.is_empty());
            match hits.first() {
                None => prop_assert_eq!(sent, &frame(index)),
                Some(hit) => prop_assert!(is_told(&frame(index), sent, hit), "{:?} {:?}", hit, sent),
            }
        }
        let again = strike_all(&mut layer(kind, when, seed), 100);
        prop_assert_eq!(all, again);
    }
}

/// The frames that were hit.
fn hit_frames(faults: &mut Faults, count: u64) -> Vec<u64> {
    let all = strike_all(faults, count);
    let hit = (0..)
        .zip(all)
        .filter_map(|(index, (_, hits))| (!hits.is_empty()).then_some(index));
    hit.collect()
}

#[test]
fn what_is_scheduled_comes_on_time_once_each() {
    let cut = FaultKind::TruncatedFrames;
    let each = |rhythm| When::Each(rhythm);
    let mut once = layer(cut.clone(), each(Rhythm::At(ms(30))), 1);
    assert_eq!(hit_frames(&mut once, 100), [30]);
    let mut every = layer(cut.clone(), each(Rhythm::Every(ms(10), ms(40))), 1);
    assert_eq!(hit_frames(&mut every, 100), [10, 50, 90]);
    let window = When::Within(Rhythm::Every(ms(10), ms(50)), ms(3), 1.0);
    let mut windows = layer(cut, window, 1);
    assert_eq!(hit_frames(&mut windows, 100), [10, 11, 12, 60, 61, 62]);
}

#[test]
fn what_comes_by_chance_comes_as_often_as_asked_for() {
    let each = When::Each(Rhythm::MeanEvery(ms(50)));
    let moments = hit_frames(&mut layer(FaultKind::BitFlips(1), each, 3), 100_000).len();
    assert!((1_800..2_150).contains(&moments), "{moments}");
    // Each of 20 bytes: 100 000 * 20 * 0.001.
    let always = When::Always(0.001);
    let all = strike_all(&mut layer(FaultKind::ByteLoss(1), always, 3), 100_000);
    let bytes: usize = all
        .iter()
        .flat_map(|(_, hits)| hits)
        .map(|hit| hit.bytes)
        .sum();
    assert!((1_850..2_150).contains(&bytes), "{bytes}");
    let other = When::Each(Rhythm::MeanEvery(ms(50)));
    let by = |seed| {
        hit_frames(
            &mut layer(FaultKind::BitFlips(1), other.clone(), seed),
            1000,
        )
    };
    assert_ne!(by(3), by(4));
}

#[test]
fn two_faults_of_a_kind_do_not_throw_the_same_dice() {
    let one = Fault {
        kind: FaultKind::TruncatedFrames,
        when: When::Always(0.5),
    };
    let mut faults = Faults::new(&[one.clone(), one], 7, 1.0);
    let counts: Vec<usize> = strike_all(&mut faults, 1000)
        .iter()
        .map(|(_, hits)| hits.len())
        .collect();
    let twice = counts.iter().filter(|count| **count == 2).count();
    assert!((180..320).contains(&twice), "{twice}");
}

#[test]
fn what_is_due_while_nobody_is_there_happens_to_nobody() {
    let every = When::Each(Rhythm::Every(ms(10), ms(10)));
    let mut faults = layer(FaultKind::CounterJump(5), every, 0);
    assert_eq!(faults.begin(5, 5 * MS), None);
    faults.pass(39 * MS);
    assert_eq!(faults.begin(39, 39 * MS), None);
    assert_eq!(faults.begin(40, 40 * MS), Some((5, Begin::Jump(5))));
    assert_eq!(faults.begin(40, 40 * MS), None);
}

#[test]
fn a_clock_drifts_for_its_time_and_is_right_again() {
    let at = When::Each(Rhythm::At(ms(10)));
    let kind = FaultKind::ClockDrift(1_000.0, Some(ms(20)));
    let mut faults = Faults::new(&[Fault { kind, when: at }], 0, 1.5);
    assert_eq!(faults.begin(0, 9 * MS), None);
    let Some((_, Begin::Drift(slow))) = faults.begin(0, 10 * MS) else {
        panic!("it is due");
    };
    assert!((slow - 1.5 * 1.001).abs() < 1e-12);
    assert_eq!(faults.begin(0, 29 * MS), None);
    assert_eq!(faults.begin(0, 30 * MS), Some((8, Begin::Drift(1.5))));
    assert_eq!(faults.begin(0, 99 * MS), None);
}

#[test]
fn answers_are_late_wrong_and_missing() {
    let list = [
        (FaultKind::LateAnswers(ms(3)), When::Always(1.0)),
        (FaultKind::WrongAnswers, When::Each(Rhythm::At(ms(2)))),
        (FaultKind::MissingAnswers, When::Each(Rhythm::At(ms(4)))),
    ];
    let list = list.map(|(kind, when)| Fault { kind, when });
    let mut faults = Faults::new(&list, 0, 1.0);
    let told: Vec<Answer> = (0..5).map(|n| faults.answer(n, n * MS)).collect();
    assert!(told.iter().all(|answer| answer.late == ms(3)));
    let wrong: Vec<bool> = told.iter().map(|answer| answer.is_wrong).collect();
    assert_eq!(wrong, [false, false, true, false, false]);
    assert!(told[4].is_missing && !told[3].is_missing);
}

#[test]
fn each_kind_has_its_name_in_its_place() {
    let kinds = [
        FaultKind::ByteLoss(1),
        FaultKind::BitFlips(1),
        FaultKind::DoubledBytes(1),
        FaultKind::TruncatedFrames,
        FaultKind::Burst(1),
        FaultKind::CounterJump(1),
        FaultKind::Stall(ms(1)),
        FaultKind::Disconnect(ms(1)),
        FaultKind::ClockDrift(1.0, None),
        FaultKind::Flood(ms(1)),
        FaultKind::LateAnswers(ms(1)),
        FaultKind::WrongAnswers,
        FaultKind::MissingAnswers,
    ];
    let names: Vec<&str> = kinds.iter().map(FaultKind::name).collect();
    assert_eq!(names, FAULTS);
}
