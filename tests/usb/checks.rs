//! What must be so of what the guest reports.

use serde_json::Value;

type Check = fn(&Value);

/// Each is a sentence of the specification, and whether it is so.
pub(crate) const CHECKS: &[(&str, Check)] = &[
    (
        "a_sensor_is_found_by_vendor_product_and_serial_number",
        found,
    ),
    (
        "two_equal_devices_are_told_apart_by_serial_number_and_by_port",
        told_apart,
    ),
    (
        "of_two_equal_devices_none_is_taken_and_both_are_named",
        ambiguous,
    ),
    (
        "a_pulled_sensor_is_found_again_under_another_number",
        found_again,
    ),
    ("a_pulled_sensor_leaves_a_gap_where_it_was_pulled", gap),
    (
        "a_bulk_device_is_told_to_begin_and_found_again",
        bulk_found_again,
    ),
    ("a_stalled_endpoint_is_cleared_and_read_again", stalled),
    ("a_device_that_is_quiet_or_deaf_or_taken_is_not_gone", link),
    (
        "an_interrupt_endpoint_is_read_beside_a_bulk_endpoint",
        interrupt,
    ),
    ("the_ledger_balances_and_the_audit_finds_nothing", balanced),
    (
        "at_the_full_rate_of_the_bus_every_packet_is_kept",
        full_rate,
    ),
    (
        "an_endpoint_that_is_not_there_is_told_with_those_that_are",
        no_endpoint,
    ),
    (
        "an_interface_that_a_driver_has_is_said_to_be_in_use",
        in_use,
    ),
    ("the_watch_sees_every_device_come_and_go", watched),
    ("ports_tells_identity_port_and_endpoints", listed),
    ("who_may_not_open_a_device_is_told_why", forbidden),
];

fn number(value: &Value) -> u64 {
    value
        .as_f64()
        .filter(|number| *number >= 0.0)
        .unwrap_or_else(|| panic!("{value} is no count")) as u64
}

fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
}

fn list(value: &Value) -> &[Value] {
    value
        .as_array()
        .unwrap_or_else(|| panic!("{value} is no list"))
}

/// What happened to a source: the lines of the journal's events that name it.
fn events<'r>(report: &'r Value, source: &str) -> Vec<&'r str> {
    let name = format!(",{source},");
    let lines = text(&report["replugged"]["events"]).lines();
    lines.filter(|line| line.contains(&name)).collect()
}

fn row<'r>(rows: &'r Value, serial: &str) -> &'r Value {
    let mut rows = list(rows).iter();
    let found = rows.find(|row| row["usb"]["serial_number"] == serial);
    found.unwrap_or_else(|| panic!("{serial} is not listed"))
}

fn found(report: &Value) {
    let run = &report["replugged"];
    let count = number(&run["by_serial"]["count"]);
    assert!(count > number(&run["sent"]["by_serial_before"]) / 2);
    assert_eq!(number(&run["by_serial"]["first"]), 0);
}

/// The twin counts from a million on, and was never pulled: not a packet of it is missing.
fn told_apart(report: &Value) {
    let run = &report["replugged"];
    let twin = &run["by_port"];
    let sent = number(&run["sent"]["by_port"]);
    assert_eq!(number(&twin["first"]), 1_000_000);
    assert_eq!(number(&twin["last"]), 1_000_000 + sent - 1);
    assert_eq!(number(&twin["count"]), sent);
    assert_eq!(list(&twin["jumps"]), [] as [Value; 0]);
    assert!(number(&run["by_serial"]["last"]) < 1_000_000);
}

fn ambiguous(report: &Value) {
    let said = report["check"]["warnings"].to_string() + &events(report, "either").join("\n");
    let both = said.matches("2 devices match USB device 1209:0001").count();
    assert!(both >= 2, "said by check and by run: {said}");
    for part in ["SENSOR-A port 1-1", "SENSOR-B port 2-1"] {
        assert!(said.matches(part).count() >= 2, "{part} is not in {said}");
    }
    assert_eq!(
        report["replugged"]["report"]["sources"]["either"]["frames"],
        0
    );
}

fn found_again(report: &Value) {
    let run = &report["replugged"];
    let names = &run["names"];
    assert_eq!(names["before"], names["other"], "the other took its number");
    assert_ne!(names["before"], names["after"]);
    assert_eq!(run["report"]["sources"]["by_serial"]["reconnects"], 1);
    let last = number(&run["by_serial"]["last"]);
    assert_eq!(last, number(&run["sent"]["by_serial"]) - 1);
}

