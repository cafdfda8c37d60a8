//! Plots of a simulated run.

use std::fs;
use std::process::{Command, Output};

use tempfile::TempDir;

use super::lab::{self, CHAMBER, FURNACE, expect_status, kymo, output, text};

/// A run of a second, with a rule that fires as soon as anything is there.
fn recorded() -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = dir.path().join("lab.toml");
    let rule = "[[rule]]\nname = \"anything\"\nchannel = \"chamber.pressure\"\nabove = -1e9\n";
    fs::write(&config, format!("{rule}{CHAMBER}{FURNACE}")).expect("a file");
    let mut run = lab::run();
    run.args(["--duration", "1s", "--config"]).arg(&config);
    run.arg("--data-dir").arg(dir.path().join("data"));
    expect_status(&output(&mut run), 0);
    dir
}

fn plot(dir: &TempDir, args: &[&str]) -> Output {
    let mut plot = kymo();
    plot.arg("plot").args(args);
    output(plot.arg("--data-dir").arg(dir.path().join("data")))
}

fn is_braille(character: char) -> bool {
    ('\u{2801}'..='\u{28ff}').contains(&character)
}

#[test]
fn a_run_is_drawn_in_dots_of_braille() {
    let dir = recorded();
    let drawn = plot(&dir, &["chamber.pressure", "furnace.h*"]);
    expect_status(&drawn, 0);
    let said = text(&drawn.stdout);
    assert!(
        said.chars().filter(|c| is_braille(*c)).count() > 100,
        "{said}"
    );
    for part in [
        "chamber.pressure [bar]",
        "furnace.heater",
        "! 1 alert, ~ 0 gaps",
    ] {
        assert!(said.contains(part), "no `{part}` in:\n{said}");
    }
    assert!(!said.contains('\u{1b}'), "{said}");
    assert_eq!(said.lines().count(), 25, "{said}");
    assert!(
        said.lines().all(|line| line.chars().count() <= 100),
        "{said}"
    );

    let small = plot(&dir, &["furnace.*", "--width", "40", "--height", "10"]);
    expect_status(&small, 0);
    let said = text(&small.stdout);
    assert!(
        said.lines().all(|line| line.chars().count() <= 40),
        "{said}"
    );

    let refused = plot(&dir, &["chamber.temperature"]);
    expect_status(&refused, 2);
    let said = text(&refused.stderr);
    assert!(
        said.contains("there are chamber.pressure, furnace.heater"),
        "{said}"
    );
    let nothing = plot(&dir, &["furnace.*", "--to", "2020-01-01"]);
    expect_status(&nothing, 1);
    assert!(text(&nothing.stderr).contains("no values in this range"));
}

#[test]
fn a_run_is_drawn_as_svg() {
    let dir = recorded();
    let path = dir.path().join("picture.svg");
    let name = path.to_str().expect("a path of text");
    let drawn = plot(&dir, &["chamber.pressure", "furnace.*", "--output", name]);
    expect_status(&drawn, 0);
    let svg = fs::read_to_string(&path).expect("the picture");
    assert!(svg.starts_with("<?xml"), "{svg}");
    assert!(svg.trim_end().ends_with("</svg>"));
    assert_eq!(svg.matches("<path class=\"series\"").count(), 5);
    assert_eq!(
        svg.matches("d=\"M").count(),
        5,
        "every path begins with a place"
    );
    assert!(svg.contains("chamber.pressure [bar]"));
    assert!(svg.contains("class=\"alert\""));
    let counts = "import sys, xml.etree.ElementTree as tree\n\
                  root = tree.parse(sys.argv[1]).getroot()\n\
                  name = '{http://www.w3.org/2000/svg}path'\n\
                  print(len(root.findall('.//' + name)))";
    // Where there is no Python, what is above has to do.
    if let Ok(parsed) = Command::new("python3").args(["-c", counts, name]).output() {
        assert_eq!(text(&parsed.stdout).trim(), "5", "{}", text(&parsed.stderr));
    }
}
