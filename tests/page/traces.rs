//! What traces show: that they move, the true values, the past from the store, spectra; and links to layouts.

use kymo_simulators::expected;
use serde_json::Value;

use super::browser::{Browser, key};
use super::lab::{LEVEL, Lab};

/// A day; the browser's clock shows UTC.
const DAY_NS: i64 = 86_400_000_000_000;

/// A number as the page writes it.
fn number(text: &str) -> Option<f64> {
    text.replace('−', "-").parse().ok()
}

/// Opens a layout by its link, in the page that is open, and waits for its values.
fn show(browser: &Browser, lab: &Lab, hash: &str) {
    browser.run(&format!("location.hash = {hash:?}"));
    browser.wait(
        "the layout is taken over",
        "return document.querySelectorAll('.pane').length > 0",
    );
    lab.wait_for_traces(browser);
}

/// Beginning and end of the time axis, in seconds; not until they are others than these.
fn range_after(browser: &Browser, before: (f64, f64)) -> (f64, f64) {
    let range = "const { from, to } = document.querySelector('#traces').dataset; return [Number(from), Number(to)]";
    browser.wait(
        "the axis shows another time",
        &format!(
            "const {{ from, to }} = document.querySelector('#traces').dataset; return Number(from) !== {:.6} || Number(to) !== {:.6}",
            before.0, before.1
        ),
    );
    let found = browser.run(range);
    (
        found[0].as_f64().expect("a time"),
        found[1].as_f64().expect("a time"),
    )
}

/// Seconds of the day, as the page writes a time.
fn of_day(clock: &str) -> f64 {
    let parts = clock.split(':').map(|part| part.parse::<f64>());
    parts.fold(0.0, |seconds, part| seconds * 60.0 + part.expect("a time"))
}

/// What the page shows of `chamber.pressure` under the crosshair: times in seconds of the day, and values.
fn shown(browser: &Browser) -> Vec<(f64, f64)> {
    browser.wait(
        "all that the screen can show is there",
        "return document.querySelector('#traces').getAttribute('aria-busy') === 'false'",
    );
    let [left, top, width, height] = browser.place(".u-over");
    let both = "return [document.querySelector('#cursor-text').textContent, document.querySelector('.legend output').textContent]";
    let look = |share: f64| {
        let before = browser.text("#cursor-text");
        #[allow(clippy::cast_possible_truncation)]
        let place = ((left + share * width) as i64, (top + height / 2.0) as i64);
        browser.hover(place);
        browser.wait(
            "the crosshair is told",
            &format!(
                "const text = document.querySelector('#cursor-text').textContent;
                 return text.startsWith('at ') && text !== {before:?} && document.querySelector('.legend output').textContent !== '–'"
            ),
        );
        let found = browser.run(both);
        let time = of_day(found[0].as_str().expect("a text").trim_start_matches("at "));
        let text = found[1].as_str().expect("a text");
        (
            time,
            number(text).unwrap_or_else(|| panic!("at {time}: {text}")),
        )
    };
    [0.05, 0.3, 0.5, 0.7, 0.95].map(look).to_vec()
}

/// The stored samples are what the simulator sent, and what was shown is what is stored.
#[track_caller]
fn expect_truth(lab: &Lab, seen: &[(f64, f64)]) {
    let stored = lab.stored("chamber.pressure");
    for (index, (_, value)) in (0_u64..).zip(&stored) {
        let truth = expected("pressure-interlock", 0, index, 1000.0, 0);
        assert_eq!(Some(*value), truth, "frame {index}");
    }
    for (time, value) in seen {
        #[allow(clippy::cast_precision_loss)]
        let distance = |sample: &&(i64, f64)| ((sample.0 % DAY_NS) as f64 / 1e9 - time).abs();
        let nearest = stored
            .iter()
            .min_by(|a, b| distance(a).total_cmp(&distance(b)));
        let (_, truth) = nearest.expect("samples are stored");
        // The signal moves by up to 1.6 bar/s, and a pixel is some milliseconds.
        assert!(
            (value - truth).abs() < 0.02,
            "at {time}: {value} is not {truth}"
        );
    }
}

#[test]
fn traces_move_and_show_the_true_values() {
    let Some(browser) = Browser::start(1920, 1080) else {
        return;
    };
    let mut lab = Lab::start();
    lab.open(&browser);
    let level = browser.text("output[data-channel='tank.level']");
    assert_eq!(number(&level), number(LEVEL), "{level}");
    browser.run("window.before = document.querySelector('canvas').toDataURL()");
    browser.wait(
        "the trace moves",
        "return document.querySelector('canvas').toDataURL() !== window.before",
    );
    show(&browser, &lab, "p=chamber.pressure&span=2");
    browser.wait("two seconds have passed", "return Number(document.querySelector('#acquired').textContent.replace(/\\D/g, '')) > 12000");
    browser.press(&[" "]);
    browser.wait(
        "it stands",
        "const now = document.querySelector('canvas').toDataURL(); const stands = window.before === now; window.before = now; return stands",
    );
    let seen = shown(&browser);
    browser.expect_quiet_console();
    lab.stop();
    expect_truth(&lab, &seen);
}

