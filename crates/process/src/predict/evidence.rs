//! A setting → how many of the tracks that the law was fitted on were made like it.
//!
//! Like it: with about the same normalised enthalpy and diffusion length, the two numbers the law
//! is written in. The tracks themselves are not part of the project; their count in each cell of
//! that plane is a figure drawn from them, printed by `microdiff validate-physics` and kept here.
//!
//! Deliberately absent: any claim about density. No coupon is in the fit.

use super::law::Track;
use super::{Condition, Prediction, Validity};
use crate::alloy::properties;
use crate::beam::{Beam, Numbers};
use microdiff_domain::{Alloy, Process};
use serde::Serialize;
use std::collections::BTreeMap;

/// Edge of a cell in ln enthalpy and ln diffusion length: a factor of 1.5. Chosen.
const CELL_LN: f64 = 0.4;
/// Tracks in a setting's cell and its eight neighbours from which they count as support. Chosen.
const SUPPORT_FROM: u32 = 5;

/// Cells that hold tracks of one alloy: place along ln enthalpy, place along ln diffusion length,
/// number of tracks. `microdiff validate-physics` prints them again.
pub type Cells = Vec<[i32; 3]>;

/// What stands behind the width and depth of a setting; the better the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Support {
    /// Nothing measured supports this alloy and process.
    Unvalidated,
    /// A track is likelier than not to ball: such tracks were left out of the fit, and the law is
    /// twice too deep on them.
    Balls,
    /// The law is followed beyond the tracks it was fitted on.
    Beyond,
    /// Tracks of other alloys were made like it.
    OtherAlloys,
    /// Tracks of this alloy were made like it.
    Tracks,
}

/// Tracks of the fit that were made like a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// What they amount to.
    pub support: Support,
    /// Tracks of the same alloy.
    pub tracks_of_alloy: u32,
    /// Tracks of other alloys.
    pub tracks_of_others: u32,
}

/// The evidence for the prediction of a condition. One whose spot is not given is taken at the middle
/// of the usual spots.
pub fn evidence(condition: &Condition, prediction: &Prediction) -> Evidence {
    if prediction.validity == Validity::Unvalidated {
        return Evidence { support: Support::Unvalidated, tracks_of_alloy: 0, tracks_of_others: 0 };
    }
    let here = cell(&beam(condition).numbers());
    let around = |alloy: Alloy| -> u32 {
        let near = |[enthalpy, length, _]: &&[i32; 3]| {
            (enthalpy - here[0]).abs() <= 1 && (length - here[1]).abs() <= 1
        };
        fitted_cells(alloy).iter().filter(near).map(|cell| cell[2].unsigned_abs()).sum()
    };
    let tracks_of_alloy = around(condition.alloy);
    let others = Alloy::ALL.into_iter().filter(|alloy| *alloy != condition.alloy);
    let tracks_of_others = others.map(around).sum();
    let support = match (tracks_of_alloy, tracks_of_others) {
        _ if prediction.p_balling.is_some_and(|p| p > 0.5) => Support::Balls,
        (SUPPORT_FROM.., _) => Support::Tracks,
        (_, SUPPORT_FROM..) => Support::OtherAlloys,
        _ => Support::Beyond,
    };
    Evidence { support, tracks_of_alloy, tracks_of_others }
}

/// Number of tracks the law of laser tracks was fitted on: of one alloy, and of all.
pub fn fitted_tracks(alloy: Alloy) -> [u32; 2] {
    let of = |alloy| fitted_cells(alloy).iter().map(|cell| cell[2].unsigned_abs()).sum::<u32>();
    [of(alloy), Alloy::ALL.into_iter().map(of).sum()]
}

/// The cells of tracks of one alloy, in order.
pub fn cells(tracks: &[Track], alloy: Alloy) -> Cells {
    let mut counts: BTreeMap<[i32; 2], i32> = BTreeMap::new();
    for track in tracks.iter().filter(|track| track.alloy == alloy) {
        *counts.entry(cell(&track.beam().numbers())).or_default() += 1;
    }
    counts.into_iter().map(|([enthalpy, length], count)| [enthalpy, length, count]).collect()
}

/// The cells of the tracks of [`super::MEASURED_LAW`].
pub fn fitted_cells(alloy: Alloy) -> &'static [[i32; 3]] {
    match alloy {
        Alloy::Ti6Al4V => TITANIUM,
        Alloy::Ss316L => STEEL,
        Alloy::In718 => NICKEL,
        Alloy::AlSi10Mg => &[],
    }
}

