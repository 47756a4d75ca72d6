//! Measured tracks → fit, errors by source beside published laws, coverage, defects.

use super::percent;
use crate::csv_table::CsvTable;
use crate::failure::Failure;
use microdiff_domain::{Alloy, Process};
use microdiff_process::predict::score::{
    Errors, area_under_curve, coverage, errors, fit_without, median, sources,
};
use microdiff_process::predict::{
    Condition, Interval, LN_DEPTH_SD, LN_WIDTH_SD, MEASURED_LAW, Predictor, Reference, Setting,
    Track, TrackLaw, evidence, measured_bed_c, reference_extent_um,
};
use std::fmt::Write;
use std::path::Path;

/// Keyhole number from which a vapour depression is as deep as the melt (Gan 2021: keyhole mode).
const KEYHOLE_FROM: f64 = 6.0;
/// Say of a source whose spot is assumed: its paper prints 37.5 um and not whether that is a radius
/// or a diameter. Chosen.
const SAY_OF_ASSUMED_SPOT: f64 = 0.5;
/// Width, then depth.
const NAMES: [&str; 2] = ["width", "depth"];
const LN_SD: [f64; 2] = [LN_WIDTH_SD, LN_DEPTH_SD];

/// A measured track and what its authors called it.
struct Labelled {
    track: Track,
    label: String,
}

pub fn section(data: &Path) -> Result<String, Failure> {
    let labelled = melt_pools(&data.join("meltpool_measured.csv"))?;
    let mut fitted: Vec<Track> =
        labelled.iter().filter(|one| one.label != "balling").map(|one| one.track.clone()).collect();
    fitted.extend(keyholes(&data.join("keyhole_depth_gan2021.csv"))?);
    let law = TrackLaw::fit(&fitted.iter().collect::<Vec<_>>())
        .ok_or_else(|| Failure::data("the tracks do not determine a law"))?;
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_fit(&mut text, &law, &fitted);
    for k in 0..NAMES.len() {
        let _ = write_errors(&mut text, k, &fitted);
    }
    let _ = write_coverage(&mut text, &fitted);
    let _ = write_labels(&mut text, &labelled);
    Ok(text)
}

fn melt_pools(path: &Path) -> Result<Vec<Labelled>, Failure> {
    let table = CsvTable::read(path)?;
    let text = |name| table.column(name);
    let (alloy, source, label, note) =
        (text("alloy")?, text("source")?, text("defect_class")?, text("note")?);
    let numbers = ["P_W", "v_mm_s", "spot_um", "T0_C", "width_um", "depth_um"];
    let mut columns = Vec::new();
    for name in numbers {
        columns.push((name, table.column(name)?));
    }
    let mut tracks = Vec::new();
    for row in 0..table.len() {
        let mut values = [None; 6];
        for (value, (_, column)) in values.iter_mut().zip(&columns) {
            *value = table.number(row, *column)?;
        }
        let needed = |k: usize| {
            values[k].ok_or_else(|| table.refuse(row, columns[k].0, &"a number is needed"))
        };
        let assumed = table.cell(row, note).contains("unverified");
        let alloy = alloy_of(&table, row, table.cell(row, alloy))?;
        let track = Track {
            source: table.cell(row, source).to_owned(),
            say: if assumed { SAY_OF_ASSUMED_SPOT } else { 1.0 },
            alloy,
            power_w: needed(0)?,
            speed_mm_s: needed(1)?,
            spot_um: needed(2)?,
            bed_c: values[3].unwrap_or(measured_bed_c(alloy, Process::Lpbf)),
            width_um: values[4],
            depth_um: values[5],
        };
        tracks.push(Labelled { track, label: table.cell(row, label).to_owned() });
    }
    // Every row of a source speaks alike.
    for one in 0..tracks.len() {
        let source = tracks[one].track.source.clone();
        let least = tracks.iter().filter(|t| t.track.source == source).map(|t| t.track.say);
        tracks[one].track.say = least.fold(1.0, f64::min);
    }
    Ok(tracks)
}

fn alloy_of(table: &CsvTable, row: usize, name: &str) -> Result<Alloy, Failure> {
    name.parse().map_err(|error| table.refuse(row, "alloy", &error))
}