fn gap(report: &Value) {
    let run = &report["replugged"];
    let gaps = text(&run["gaps"]).lines();
    let gaps: Vec<&str> = gaps.filter(|line| line.starts_with("by_serial,")).collect();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert!(gaps[0].ends_with(",disconnected"), "{gaps:?}");
    // What was on its way when it was pulled may be lost, and nothing else.
    let pulled_at = number(&run["sent"]["by_serial_before"]);
    for jump in list(&run["by_serial"]["jumps"]) {
        assert!(number(&jump[0]) < pulled_at, "{jump}");
        assert_eq!(number(&jump[1]), pulled_at, "{jump}");
    }
    let recorded = number(&run["report"]["sources"]["by_serial"]["frames"]);
    assert_eq!(number(&run["by_serial"]["count"]), recorded);
    let told = events(report, "by_serial").join("\n");
    assert!(told.contains("SENSOR-A is plugged in"), "{told}");
}

fn bulk_found_again(report: &Value) {
    let run = &report["replugged"];
    let (bulk, sent) = (&run["bulk"], &run["sent"]);
    assert_eq!(run["report"]["sources"]["bulk"]["reconnects"], 2);
    assert_eq!(number(&bulk["first"]), 0);
    assert_eq!(number(&bulk["last"]), number(&sent["bulk"]) - 1);
    // Ten packets at most were on their way when it was pulled, and none when it stalled.
    let pulled_at = number(&sent["bulk_before"]);
    let jumps = list(&bulk["jumps"]);
    assert!(jumps.len() <= 1, "{jumps:?}");
    for jump in jumps {
        assert!(number(&jump[0]) < pulled_at, "{jump}");
        assert!(number(&jump[1]) <= pulled_at + 10, "{jump}");
    }
    let gaps = text(&run["gaps"]);
    assert_eq!(gaps.matches("\nbulk,").count(), 2, "{gaps}");
}

fn stalled(report: &Value) {
    let told = events(report, "bulk");
    let stall = told
        .iter()
        .position(|line| line.contains("endpoint stalled"));
    let stall = stall.unwrap_or_else(|| panic!("{told:?}"));
    assert!(told[stall + 1].contains(",connected,"), "{told:?}");
    assert_eq!(told.len(), stall + 2, "once: {told:?}");
}

fn link(report: &Value) {
    let link = &report["link"];
    assert_eq!(link["quiet"], "Quiet");
    assert_eq!(link["stopped"], "Stopped");
    let taken = text(&link["taken"]);
    assert!(taken.contains("is in use by another program"), "{taken}");
    let deaf = text(&link["deaf"]);
    assert!(deaf.starts_with("the device took "), "{deaf}");
    assert!(deaf.contains(" of 4096 bytes"), "{deaf}");
}

fn interrupt(report: &Value) {
    let run = &report["replugged"];
    let slow = &run["slow"];
    assert_eq!(number(&slow["first"]), 0);
    assert!(number(&slow["last"]) + 1 >= number(&run["sent"]["slow"]));
    assert!(list(&slow["jumps"]).len() <= 1, "{slow}");
}

fn balanced(report: &Value) {
    for run in ["replugged", "full_rate"] {
        assert_eq!(report[run]["status"], 0);
        assert_eq!(report[run]["report"]["ledger"]["balanced"], true);
        assert_eq!(report[run]["report"]["ledger"]["in_flight"], 0);
    }
    let run = &report["replugged"];
    assert_eq!(run["audit"]["clean"], true);
    for (name, source) in run["report"]["sources"].as_object().expect("sources") {
        assert_eq!(source["corrupt_frames"], 0, "{name}");
        assert_eq!(source["journaled"], source["samples"], "{name}");
    }
}

