//! The process map as a file.

use crate::binary::{fixture, refuse, succeed, text};
use std::path::Path;

const STEEL: [&str; 9] = [
    "map",
    "--alloy",
    "316L",
    "--spot",
    "100",
    "--layer-thickness",
    "40",
    "--hatch-spacing",
    "100",
];

fn map(more: &[&str], output: &Path) {
    succeed(&[&STEEL[..], more, &["--output", text(output)]].concat());
}

#[test]
fn the_figure_names_axes_units_boundaries_machine_and_what_it_rests_on() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let output = directory.path().join("map.svg");
    map(&["--machine", "EOS-M290"], &output);
    let svg = std::fs::read_to_string(&output).expect("written");
    for part in [
        "Scan speed, mm/s",
        "Beam power, W",
        "lack of fusion",
        "keyhole pores",
        "balling",
        "limits of EOS-M290",
        "spot 100 um, layer 40 um, hatch 100 um, bed 80 C",
        "not validated for any machine",
    ] {
        assert!(svg.contains(part), "{part}");
    }
    assert!(!svg.contains("UNVALIDATED") && !svg.contains("posterior"));
    let again = directory.path().join("again.svg");
    map(&["--machine", "EOS-M290"], &again);
    assert_eq!(svg, std::fs::read_to_string(&again).expect("written"));
}

#[test]
fn a_png_is_the_same_figure_in_pixels_with_its_letters() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let output = directory.path().join("map.png");
    map(&[], &output);
    let png = std::fs::read(&output).expect("written");
    assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
    let side = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().expect("four bytes"));
    assert_eq!((side(16), side(20)), (1920, 1280));
    // Without its letters the figure is far smaller.
    assert!(png.len() > 60_000, "{} bytes", png.len());
}

#[test]
fn the_posterior_comes_from_a_document_or_from_draws() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let place = |name: &str| directory.path().join(name);
    let (draws, design) = (place("draws.csv"), place("design.json"));
    let scan = fixture();
    let document = succeed(&[
        "design",
        text(&scan),
        "--alloy",
        "Ti-6Al-4V",
        "--samples",
        "300",
        "--json",
        "--draws",
        text(&draws),
    ]);
    std::fs::write(&design, document).expect("written");
    let titanium =
        ["map", "--alloy", "Ti64", "--layer-thickness", "40", "--hatch-spacing", "100", "--output"];
    let output = place("map.svg");
    succeed(&[&titanium[..], &[text(&output), "--design", text(&design)]].concat());
    let svg = std::fs::read_to_string(&output).expect("written");
    assert!(svg.contains("90 % of each, by itself"), "{svg}");
    succeed(&[&titanium[..], &[text(&output), "--draws", text(&draws)]].concat());
    let svg = std::fs::read_to_string(&output).expect("written");
    assert!(svg.contains("region of 50 %"), "{svg}");
    let other = [&STEEL[..], &["--design", text(&design), "-o", text(&output)]].concat();
    assert!(refuse(&other, 3).contains("it is about Ti-6Al-4V, not 316L"));
}

#[test]
fn other_processes_are_marked_and_other_figures_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let output = directory.path().join("map.svg");
    let beam = ["map", "--alloy", "Ti64", "--machine", "Arcam-Q20", "--layer-thickness", "50"];
    succeed(&[&beam[..], &["--hatch-spacing", "200", "-o", text(&output)]].concat());
    let svg = std::fs::read_to_string(&output).expect("written");
    assert!(svg.contains(">UNVALIDATED<") && svg.contains("Balling: not predicted"), "{svg}");
    assert!(!svg.contains(">balling<"), "{svg}");
    let output = directory.path().join("map.pdf");
    let line = refuse(&[&STEEL[..], &["-o", text(&output)]].concat(), 2);
    assert!(line.contains("neither .svg nor .png"), "{line}");
    let bare = ["map", "--alloy", "316L", "--layer-thickness", "0", "--hatch-spacing", "100"];
    let output = directory.path().join("bare.svg");
    let line = refuse(&[&bare[..], &["-o", text(&output)]].concat(), 2);
    assert!(line.contains("layer_thickness is missing"), "{line}");
    assert!(!output.exists());
}
