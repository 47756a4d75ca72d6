//! The few shapes a figure is made of, as SVG text.

use std::fmt::Write;

/// A figure being drawn; later shapes cover earlier ones.
#[derive(Debug)]
pub struct Svg {
    text: String,
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Stroke {
    pub colour: &'static str,
    pub width: f64,
    /// Lengths of dashes and gaps; empty for a whole line.
    pub dashes: &'static str,
}

/// Where a text stands at its point.
#[derive(Debug, Clone, Copy)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

/// How a text looks.
#[derive(Debug, Clone, Copy)]
pub struct Label {
    pub size: f64,
    pub colour: &'static str,
    pub anchor: Anchor,
}

// Writing to a String cannot fail.
impl Svg {
    pub fn new(width: f64, height: f64) -> Self {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" font-family=\"DejaVu Sans, Verdana, sans-serif\">\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>"
        );
        Self { text }
    }

    pub fn rectangle(&mut self, [x, y, width, height]: [f64; 4], fill: &str) {
        let _ = writeln!(
            self.text,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
             fill=\"{fill}\" shape-rendering=\"crispEdges\"/>"
        );
    }

    pub fn line(&mut self, points: &[[f64; 2]], stroke: Stroke) {
        let mut path = String::new();
        for (index, [x, y]) in points.iter().enumerate() {
            let _ = write!(path, "{}{x:.1} {y:.1}", if index == 0 { "M" } else { "L" });
        }
        let Stroke { colour, width, dashes } = stroke;
        let _ = write!(
            self.text,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\""
        );
        if !dashes.is_empty() {
            let _ = write!(self.text, " stroke-dasharray=\"{dashes}\"");
        }
        let _ = writeln!(self.text, "/>");
    }

    pub fn dot(&mut self, [x, y]: [f64; 2], radius: f64, fill: &str) {
        let _ = writeln!(
            self.text,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{fill}\" \
             stroke=\"#ffffff\"/>"
        );
    }

    pub fn label(&mut self, at: [f64; 2], label: Label, text: &str) {
        self.turned_label(at, 0.0, label, text);
    }

    /// A text turned by so many degrees around its point.
    pub fn turned_label(&mut self, [x, y]: [f64; 2], degrees: f64, label: Label, text: &str) {
        let anchor = match label.anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let Label { size, colour, .. } = label;
        let _ = write!(
            self.text,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" fill=\"{colour}\" \
             text-anchor=\"{anchor}\""
        );
        if degrees != 0.0 {
            let _ = write!(self.text, " transform=\"rotate({degrees} {x:.1} {y:.1})\"");
        }
        let escaped = text.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(self.text, ">{escaped}</text>");
    }

    pub fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }
}
