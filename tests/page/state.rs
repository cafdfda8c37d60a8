//! What is told beside the traces: alerts, sources, the ledger, annotations, and the run's end.

use super::browser::{Browser, key};
use super::lab::Lab;

const RULE: &str = "#alerts [data-rule='overpressure']";

#[test]
fn an_alert_appears_is_acknowledged_and_silenced() {
    let Some(browser) = Browser::start(1920, 1080) else {
        return;
    };
    let lab = Lab::start();
    lab.open(&browser);
    let firing =
        format!("return document.querySelector(\"{RULE}\")?.classList.contains('firing') === true");
    browser.wait("the rule fires", &firing);
    browser.click(&format!("{RULE} [data-act='acknowledge']"));
    let acknowledged = format!(
        "return document.querySelector(\"{RULE} .status\").textContent.includes('acknowledged')"
    );
    browser.wait("it is acknowledged", &acknowledged);
    browser.wait(
        "it is marked on the axis and in the history",
        "return document.querySelector('.mark.alert') !== null && document.querySelector('#history').textContent.includes('overpressure')",
    );
    browser.click(&format!("{RULE} [data-act='silence']"));
    browser.click("#silence-dialog .main");
    let is_silenced = |word: &str| {
        format!(
            "return document.querySelector(\"{RULE} .status\").textContent.includes('silenced') === {word}"
        )
    };
    browser.wait("it is silenced", &is_silenced("true"));
    browser.click(&format!("{RULE} [data-act='unsilence']"));
    browser.wait("it is not any more", &is_silenced("false"));
    browser.expect_quiet_console();
}

#[test]
fn a_disconnected_device_is_shown_and_comes_back() {
    let Some(browser) = Browser::start(1920, 1080) else {
        return;
    };
    let mut lab = Lab::start();
    lab.open(&browser);
    let state = |word: &str| {
        format!(
            "return document.querySelector(\"#sources [data-key='tank'] .status\").textContent.endsWith(' {word}')"
        )
    };
    browser.wait("it is connected", &state("connected"));
    lab.unplug();
    browser.wait("it is gone", &state("disconnected"));
    browser.wait(
        "why is said",
        "return document.querySelector('#source-errors').textContent.startsWith('tank: ')",
    );
    lab.replug();
    browser.wait("it is back", &state("connected"));
    browser.wait(
        "both are in the history",
        "const text = document.querySelector('#history').textContent;
         return text.includes('tank: no connection') && text.includes('tank: connected')",
    );
    browser.wait(
        "the ledger balances",
        "return document.querySelector('#balance').textContent.endsWith(' balanced')",
    );
    browser.expect_quiet_console();
}

#[test]
fn an_annotation_appears_where_it_was_put() {
    let Some(browser) = Browser::start(1280, 800) else {
        return;
    };
    let lab = Lab::start();
    lab.open(&browser);
    browser.press(&["n"]);
    browser.wait(
        "the dialog is open",
        "return document.querySelector('#annotate-dialog').open",
    );
    // While something is typed, letters are no shortcuts.
    browser.write("#annotate-text", "pump <b>on</b> ?");
    browser.press(&[key::ENTER]);
    browser.wait(
        "the dialog is closed",
        "return !document.querySelector('#annotate-dialog').open",
    );
    browser.wait(
        "it is in the history, as it was typed, and on the axis",
        "return document.querySelector('#history').textContent.includes('pump <b>on</b> ?') && document.querySelector('.mark.note') !== null",
    );
    browser.expect_quiet_console();
}

#[test]
fn the_end_of_the_run_is_said() {
    let Some(browser) = Browser::start(1280, 800) else {
        return;
    };
    let mut lab = Lab::start();
    lab.open(&browser);
    assert_eq!(
        browser.run("return document.querySelector('#banner').hidden"),
        true
    );
    browser.expect_quiet_console();
    lab.stop();
    browser.wait(
        "it is said",
        "return !document.querySelector('#banner').hidden",
    );
    let said = browser.text("#banner");
    assert!(
        said.contains("cannot be reached") || said.contains("stopped"),
        "{said}"
    );
}
