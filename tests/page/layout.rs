//! How the page lies on screens of different sizes, and how it is used without a pointer.

use serde_json::{Value, json};

use super::browser::{Browser, key};
use super::lab::Lab;

/// What is wrong with the layout: things that stick out, and things of one kind that lie over each other.
const FAULTS: &str = r#"
const faults = [];
if (document.documentElement.scrollWidth > innerWidth) faults.push(`the page is ${document.documentElement.scrollWidth} wide`);
const visible = (e) => e.checkVisibility() && e.getBoundingClientRect().width > 0;
const name = (e) => `${e.tagName}#${e.id}.${e.className} "${e.textContent.slice(0, 24)}"`;
for (const e of document.querySelectorAll('button, output, h1, h2, td, th, dd, .legend li, .pane, #panels > section, .status')) {
  if (!visible(e) || e.closest('.strip, dialog') || e.classList.contains('skip')) continue;
  const r = e.getBoundingClientRect();
  if (r.right > innerWidth + 0.5 || r.left < -0.5) faults.push(`${name(e)} sticks out: ${r.left} to ${r.right}`);
}
const apart = (selector) => {
  const found = [...document.querySelectorAll(selector)].filter(visible);
  for (const [i, a] of found.entries()) for (const b of found.slice(i + 1)) {
    if (a.contains(b) || b.contains(a)) continue;
    const [p, q] = [a.getBoundingClientRect(), b.getBoundingClientRect()];
    // Neighbours may share a border of one pixel.
    if (p.left < q.right - 1.5 && q.left < p.right - 1.5 && p.top < q.bottom - 1.5 && q.top < p.bottom - 1.5) faults.push(`${name(a)} lies over ${name(b)}`);
  }
};
apart('.top button, .top h1, #run-state, #run-about');
apart('.pane .tools button, .legend li');
apart('.pane, .strip, .axisline, .top, #panels');
apart('#panels h2, #panels table, #panels .ledger div, #panels .alert, #history > li');
apart('#sources th > span, #sources td, #latencies td, #sinks td');
apart('#alerts .actions button, #alerts .line > span, #alerts .detail');
return faults;
"#;

#[test]
fn the_layout_holds_on_a_screen_and_on_a_phone_in_light_and_dark() {
    let Some(browser) = Browser::start(1920, 1080) else {
        return;
    };
    let lab = Lab::start();
    lab.open(&browser);
    for (width, height) in [(1920, 1080), (1024, 768), (400, 850), (2560, 1440)] {
        for theme in ["light", "dark"] {
            browser.resize(width, height);
            let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": theme }] });
            browser.chromium("Emulation.setEmulatedMedia", &media);
            let is_themed = format!(
                "return document.documentElement.dataset.theme === '{theme}' && innerWidth === {width}"
            );
            browser.wait("it is that size and colour", &is_themed);
            lab.wait_for_traces(&browser);
            browser.wait(
                "the plots fill their panes",
                "return [...document.querySelectorAll('.plot')].every((plot) => Math.abs(plot.querySelector('.uplot').clientWidth - plot.clientWidth) < 2)",
            );
            let faults = browser.run(FAULTS);
            assert_eq!(faults, json!([]), "at {width} pixels, {theme}");
        }
    }
    browser.expect_quiet_console();
}

#[test]
fn everything_is_done_with_the_keyboard() {
    let Some(browser) = Browser::start(1280, 800) else {
        return;
    };
    let lab = Lab::start();
    lab.open(&browser);
    let follow = "return document.querySelector('#follow').textContent";
    browser.press(&[" "]);
    assert_eq!(browser.run(follow), "Follow");
    let moved = "const to = Number(document.querySelector('#traces').dataset.to); const by = window.before - to; return Math.abs(by - 2.5) < 0.01";
    browser.wait("it stands", "const to = Number(document.querySelector('#traces').dataset.to); const stands = window.before === to; window.before = to; return stands");
    browser.press(&[key::LEFT]);
    browser.wait("it is a quarter of ten seconds further back", moved);
    browser.press(&[" "]);
    assert_eq!(browser.run(follow), "Pause");
    browser.press(&["1"]);
    assert_eq!(
        browser
            .run("return document.querySelector(\"[data-span='1']\").getAttribute('aria-pressed')"),
        "true"
    );
    browser.press(&["?"]);
    let is_open = "return document.querySelector('#help-dialog').open";
    assert_eq!(browser.run(is_open), true);
    browser.press(&[key::ESCAPE]);
    browser.wait(
        "it is closed",
        "return !document.querySelector('#help-dialog').open",
    );
    let theme = "return document.documentElement.dataset.theme";
    let before = browser.run(theme);
    browser.press(&["t"]);
    assert_ne!(browser.run(theme), before);
    // Whatever Tab comes to can be seen to have the focus, and has a name.
    browser.run("document.activeElement.blur()");
    for step in 0..25 {
        browser.press(&[key::TAB]);
        let focused = browser.run(
            "const e = document.activeElement; const s = getComputedStyle(e);
             return [e.tagName, s.outlineStyle !== 'none', (e.getAttribute('aria-label') ?? e.textContent).trim() !== '']",
        );
        if focused[0] == "BODY" {
            break;
        }
        assert_eq!(
            (&focused[1], &focused[2]),
            (&Value::Bool(true), &Value::Bool(true)),
            "step {step}: {focused}"
        );
    }
    browser.expect_quiet_console();
}
