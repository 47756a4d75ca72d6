//! Figures: SVG written by hand, PNG made from the same SVG.

pub mod process_map;
pub mod region;
mod svg;

use crate::failure::Failure;
use crate::output;
use resvg::{tiny_skia, usvg};
use std::path::Path;
use std::sync::Arc;

/// The letters of a PNG; an SVG leaves them to its viewer. Licence beside it.
const LETTERS: &[u8] = include_bytes!("../assets/labels.ttf");
/// Pixels of a PNG for each unit of the SVG.
const SCALE: f32 = 2.0;

/// Writes a figure as what the name of the file ends in.
///
/// # Errors
/// When the name ends in neither `.svg` nor `.png`, or the file cannot be written.
pub fn write(path: &Path, svg: &str) -> Result<(), Failure> {
    match kind(path)? {
        Kind::Svg => output::write_file(path, svg.as_bytes()),
        Kind::Png => output::write_file(path, &png(svg)?),
    }
}

/// Kinds of figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Svg,
    Png,
}

/// The kind a file's name asks for.
pub fn kind(path: &Path) -> Result<Kind, Failure> {
    let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
    match extension.as_ref().and_then(|extension| extension.to_str()) {
        Some("svg") => Ok(Kind::Svg),
        Some("png") => Ok(Kind::Png),
        _ => Err(Failure::usage(format!("{} ends in neither .svg nor .png", path.display()))),
    }
}

fn png(svg: &str) -> Result<Vec<u8>, Failure> {
    let mut options = usvg::Options::default();
    let fonts = Arc::make_mut(&mut options.fontdb);
    fonts.load_font_data(LETTERS.to_vec());
    let tree = usvg::Tree::from_str(svg, &options).map_err(Failure::internal)?;
    let size = tree.size().to_int_size().scale_by(SCALE);
    let canvas = size.and_then(|size| tiny_skia::Pixmap::new(size.width(), size.height()));
    let mut canvas = canvas.ok_or_else(|| Failure::internal("the figure has no size"))?;
    let scale = tiny_skia::Transform::from_scale(SCALE, SCALE);
    resvg::render(&tree, scale, &mut canvas.as_mut());
    canvas.encode_png().map_err(Failure::internal)
}
