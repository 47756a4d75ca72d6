//! The validation of the physics, on made-up measurements in the layout of the real ones.

use crate::binary::{refuse, succeed, text};
use std::fmt::Write;
use std::path::Path;

/// Tracks of three sources, wide and deep by a power law, a little apart from source to source.
fn write_data(directory: &Path) {
    let mut tracks =
        String::from("alloy,P_W,v_mm_s,spot_um,T0_C,width_um,depth_um,defect_class,source,note\n");
    for (source, factor) in [("Hofmann", 1.0), ("Other", 1.1), ("Third", 0.9)] {
        for power in [80, 150, 250, 400] {
            for speed in [300, 700, 1300] {
                for spot in [60, 100] {
                    let line = f64::from(power) / f64::from(speed).sqrt();
                    let (width, depth) = (30.0 * factor * line.powf(0.6), 12.0 * factor * line);
                    let label = if speed == 1300 && power == 80 { "balling" } else { "" };
                    writeln!(
                        tracks,
                        "316L,{power},{speed},{spot},,{width},{depth},{label},{source},"
                    )
                    .expect("text");
                }
            }
        }
    }
    let write = |name: &str, content: &str| {
        std::fs::write(directory.join(name), content).expect("written");
    };
    write("meltpool_measured.csv", &tracks);
    write("keyhole_depth_gan2021.csv", "source,etaP,Vs,r0,e\nMat1,200,0.6,4.75e-05,3e-4\n");
    write(
        "density_measured.csv",
        "alloy,P_W,v_mm_s,spot_um,t_um,h_um,T0_C,relative_density_pct,source,source_doi\n\
         316L,200,800,80,30,90,,99.5,A,\n316L,100,1800,80,60,160,,85,A,\n",
    );
    write(
        "cooling_rates_nist.csv",
        "alloy,P_W,v_mm_s,spot_um,solid_cooling_rate_K_s\nIN718,285,960,67,7e5\n",
    );
}

#[test]
fn the_section_tells_fit_errors_and_coverage_and_goes_between_its_marks() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    write_data(directory.path());
    let data = ["validate-physics", "--data", text(directory.path())];
    let section = succeed(&data);
    for part in [
        "66 tracks that did not ball and 1 X-ray keyhole depths",
        "law without this source",
        "| Hofmann | 22 |",
        "90 % interval",
        "2 of 24 tracks",
        "2 coupons of 1 studies",
        "1 NIST cases",
    ] {
        assert!(section.contains(part), "{part}: {section}");
    }
    let page = directory.path().join("page.md");
    let marked = |middle: &str| {
        format!(
            "head\n<!-- begin: microdiff validate-physics -->\n{middle}\
             <!-- end: microdiff validate-physics -->\ntail\n"
        )
    };
    std::fs::write(&page, marked("old\n")).expect("written");
    succeed(&[&data[..], &["--page", text(&page)]].concat());
    assert_eq!(std::fs::read_to_string(&page).expect("readable"), marked(&section));
    std::fs::write(&page, "no marks").expect("written");
    assert!(refuse(&[&data[..], &["--page", text(&page)]].concat(), 3).contains("lacks"));
}

#[test]
fn the_page_shows_the_law_that_is_in_the_binary() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    write_data(directory.path());
    let section = succeed(&["validate-physics", "--data", text(directory.path())]);
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/validation.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    for name in [
        "| ln width / radius |",
        "| ln depth / radius |",
        "| Ti-6Al-4V |",
        "| 316L |",
        "| IN718 |",
        "| AlSi10Mg |",
    ] {
        let line = |text: &str| -> Vec<String> {
            let line = text.lines().find(|line| line.starts_with(name)).expect("the line");
            line.split('|').map(|cell| cell.trim().to_owned()).collect()
        };
        assert_eq!(line(&section)[3], line(&page)[3], "the page is of another law");
        assert_eq!(line(&page)[2], line(&page)[3], "the law is not what the fit gives");
    }
}

#[test]
fn missing_measurements_are_named() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let line = refuse(&["validate-physics", "--data", text(directory.path())], 3);
    assert!(line.contains("meltpool_measured.csv"), "{line}");
}
