//! The readable answer of `microdiff analyze`.

use crate::output::six_digits;
use microdiff_imaging::Analysis;
use std::fmt::Write;

/// Largest pores listed.
const LISTED: usize = 10;

/// Renders the report.
pub fn render(analysis: &Analysis, voxel_size_source: &str) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_summary(&mut text, analysis, voxel_size_source);
    let _ = write_pores(&mut text, analysis);
    text
}

fn write_summary(text: &mut String, analysis: &Analysis, source: &str) -> std::fmt::Result {
    let [z, y, x] = analysis.shape;
    let percent = |fraction: f64| 100.0 * fraction;
    writeln!(
        text,
        "Scan       {z} x {y} x {x} voxels (z,y,x) of {} um ({source})",
        six_digits(analysis.voxel_size_um)
    )?;
    writeln!(text, "Part       {:.4} mm3 measured", analysis.part_volume_mm3)?;
    writeln!(
        text,
        "Porosity   {:.3} % ({:.3} to {:.3} % as the threshold moves by a tenth of the contrast)",
        percent(analysis.porosity),
        percent(analysis.porosity_low),
        percent(analysis.porosity_high)
    )?;
    let threshold = &analysis.threshold;
    write!(
        text,
        "Grey       solid {:.0}, noise {:.0}",
        threshold.solid_grey, threshold.noise_grey
    )?;
    match (threshold.pore_grey, threshold.threshold_grey) {
        (Some(pore), Some(boundary)) => {
            writeln!(text, ", pore cores {pore:.0}, threshold {boundary:.0}")?;
        }
        _ => writeln!(text, "; nothing darker than {:.0} was found", threshold.seed_grey)?,
    }
    let period = |value: Option<f64>| {
        value.map_or_else(|| "none stands out".to_owned(), |um| format!("{um:.1} um"))
    };
    writeln!(text, "Periods    along the build direction: {}", period(analysis.layer_period_um))?;
    writeln!(text, "           within layers: {}", period(analysis.hatch_period_um))?;
    let shares = &analysis.defect_shares;
    writeln!(
        text,
        "Pore shape lack of fusion {:.0} %, keyhole {:.0} %, gas {:.0} % of the pore volume",
        percent(shares.lack_of_fusion),
        percent(shares.keyhole),
        percent(shares.gas)
    )?;
    writeln!(
        text,
        "Pores      {} larger than {:.1} um (equivalent diameter)",
        analysis.pores.len(),
        threshold.detection_floor_um
    )
}

fn write_pores(text: &mut String, analysis: &Analysis) -> std::fmt::Result {
    if analysis.pores.is_empty() {
        return Ok(());
    }
    writeln!(
        text,
        "\n  diameter um   volume um3  sphericity   axes um              at z, y, x um"
    )?;
    for pore in analysis.pores.iter().take(LISTED) {
        let [a, b, c] = pore.axes_um;
        let [z, y, x] = pore.position_um;
        writeln!(
            text,
            "  {:>11.1} {:>12.0} {:>11.2}   {:<20} {z:.0}, {y:.0}, {x:.0}{}",
            pore.equivalent_diameter_um,
            pore.volume_um3,
            pore.sphericity,
            format!("{a:.0} x {b:.0} x {c:.0}"),
            if pore.touches_border { "  (cut by the border)" } else { "" }
        )?;
    }
    let more = analysis.pores.len().saturating_sub(LISTED);
    if more > 0 {
        writeln!(text, "  and {more} more; --json lists all")?;
    }
    Ok(())
}
