//! Any answer to any batch has a verdict, and what it says of lines is true of the batch.

#![no_main]

use kymo::sink::batch::Lines;
use kymo::sink::influx::answer::{Answer, Refused, Verdict, judge};
use kymo_fuzz::Choices;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (mut choices, body) = Choices::split(data, 48);
    let mut lines = Lines::default();
    for number in 0..choices.below(6) {
        lines.text.extend_from_slice(format!("m a={} {number}\n", choices.below(3)).as_bytes());
        lines.end_line(1);
    }
    let sent = lines.take();
    let retry_after: Vec<u8> = (0..choices.below(30)).map(|_| choices.byte()).collect();
    let status = choices.one_of(&[200, 201, 204, 301, 400, 401, 404, 408, 413, 422, 429, 500, 503]);
    let answer = Answer {
        status,
        retry_after: Some(String::from_utf8_lossy(&retry_after).into_owned()),
        location: None,
        content_type: choices.flag().then(|| "text/html".to_owned()),
        body: body.to_vec(),
        is_whole: choices.flag(),
    };
    match judge(&answer, &sent, 1_795_420_800) {
        Verdict::Refused(Refused::Lines { lines, .. }) => {
            assert!(!lines.is_empty() && lines.len() < sent.lines());
            assert!(lines.keys().all(|line| *line < sent.lines()));
            let numbers: Vec<usize> = lines.keys().copied().collect();
            let (bad, good) = sent.part(&numbers);
            assert_eq!(bad.lines(), lines.len());
            assert_eq!(bad.lines() + good.lines(), sent.lines());
        }
        Verdict::Refused(Refused::Some(_)) => assert!(sent.lines() > 1),
        _ => {}
    }
});