#[test]
fn panning_and_zooming_back_load_from_the_store_without_a_seam() {
    let Some(browser) = Browser::start(1280, 800) else {
        return;
    };
    let mut lab = Lab::start();
    lab.open(&browser);
    show(&browser, &lab, "p=chamber.pressure&span=1");
    browser.wait("the run is eight seconds old", "return Number(document.querySelector('#acquired').textContent.replace(/\\D/g, '')) > 40000");
    // Each press goes back by a quarter of the second that is shown; the live traces hold little more than two seconds.
    browser.press(&[key::LEFT; 20]);
    browser.wait(
        "the past is asked for",
        "return performance.getEntriesByType('resource').some((entry) => entry.name.includes('api/envelope'))",
    );
    let [left, top, width, height] = browser.place(".u-over");
    #[allow(clippy::cast_possible_truncation)]
    let middle = ((left + width / 2.0) as i64, (top + height / 2.0) as i64);
    let mut seen = shown(&browser);
    // Out with the wheel, over the seam between what was asked for and what was there, and in again with a drag.
    let (from, to) = range_after(&browser, (0.0, 0.0));
    browser.wheel(middle, 700);
    let (wide_from, wide_to) = range_after(&browser, (from, to));
    assert!(
        wide_to - wide_from > 1.5 * (to - from),
        "{wide_from} {wide_to}"
    );
    seen.extend(shown(&browser));
    browser.drag((middle.0 - 200, middle.1), (middle.0 + 100, middle.1));
    let (near_from, near_to) = range_after(&browser, (wide_from, wide_to));
    let share = 300.0 / width;
    let drawn = (near_to - near_from) / (wide_to - wide_from);
    assert!(
        (drawn - share).abs() < 0.05 * share,
        "{drawn} is not {share}"
    );
    seen.extend(shown(&browser));
    browser.expect_quiet_console();
    lab.stop();
    expect_truth(&lab, &seen);
}

#[test]
fn the_spectrum_has_its_peak_where_the_simulator_put_it() {
    let Some(browser) = Browser::start(1280, 800) else {
        return;
    };
    let lab = Lab::start();
    lab.open(&browser);
    show(&browser, &lab, "p=imu.ay&span=2");
    browser.wait("two seconds have passed", "return Number(document.querySelector('#acquired').textContent.replace(/\\D/g, '')) > 12000");
    browser.press(&["s"]);
    browser.wait(
        "a spectrum is shown",
        "return document.querySelector('#spectrum-peak').dataset.hz !== undefined",
    );
    let peak = browser.run("return Number(document.querySelector('#spectrum-peak').dataset.hz)");
    // `imu.ay` is a sine of 50 Hz.
    let hz = peak.as_f64().expect("a frequency");
    assert!((hz - 50.0).abs() < 1.0, "{hz}");
    assert_eq!(
        browser.run("return document.querySelectorAll('#spectrum-plot canvas').length"),
        1
    );
    browser.press(&[key::ESCAPE]);
    browser.wait(
        "it is closed",
        "return !document.querySelector('#spectrum-dialog').open",
    );
    browser.expect_quiet_console();
}

#[test]
fn a_shared_link_restores_the_layout() {
    let Some(browser) = Browser::start(1280, 800) else {
        return;
    };
    let lab = Lab::start();
    browser.open(&format!(
        "{}#p=chamber.pressure+tank.level@-1:25&p=imu.ay&span=60",
        lab.url
    ));
    lab.wait_for_traces(&browser);
    let layout = "return [[...document.querySelectorAll('.pane')].map((pane) => [...pane.querySelectorAll('.name')].map((name) => name.textContent)),
        document.querySelector('.pane .tools button:nth-child(2)').textContent, document.querySelector('[data-span][aria-pressed=true]').textContent]";
    let wanted: Value = serde_json::json!([
        [["chamber.pressure", "tank.level"], ["imu.ay"]],
        "fixed",
        "1 min"
    ]);
    assert_eq!(browser.run(layout), wanted);
    // What is changed is in the link, and the link alone brings it back.
    browser.click(".pane:last-child [aria-label='close pane']");
    browser.click("[data-span='10']");
    browser.wait(
        "the link says it",
        "return location.hash.endsWith('span=10') && !location.hash.includes('imu')",
    );
    let link = browser.run("return location.href");
    browser.open("about:blank");
    browser.open(link.as_str().expect("a link"));
    lab.wait_for_traces(&browser);
    let wanted = serde_json::json!([[["chamber.pressure", "tank.level"]], "fixed", "10 s"]);
    assert_eq!(browser.run(layout), wanted);
    browser.expect_quiet_console();
}