/// X-ray depths of vapour depressions in keyhole mode; the absorbed power alone is known.
fn keyholes(path: &Path) -> Result<Vec<Track>, Failure> {
    let table = CsvTable::read(path)?;
    let material = table.column("source")?;
    let mut columns = Vec::new();
    for name in ["etaP", "Vs", "r0", "e"] {
        columns.push((name, table.column(name)?));
    }
    let mut tracks = Vec::new();
    for row in 0..table.len() {
        // The third material is an aluminium alloy that the table of properties does not have.
        let alloy = match table.cell(row, material) {
            "Mat1" => Alloy::Ti6Al4V,
            "Mat3" => Alloy::Ss316L,
            _ => continue,
        };
        let mut values = [0.0; 4];
        for (value, (name, column)) in values.iter_mut().zip(&columns) {
            *value = table
                .number(row, *column)?
                .ok_or_else(|| table.refuse(row, name, &"a number is needed"))?;
        }
        let [absorbed, speed, radius, depth] = values;
        let track = Track {
            source: "Gan 2021 (X-ray keyholes)".to_owned(),
            say: 1.0,
            alloy,
            power_w: absorbed,
            speed_mm_s: 1e3 * speed,
            spot_um: 2e6 * radius,
            bed_c: measured_bed_c(alloy, Process::Lpbf),
            width_um: None,
            depth_um: Some(1e6 * depth),
        };
        let track = track.from_absorbed_power();
        if track.keyhole_number() > KEYHOLE_FROM {
            tracks.push(track);
        }
    }
    Ok(tracks)
}

fn measured(track: &Track, k: usize) -> Option<f64> {
    [track.width_um, track.depth_um][k]
}

fn write_fit(text: &mut String, law: &TrackLaw, fitted: &[Track]) -> std::fmt::Result {
    let shown = |law: &TrackLaw| {
        let list = |c: &[f64]| c.iter().map(|c| format!("{c:.4}")).collect::<Vec<_>>().join(", ");
        (list(&law.width), list(&law.depth))
    };
    let ((fit_width, fit_depth), (width, depth)) = (shown(law), shown(&MEASURED_LAW));
    let plates = fitted.iter().filter(|track| track.width_um.is_some()).count();
    writeln!(
        text,
        "{plates} tracks that did not ball and {} X-ray keyhole depths. Coefficients in the order \
         of `TrackLaw`:\n",
        fitted.len() - plates
    )?;
    writeln!(text, "| law | fitted here | in the binary |\n|---|---|---|")?;
    writeln!(text, "| ln width / radius | {fit_width} | {width} |")?;
    writeln!(text, "| ln depth / radius | {fit_depth} | {depth} |")?;
    writeln!(
        text,
        "\nWhere they lie, which is the evidence of a setting: floor of ln enthalpy over 0.4, floor of \
         ln diffusion length over 0.4: tracks.\n"
    )?;
    writeln!(text, "| tracks of | fitted here | in the binary |\n|---|---|---|")?;
    for alloy in Alloy::ALL {
        let here = evidence::cells(fitted, alloy);
        let shown = |cells: &[[i32; 3]]| {
            let one =
                |[enthalpy, length, count]: &[i32; 3]| format!("{enthalpy} {length}: {count}");
            cells.iter().map(one).collect::<Vec<_>>().join(", ")
        };
        writeln!(
            text,
            "| {alloy} | {} | {} |",
            shown(&here),
            shown(evidence::fitted_cells(alloy))
        )?;
    }
    Ok(())
}

type Law<'a> = Box<dyn Fn(&Track) -> Option<f64> + 'a>;

fn write_errors(text: &mut String, k: usize, fitted: &[Track]) -> std::fmt::Result {
    writeln!(
        text,
        "\n### Median relative error of {}, and predicted over measured\n\n\
         | source | tracks | law, all sources | **law without this source** | {} |",
        NAMES[k],
        Reference::ALL.map(Reference::name).join(" | ")
    )?;
    writeln!(text, "|---|---:|---:|---:|---:|---:|---:|")?;
    let mut medians: Vec<Vec<f64>> = vec![Vec::new(); 2 + Reference::ALL.len()];
    for source in sources(fitted) {
        let own: Vec<&Track> = fitted.iter().filter(|t| t.source == source).collect();
        let own: Vec<&Track> = own.into_iter().filter(|t| measured(t, k).is_some()).collect();
        let Some(held_out) = fit_without(fitted, &source).filter(|_| !own.is_empty()) else {
            continue;
        };
        let mut laws: Vec<Law<'_>> = vec![
            Box::new(move |track| Some(MEASURED_LAW.of(track)[k])),
            Box::new(move |track| Some(held_out.of(track)[k])),
        ];
        for law in Reference::ALL {
            laws.push(Box::new(move |track| reference_extent_um(law, track)[k]));
        }
        write!(text, "| {source} | {} |", own.len())?;
        for (law, medians) in laws.iter().zip(&mut medians) {
            let found = score(&own, k, law.as_ref());
            medians.extend(found.map(|found| found.median));
            write!(text, " {} |", cell(found))?;
        }
        writeln!(text)?;
    }
    write!(text, "| median of the sources | |")?;
    for medians in medians {
        write!(text, " {} |", percent(median(medians)))?;
    }
    writeln!(text)
}

