use crate::cases::{DENSE, titanium};
use microdiff_process::{BitDepth, simulate};

/// A block of metal without pores under the nominal scanner without shading.
fn solid_block() -> microdiff_process::SimulationRequest {
    let mut request = titanium([280.0, 1200.0, 30.0, 60.0, 80.0], 5.0, [64; 3]);
    request.nuisance.gas.fraction = 0.0;
    request.nuisance.keyhole.rate_per_mm = 0.0;
    request.nuisance.imaging.cupping = 0.0;
    request
}

fn correlation_at(values: &[f64], lag: usize) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    let covariance: f64 =
        values.iter().zip(&values[lag..]).map(|(a, b)| (a - mean) * (b - mean)).sum();
    covariance / variance
}

#[test]
fn nominal_noise_is_that_of_the_measured_scans() {
    let simulation = simulate(&solid_block()).unwrap();
    assert_eq!(simulation.truth.porosity, 0.0);
    let grey: Vec<f64> = simulation.scan.data().iter().map(|&g| f64::from(g)).collect();
    let mean = grey.iter().sum::<f64>() / grey.len() as f64;
    let sd = (grey.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / grey.len() as f64).sqrt();
    assert!((0.030..0.034).contains(&(sd / mean)), "noise {}", sd / mean);
    // x lags along rows, z lags across pages; row and page ends are few.
    let along_x = correlation_at(&grey, 1);
    let along_z = correlation_at(&grey, 64 * 64);
    assert!((0.64..0.73).contains(&along_x), "lag 1 {along_x}");
    assert!((0.70..0.82).contains(&along_z), "z lag 1 {along_z}");
    let second = correlation_at(&grey, 2);
    assert!((0.18..0.37).contains(&second), "lag 2 {second}");
}

#[test]
fn nominal_pore_cores_are_half_as_grey_as_metal() {
    let solid = simulate(&solid_block()).unwrap().scan;
    // No track at all and no powder: a pore as large as the volume.
    let mut empty = titanium([20.0, 3000.0, 30.0, 100.0, 25.0], 5.0, [64; 3]);
    empty.nuisance.powder.packing = 0.0;
    empty.nuisance.imaging.cupping = 0.0;
    let empty = simulate(&empty).unwrap().scan;
    let mean = |data: &[u16]| data.iter().map(|&g| f64::from(g)).sum::<f64>();
    let ratio = mean(empty.data()) / mean(solid.data());
    assert!((0.52..0.58).contains(&ratio), "{ratio}");
}

#[test]
fn shading_changes_the_volume_by_its_stated_part_wherever_the_axis_is() {
    for axis in [[0.0, 0.0], [0.7, 0.0], [-0.7, 0.7], [30.0, 0.0]] {
        for cupping in [-0.08, 0.08] {
            let mut request = solid_block();
            let imaging = &mut request.nuisance.imaging;
            (imaging.cupping, imaging.air_level, imaging.axis_offset) = (cupping, 0.0, axis);
            (imaging.noise, imaging.ring) = (0.0, 0.0);
            let scan = simulate(&request).unwrap().scan;
            let page = scan.page(32);
            let grey = |pick: fn(f64, f64) -> f64, start: f64| {
                page.iter().map(|&g| f64::from(g)).fold(start, pick)
            };
            let ratio = grey(f64::max, 0.0) / grey(f64::min, 1e9);
            let meant = if cupping > 0.0 { 1.08 } else { 1.0 / 0.92 };
            assert!((ratio - meant).abs() < 2e-3, "{axis:?}: {ratio} for {meant}");
        }
    }
}

#[test]
fn eight_bits_are_the_same_scan_on_another_scale() {
    let mut request = titanium(DENSE, 5.0, [24; 3]);
    let wide = simulate(&request).unwrap();
    request.depth = BitDepth::U8;
    let narrow = simulate(&request).unwrap();
    assert_eq!(wide.labels, narrow.labels);
    for (wide, narrow) in wide.scan.data().iter().zip(narrow.scan.data()) {
        assert!(*narrow <= 255);
        assert!((f64::from(*wide) / 257.0 - f64::from(*narrow)).abs() <= 0.51);
    }
}
