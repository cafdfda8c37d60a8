//! The live page in a browser: headless Chromium, driven over WebDriver, looks at runs of the whole program.
//!
//! Without `chromium` and `chromedriver` on PATH the tests say that they are skipped; with `KYMO_REQUIRE_SERVERS=1`
//! that is a failure.

mod browser;
mod lab;
mod layout;
mod state;
mod traces;