fn score(own: &[&Track], k: usize, law: &dyn Fn(&Track) -> Option<f64>) -> Option<Errors> {
    // A law without any word on this extent has no error.
    let pairs: Vec<(Option<f64>, f64)> =
        own.iter().filter_map(|track| measured(track, k).map(|m| (law(track), m))).collect();
    errors(&pairs).filter(|_| pairs.iter().any(|pair| pair.0.is_some()))
}

fn cell(found: Option<Errors>) -> String {
    found.map_or_else(
        || "–".to_owned(),
        |found| format!("{:.0} %, {:.2}", 100.0 * found.median, found.bias),
    )
}

fn write_coverage(text: &mut String, fitted: &[Track]) -> std::fmt::Result {
    writeln!(
        text,
        "\n### How many tracks of a source left out lie inside their 90 % interval\n\n\
         | source | width | depth |\n|---|---:|---:|"
    )?;
    let mut shares: [Vec<f64>; 2] = Default::default();
    for source in sources(fitted) {
        let Some(law) = fit_without(fitted, &source) else { continue };
        write!(text, "| {source} |")?;
        for (k, shares) in shares.iter_mut().enumerate() {
            let own = fitted.iter().filter(|track| track.source == source);
            let pairs: Vec<(Interval, f64)> = own
                .filter_map(|track| measured(track, k).map(|m| (law.of(track)[k], m)))
                .map(|(median, m)| (Interval::log_normal(median, LN_SD[k]), m))
                .collect();
            let share = coverage(&pairs);
            shares.extend(share);
            write!(text, " {} |", percent(share))?;
        }
        writeln!(text)?;
    }
    let mean = |shares: &[f64]| shares.iter().sum::<f64>() / shares.len().max(1) as f64;
    let [width, depth] = shares.map(|shares| percent(Some(mean(&shares))));
    writeln!(text, "| mean of the sources | {width} | {depth} |")
}

fn write_labels(text: &mut String, labelled: &[Labelled]) -> std::fmt::Result {
    let predictor = Predictor::new(0);
    let mut balling = Vec::new();
    let mut keyhole = Vec::new();
    let mut balled: [Vec<(Option<f64>, f64)>; 2] = Default::default();
    for Labelled { track, label } in labelled {
        let setting = Setting {
            power_w: Some(track.power_w),
            speed_mm_s: Some(track.speed_mm_s),
            spot_um: Some(track.spot_um),
            bed_c: Some(track.bed_c),
            ..Setting::default()
        };
        let Ok(condition) = Condition::new(track.alloy, Process::Lpbf, &setting) else { continue };
        let answer = predictor.predict(&condition);
        match label.as_str() {
            "" | "balling" if track.source.starts_with("Hofmann") => {
                balling.extend(answer.p_balling.map(|p| (p, label == "balling")));
            }
            "keyhole" | "transition" | "conduction" => {
                keyhole.push((answer.p_keyhole, label == "keyhole"));
            }
            _ => {}
        }
        if label == "balling" {
            for (k, pairs) in balled.iter_mut().enumerate() {
                pairs.extend(measured(track, k).map(|m| (Some(MEASURED_LAW.of(track)[k]), m)));
            }
        }
    }
    let [width, depth] = balled.map(|pairs| cell(errors(&pairs)));
    let area = |cases: &[(f64, bool)]| {
        area_under_curve(cases).map_or_else(|| "–".to_owned(), |area| format!("{area:.2}"))
    };
    let count = balling.iter().filter(|case| case.1).count();
    writeln!(
        text,
        "\n### Defects of single tracks\n\n\
         - Balling (316L, Hofmann 2026, {count} of {} tracks): the probability of a balling track is \
         above that of another in {} of the pairs (area under the curve). The criterion was fitted \
         on these tracks.\n\
         - Keyhole mode (KU Leuven, {} labelled tracks): area under the curve {}.\n\
         - Tracks that ball are not in the fit; the law is for continuous tracks. On them the error \
         of width is {width} and of depth {depth}.",
        balling.len(),
        area(&balling),
        keyhole.len(),
        area(&keyhole),
    )
}