fn full_rate(report: &Value) {
    let run = &report["full_rate"];
    let source = &run["report"]["sources"]["bulk"];
    assert_eq!(source["frames"], run["sent"]);
    let samples = number(&run["sent"]) * number(&run["values"]);
    assert_eq!(number(&source["journaled"]), samples);
    for lost in ["corrupt_frames", "skipped_bytes", "lost_by_device"] {
        assert_eq!(source[lost], 0, "{lost}");
    }
    let mb_per_s = |rate: &Value| rate.as_f64().expect("a rate") / 1e6;
    let limit = mb_per_s(&run["limit_bytes_per_s"]);
    println!("bulk endpoint at the full rate of the bus: {limit:.1} MB/s read by a bare loop;");
    for (what, rate) in [
        ("by Kymo's link alone", &report["link"]["bytes_per_s"]),
        ("decoded and journaled", &run["bytes_per_s"]),
    ] {
        let rate = mb_per_s(rate);
        println!("{rate:.1} MB/s {what}, {:.2} of it", rate / limit);
    }
}

fn no_endpoint(report: &Value) {
    let told = events(report, "wrong").join("\n");
    for part in [
        "no bulk or interrupt endpoint 0x8f",
        "interface 0: 0x81 bulk",
        "interrupt",
    ] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
}

fn in_use(report: &Value) {
    let told = events(report, "taken").join("\n");
    assert!(told.contains("SENSOR-B"), "{told}");
    assert!(
        told.contains("in use by the kernel's driver cdc_acm"),
        "{told}"
    );
}

fn watched(report: &Value) {
    let watch = &report["watch"];
    assert_eq!(watch["status"], 0, "it ends when it is told to");
    let of_device = |serial: &str| -> Vec<(&str, &str)> {
        let lines = list(&watch["lines"]).iter();
        lines
            .filter(|line| line["device"]["usb"]["serial_number"] == serial)
            .map(|line| (text(&line["event"]), text(&line["device"]["path"])))
            .collect()
    };
    let events = |serial| -> Vec<&str> {
        let seen = of_device(serial);
        seen.into_iter().map(|(event, _)| event).collect()
    };
    assert_eq!(events("SENSOR-A"), ["came", "gone", "came", "gone"]);
    assert_eq!(events("SENSOR-B"), ["came", "gone"]);
    assert_eq!(events("OTHER-1"), ["came", "gone"]);
    assert_eq!(events("BULK-1"), ["came", "gone", "came", "gone"]);
    let names = &report["replugged"]["names"];
    for (place, name) in [(0, "before"), (1, "before"), (2, "after"), (3, "after")] {
        let path = format!("/dev/{}", text(&names[name]));
        assert_eq!(of_device("SENSOR-A")[place].1, path);
    }
}

fn listed(report: &Value) {
    let sensor = row(&report["ports"], "SENSOR-A");
    assert_eq!(sensor["kind"], "serial");
    assert_eq!(sensor["usb"]["vendor_id"], 0x1209);
    assert_eq!(sensor["usb"]["product"], "Test Sensor");
    assert_eq!(sensor["usb"]["port"], "1-1");
    assert_eq!(sensor["can_be_opened"], true);
    let bulk = row(&report["ports"], "BULK-1");
    assert_eq!(bulk["kind"], "usb");
    assert_eq!(bulk["usb"]["port"], "3-1");
    let endpoint = &bulk["usb"]["interfaces"][0]["endpoints"][0];
    assert_eq!(endpoint["type"], "bulk");
    let shown = text(&report["ports_text"]);
    for part in [
        "/dev/ttyACM0         1209:0001 Kymograph Works Test Sensor serial SENSOR-",
        "1209:0002 Kymograph Works Test Sensor serial BULK-1 port 3-1\n",
        "interface 0: 0x02 bulk out, 0x81 bulk in\n",
    ] {
        assert!(shown.contains(part), "{part:?} is not in {shown}");
    }
    let hubs = list(&report["ports"]).iter();
    let hubs = hubs.filter(|row| row["usb"]["vendor_id"] == 0x1D6B);
    assert_eq!(
        hubs.count(),
        0,
        "the hubs of the bus itself are nobody's device"
    );
}

fn forbidden(report: &Value) {
    for (serial, rule) in [
        ("SENSOR-A", "SUBSYSTEM==\"tty\", ATTRS{idVendor}==\"1209\""),
        ("BULK-1", "SUBSYSTEM==\"usb\", ATTR{idVendor}==\"1209\""),
    ] {
        let row = row(&report["ports_for_nobody"], serial);
        assert_eq!(row["can_be_opened"], false);
        assert!(
            text(&row["problem"]).starts_with("no permission to open /dev/"),
            "{row}"
        );
        assert!(text(&row["hint"]).contains(rule), "{row}");
    }
}