fn cell(numbers: &Numbers) -> [i32; 2] {
    [numbers.enthalpy, numbers.diffusion_length].map(|x| (x.ln() / CELL_LN).floor() as i32)
}

fn beam(condition: &Condition) -> Beam {
    let Condition { alloy, power_w, speed_mm_s, bed_c, .. } = *condition;
    let [low, high] = Process::Lpbf.spot_um();
    let spot_um = condition.spot_um.unwrap_or(0.5 * (low + high));
    Beam { material: properties(alloy), power_w, speed_mm_s, spot_um, bed_c }
}

const TITANIUM: &[[i32; 3]] = &[
    [1, -3, 5],
    [2, -3, 4],
    [2, -2, 4],
    [3, -3, 13],
    [3, -2, 6],
    [4, -3, 10],
    [4, -2, 8],
    [5, -3, 5],
    [5, -2, 5],
];
const STEEL: &[[i32; 3]] = &[
    [-1, -4, 1],
    [-1, -3, 1],
    [-1, -2, 1],
    [0, -4, 6],
    [0, -3, 6],
    [0, -2, 3],
    [1, -4, 17],
    [1, -3, 20],
    [1, -2, 9],
    [2, -4, 17],
    [2, -3, 40],
    [2, -2, 18],
    [3, -4, 7],
    [3, -3, 68],
    [3, -2, 38],
    [3, -1, 3],
    [4, -3, 65],
    [4, -2, 55],
    [4, -1, 1],
    [5, -3, 39],
    [5, -2, 51],
    [5, -1, 2],
    [6, -3, 6],
    [6, -2, 31],
    [6, -1, 2],
    [7, -2, 3],
    [7, -1, 1],
];
const NICKEL: &[[i32; 3]] = &[
    [2, -4, 3],
    [2, -3, 4],
    [3, -4, 9],
    [3, -3, 6],
    [3, -2, 2],
    [4, -4, 4],
    [4, -3, 16],
    [4, -2, 1],
    [5, -3, 9],
    [5, -2, 2],
    [6, -3, 9],
    [6, -2, 3],
    [7, -2, 2],
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predict::{Predictor, Setting};

    fn of(alloy: Alloy, process: Process, power: f64, speed: f64) -> Evidence {
        let setting = Setting {
            power_w: Some(power),
            speed_mm_s: Some(speed),
            spot_um: Some(process.spot_um()[0].max(100.0)),
            ..Setting::default()
        };
        let condition = Condition::new(alloy, process, &setting).unwrap();
        evidence(&condition, &Predictor::new(0).predict(&condition))
    }

    #[test]
    fn support_follows_the_tracks() {
        let laser = |alloy, power, speed| of(alloy, Process::Lpbf, power, speed);
        let usual = laser(Alloy::Ss316L, 195.0, 1083.0);
        assert_eq!(usual.support, Support::Tracks);
        assert!(usual.tracks_of_alloy > 50 && usual.tracks_of_others > 5, "{usual:?}");
        // A cell where steel was tried and titanium was not.
        assert_eq!(laser(Alloy::Ti6Al4V, 110.0, 2900.0).support, Support::OtherAlloys);
        assert_eq!(laser(Alloy::Ss316L, 1500.0, 50.0).support, Support::Beyond);
        assert_eq!(laser(Alloy::AlSi10Mg, 370.0, 1300.0).support, Support::Unvalidated);
        assert_eq!(laser(Alloy::Ss316L, 400.0, 1340.0).support, Support::Balls);
        let beam = of(Alloy::Ti6Al4V, Process::Ebm, 1100.0, 4500.0);
        assert_eq!((beam.support, beam.tracks_of_alloy), (Support::Unvalidated, 0));
    }

    #[test]
    fn cells_count_every_track_once() {
        let track = |power_w, alloy| Track {
            source: String::new(),
            say: 1.0,
            alloy,
            power_w,
            speed_mm_s: 900.0,
            spot_um: 80.0,
            bed_c: 25.0,
            width_um: Some(100.0),
            depth_um: None,
        };
        let mut tracks: Vec<Track> =
            (1..40).map(|i| track(10.0 * f64::from(i), Alloy::In718)).collect();
        tracks.push(track(200.0, Alloy::Ss316L));
        let nickel = cells(&tracks, Alloy::In718);
        assert_eq!(nickel.iter().map(|cell| cell[2]).sum::<i32>(), 39);
        assert!(nickel.windows(2).all(|pair| pair[0][..2] < pair[1][..2]), "{nickel:?}");
        assert_eq!(cells(&tracks, Alloy::AlSi10Mg), Cells::new());
    }
}
