//! A browser by the WebDriver protocol (W3C, "WebDriver"): as much of it as the tests need, over plain HTTP on loopback.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Longer than anything here takes on a machine that is busy with something else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A browser is heavy: one at a time.
static ONE: Mutex<()> = Mutex::new(());

/// Keys by the numbers that WebDriver gives them.
pub(crate) mod key {
    pub(crate) const ESCAPE: &str = "\u{E00C}";
    pub(crate) const LEFT: &str = "\u{E012}";
    pub(crate) const ENTER: &str = "\u{E007}";
    pub(crate) const TAB: &str = "\u{E004}";
}

/// One window of a Chromium of its own, with an empty profile. Its clock shows UTC.
pub(crate) struct Browser {
    driver: Child,
    port: u16,
    session: String,
    _turn: MutexGuard<'static, ()>,
}

fn is_there(program: &str) -> bool {
    let asked = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success())
}

impl Browser {
    /// Starts one, if there is one, with a window of this size.
    pub(crate) fn start(width: u32, height: u32) -> Option<Self> {
        if !(is_there("chromedriver") && is_there("chromium")) {
            let is_required = std::env::var("KYMO_REQUIRE_SERVERS").is_ok_and(|value| value == "1");
            assert!(!is_required, "chromium or chromedriver is not on PATH");
            #[allow(clippy::print_stderr)]
            {
                eprintln!("skipped: chromium or chromedriver is not on PATH");
            }
            return None;
        }
        let turn = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver can be started");
        let said = BufReader::new(driver.stdout.take().expect("its output"));
        let port = said.lines().map_while(Result::ok).find_map(|line| {
            let (_, rest) = line.split_once("started successfully on port ")?;
            rest.trim_end_matches('.').parse().ok()
        });
        let mut browser = Self {
            driver,
            port: port.expect("chromedriver says its port"),
            session: String::new(),
            _turn: turn,
        };
        // As root, as in a container, Chromium has no sandbox; nothing but our own page is opened.
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--force-device-scale-factor=1",
        ];
        let wishes = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "args": arguments },
        } } });
        let made = browser.call("POST", "/session", &wishes);
        let id = made["sessionId"].as_str().expect("a session");
        browser.session = format!("/session/{id}");
        browser.resize(width, height);
        Some(browser)
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let exchanged = self.exchange(method, path, body);
        let (status, answer) = exchanged.expect("chromedriver answers");
        assert_eq!(status, 200, "{method} {path} {body}: {answer}");
        answer["value"].clone()
    }

    fn exchange(&self, method: &str, path: &str, body: &Value) -> std::io::Result<(u16, Value)> {
        let body = if method == "POST" {
            body.to_string()
        } else {
            String::new()
        };
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(2 * PATIENCE))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.port,
            body.len()
        )?;
        let mut answer = BufReader::new(stream);
        let mut line = String::new();
        answer.read_line(&mut line)?;
        let wrong = || std::io::Error::other("no HTTP");
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(wrong)?;
        let mut length = 0;
        loop {
            line.clear();
            answer.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().map_err(|_| wrong())?;
            }
        }
        let mut bytes = vec![0; length];
        answer.read_exact(&mut bytes)?;
        Ok((status, serde_json::from_slice(&bytes)?))
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        self.call(method, &format!("{}{path}", self.session), body)
    }

    /// Gives the page another size; below 800 pixels as on a phone.
    pub(crate) fn resize(&self, width: u32, height: u32) {
        let params = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 800 });
        self.chromium("Emulation.setDeviceMetricsOverride", &params);
    }

    /// A command of Chromium's own.
    pub(crate) fn chromium(&self, command: &str, params: &Value) {
        let body = json!({ "cmd": command, "params": params });
        self.ask("POST", "/goog/cdp/execute", &body);
    }

    pub(crate) fn open(&self, url: &str) {
        self.ask("POST", "/url", &json!({ "url": url }));
    }

    /// What a function body returns, run in the page.
    pub(crate) fn run(&self, script: &str) -> Value {
        let body = json!({ "script": script, "args": [] });
        self.ask("POST", "/execute/sync", &body)
    }

    /// The text of the first element that a selector finds; empty if there is none.
    pub(crate) fn text(&self, selector: &str) -> String {
        let script = format!("return document.querySelector({selector:?})?.textContent ?? ''");
        self.run(&script).as_str().unwrap_or_default().to_owned()
    }

    /// Waits until a script returns true.
    #[track_caller]
    pub(crate) fn wait(&self, what: &str, script: &str) {
        let started = Instant::now();
        while self.run(script) != Value::Bool(true) {
            assert!(
                started.elapsed() < PATIENCE,
                "waited in vain: {what}; the page says: {}; its console: {:?}",
                self.run("return document.body.innerText.slice(0, 1500)"),
                self.console()
            );
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    fn element(&self, selector: &str) -> String {
        let body = json!({ "using": "css selector", "value": selector });
        let found = self.ask("POST", "/element", &body);
        let id = found.as_object().and_then(|found| found.values().next());
        id.and_then(Value::as_str).expect("an element").to_owned()
    }

    /// Clicks where a person would: it must be visible and nothing may lie over it.
    pub(crate) fn click(&self, selector: &str) {
        let element = self.element(selector);
        self.ask("POST", &format!("/element/{element}/click"), &json!({}));
    }

    /// Types into an element.
    pub(crate) fn write(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        let body = json!({ "text": text });
        self.ask("POST", &format!("/element/{element}/value"), &body);
    }

    /// Presses and releases keys, whatever has the focus.
    pub(crate) fn press(&self, keys: &[&str]) {
        let presses = keys.iter().flat_map(|key| {
            [
                json!({ "type": "keyDown", "value": key }),
                json!({ "type": "keyUp", "value": key }),
            ]
        });
        let actions: Vec<_> = presses.collect();
        self.act(&json!({ "type": "key", "id": "keyboard", "actions": actions }));
    }

    /// Drags with the mouse, in pixels of the page.
    pub(crate) fn drag(&self, from: (i64, i64), to: (i64, i64)) {
        let go = |(x, y): (i64, i64), ms: u64| json!({ "type": "pointerMove", "duration": ms, "x": x, "y": y });
        self.act(&json!({
            "type": "pointer", "id": "mouse", "parameters": { "pointerType": "mouse" },
            "actions": [go(from, 0), { "type": "pointerDown", "button": 0 }, go(to, 100), { "type": "pointerUp", "button": 0 }],
        }));
    }

    /// Turns the wheel over a place; positive: towards the user.
    pub(crate) fn wheel(&self, at: (i64, i64), by: i64) {
        self.act(&json!({
            "type": "wheel", "id": "wheel",
            "actions": [{ "type": "scroll", "x": at.0, "y": at.1, "deltaX": 0, "deltaY": by, "duration": 0 }],
        }));
    }

    fn act(&self, actions: &Value) {
        self.ask("POST", "/actions", &json!({ "actions": [actions] }));
    }

    /// What the console has said since it was last asked: warnings and errors.
    pub(crate) fn console(&self) -> Vec<String> {
        let said = self.ask("POST", "/se/log", &json!({ "type": "browser" }));
        let entries = said.as_array().cloned().unwrap_or_default();
        let bad = entries.iter().filter(|entry| {
            let level = entry["level"].as_str();
            level == Some("SEVERE") || level == Some("WARNING")
        });
        bad.map(|entry| entry["message"].to_string()).collect()
    }

    /// Fails if the console has said anything bad.
    #[track_caller]
    pub(crate) fn expect_quiet_console(&self) {
        assert_eq!(self.console(), Vec::<String>::new());
    }

    /// Moves the mouse over a place.
    pub(crate) fn hover(&self, (x, y): (i64, i64)) {
        self.act(&json!({
            "type": "pointer", "id": "mouse", "parameters": { "pointerType": "mouse" },
            "actions": [{ "type": "pointerMove", "duration": 0, "x": x, "y": y }],
        }));
    }

    /// Where an element is: left, top, width, height in pixels of the page.
    pub(crate) fn place(&self, selector: &str) -> [f64; 4] {
        let script = format!(
            "const r = document.querySelector({selector:?}).getBoundingClientRect(); return [r.x, r.y, r.width, r.height]"
        );
        let found = self.run(&script);
        std::array::from_fn(|i| found[i].as_f64().expect("a number"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The end of the session ends Chromium, too.
        if !self.session.is_empty() {
            let _ = self.exchange("DELETE", &self.session, &Value::Null);
        }
        let pid = rustix::process::Pid::from_child(&self.driver);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.driver.wait();
    }
}
