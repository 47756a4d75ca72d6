//! Trains a table model and draws, as `microdiff train --table` and `microdiff design
//! --observation` do: `table train.csv obs.csv draws.csv theta1,theta2 x1,x2 samples`.
#![expect(clippy::print_stderr, reason = "an example tells its user how long it took")]

use microdiff_diffusion::SampleOptions;
use microdiff_diffusion::table::{Table, TableOptions, train};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    let (p, o) = (list(&args[4]), list(&args[5]));
    let theta = Table::read(args[1].as_ref(), &p)?;
    let x = Table::read(args[1].as_ref(), &o)?;
    let begun = Instant::now();
    let options = TableOptions { seed: 1, steps: None, priors: Default::default() };
    let trained = train(&theta, &x, &options)?;
    eprintln!("train {:.1} s {:?}", begun.elapsed().as_secs_f64(), trained.manifest.training);
    let model = trained.open()?;
    let mut text = format!("row,{}\n", p.join(","));
    let options = SampleOptions { samples: args[6].parse()?, steps: 24, seed: 0 };
    let begun = Instant::now();
    for (row, obs) in Table::read(args[2].as_ref(), &o)?.rows.iter().enumerate() {
        for draw in model.draw(obs, row, &options)? {
            text += &format!("{row}");
            draw.iter().for_each(|v| text += &format!(",{v}"));
            text += "\n";
        }
    }
    eprintln!("draw {:.2} s", begun.elapsed().as_secs_f64());
    std::fs::write(&args[3], text)?;
    Ok(())
}
