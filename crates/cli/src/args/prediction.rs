//! Arguments of the forward question. Numbers stay bare here: what a process accepts depends on the
//! process, so they are checked together.

use super::values::bare_number;
use clap::Args;
use microdiff_domain::{Alloy, Machine, Process};
use microdiff_process::predict::Setting;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct SettingArgs {
    /// Power of laser or electron beam in W
    #[arg(long, alias = "power", value_name = "W", allow_negative_numbers = true,
        value_parser = bare_number)]
    pub laser_power: Option<f64>,
    /// Scan speed in mm/s
    #[arg(long, alias = "speed", value_name = "MM_S", allow_negative_numbers = true,
        value_parser = bare_number)]
    pub scan_speed: Option<f64>,
    /// Spot diameter (1/e2) in um; without it all usual spots are averaged over
    #[arg(long, value_name = "UM", allow_negative_numbers = true,
        value_parser = bare_number)]
    pub spot: Option<f64>,
    /// Layer thickness in um; 0 is a bare plate
    #[arg(long, alias = "layer", value_name = "UM", allow_negative_numbers = true,
        value_parser = bare_number)]
    pub layer_thickness: Option<f64>,
    /// Hatch spacing in um; without it nothing is said about density
    #[arg(long, alias = "hatch", value_name = "UM", allow_negative_numbers = true,
        value_parser = bare_number)]
    pub hatch_spacing: Option<f64>,
    /// Bed temperature in C; the usual one of the machine, else of process and alloy (lpbf 80, ebm
    /// 700 or 975, ded 25)
    #[arg(long, value_name = "C", allow_negative_numbers = true,
        value_parser = bare_number)]
    pub bed_temperature: Option<f64>,
}

impl SettingArgs {
    pub fn setting(&self) -> Setting {
        Setting {
            power_w: self.laser_power,
            speed_mm_s: self.scan_speed,
            spot_um: self.spot,
            layer_um: self.layer_thickness,
            hatch_um: self.hatch_spacing,
            bed_c: self.bed_temperature,
        }
    }
}

#[derive(Debug, Args)]
pub struct PredictArgs {
    /// Alloy: Ti-6Al-4V, 316L, IN718 or AlSi10Mg
    #[arg(long, value_name = "NAME", required_unless_present = "table")]
    pub alloy: Option<Alloy>,
    #[command(flatten)]
    pub setting: SettingArgs,
    /// Process: lpbf, ebm or ded; that of the machine, else lpbf
    #[arg(long, value_name = "NAME")]
    pub process: Option<Process>,
    /// Machine whose spot and bed stand in for those not given: EOS-M290, SLM-280,
    /// Renishaw-AM400, Arcam-Q20 or LENS-DED
    #[arg(long, value_name = "NAME")]
    pub machine: Option<Machine>,
    /// Predict every row of this CSV file (.csv or .csv.gz) with the columns
    /// alloy,P_W,v_mm_s,spot_um,t_um,h_um,T0_C; others are kept, `process` is read; without a
    /// machine an empty T0_C is 25, for ebm the usual one
    #[arg(long, value_name = "FILE", requires = "output", conflicts_with_all =
        ["alloy", "laser_power", "scan_speed", "spot", "layer_thickness", "hatch_spacing",
         "bed_temperature", "json"])]
    pub table: Option<PathBuf>,
    /// CSV file to write the table with its predictions to
    #[arg(short, long, value_name = "FILE", requires = "table")]
    pub output: Option<PathBuf>,
    /// Seed of the imperfections that are averaged over
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Print the document microdiff.prediction/1 instead of a report
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ValidatePhysicsArgs {
    /// Directory of measurements: meltpool_measured.csv, keyhole_depth_gan2021.csv,
    /// density_measured.csv and cooling_rates_nist.csv
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Put the section into this page, between its marks, instead of printing it
    #[arg(long, value_name = "FILE")]
    pub page: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct MapArgs {
    /// Alloy: Ti-6Al-4V, 316L, IN718 or AlSi10Mg
    #[arg(long, value_name = "NAME")]
    pub alloy: Alloy,
    /// Spot diameter (1/e2) in um; without it all usual spots are averaged over
    #[arg(long, value_name = "UM", value_parser = bare_number)]
    pub spot: Option<f64>,
    /// Layer thickness in um
    #[arg(long, alias = "layer", value_name = "UM", value_parser = bare_number)]
    pub layer_thickness: f64,
    /// Hatch spacing in um
    #[arg(long, alias = "hatch", value_name = "UM", value_parser = bare_number)]
    pub hatch_spacing: f64,
    /// Bed temperature in C; the usual one of the machine, else of process and alloy (lpbf 80, ebm
    /// 700 or 975, ded 25)
    #[arg(long, value_name = "C", value_parser = bare_number)]
    pub bed_temperature: Option<f64>,
    /// Process: lpbf, ebm or ded; that of the machine, else lpbf
    #[arg(long, value_name = "NAME")]
    pub process: Option<Process>,
    /// Machine whose limits are shown and whose spot and bed stand in for those not given
    #[arg(long, value_name = "NAME")]
    pub machine: Option<Machine>,
    /// Answer of `microdiff design --json`, to show where its power and speed lie
    #[arg(long, value_name = "FILE")]
    pub design: Option<PathBuf>,
    /// Draws of `microdiff design --draws`, to show the regions that hold 50 and 90 % of them
    #[arg(long, value_name = "FILE")]
    pub draws: Option<PathBuf>,
    /// Seed of the imperfections that are averaged over
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Figure to write: .svg or .png
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}
