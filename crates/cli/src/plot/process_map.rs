//! The process map as a figure: defects over power and speed, the machine, the posterior.

use super::svg::{Anchor, Label, Stroke, Svg};
use microdiff_process::predict::Validity;
use microdiff_process::predict::map::{Grid, Plane, ProcessMap};

/// What a figure shows beside the map.
#[derive(Debug)]
pub struct Scene<'a> {
    pub map: &'a ProcessMap,
    pub title: String,
    /// Setting under the title.
    pub subtitle: String,
    /// Name and limits of speed and power.
    pub machine: Option<(&'static str, Plane)>,
    /// A usual setting of the machine, as (speed, power).
    pub usual: Option<[f64; 2]>,
    pub region: Option<Region>,
    pub marks: Vec<Mark>,
}

/// Lines around a wide region and a narrow one, as (speed, power).
#[derive(Debug)]
pub struct Region {
    /// What they are regions of.
    pub heading: &'static str,
    /// What the legend says of each.
    pub names: [String; 2],
    pub lines: [Vec<Vec<[f64; 2]>>; 2],
}

/// A setting by its number in a list.
#[derive(Debug)]
pub struct Mark {
    pub number: usize,
    /// Speed and power.
    pub at: [f64; 2],
    /// Whether it has the layer and the hatch that the map is of.
    pub of_this_map: bool,
}

const SIZE: [f64; 2] = [960.0, 640.0];
/// Left, top, width, height of the plane.
const PLANE: [f64; 4] = [80.0, 70.0, 590.0, 460.0];
const LEGEND_X: f64 = 695.0;
const INK: &str = "#222222";
const GREY: &str = "#666666";

/// Name, line and fill of a defect.
type Defect = (&'static str, &'static str, &'static str);

/// Each defect; told apart by those who do not tell red from green.
const DEFECTS: [Defect; 3] = [
    ("lack of fusion", "#0b5fa5", "#cfe3f5"),
    ("keyhole pores", "#b8450b", "#f9dcc8"),
    ("balling", "#5b3f8c", "#e3daf2"),
];
/// Probabilities at which lines are drawn, with dashes and names.
const LEVELS: [(f64, &str, &str); 2] = [(0.5, "", "1 in 2"), (0.1, "5 4", "1 in 10")];
const MACHINE: Stroke = Stroke { colour: "#444444", width: 1.5, dashes: "10 4 2 4" };
const REGION: [Stroke; 2] = [
    Stroke { colour: "#0a7d3c", width: 2.0, dashes: "3 3" },
    Stroke { colour: "#0a7d3c", width: 2.5, dashes: "" },
];

/// Draws the figure.
pub fn render(scene: &Scene<'_>) -> String {
    let mut svg = Svg::new(SIZE[0], SIZE[1]);
    let frame = Frame { plane: scene.map.plane };
    fills(&mut svg, &frame, scene.map);
    for (grid, (_, colour, _)) in defects(scene.map) {
        for (level, dashes, _) in LEVELS {
            for line in grid.contours(level) {
                let line: Vec<[f64; 2]> = line.iter().map(|at| frame.node(grid, *at)).collect();
                svg.line(&line, Stroke { colour, width: 2.0, dashes });
            }
        }
    }
    if let Some((_, limits)) = scene.machine {
        for line in frame.limits(limits) {
            svg.line(&line, MACHINE);
        }
    }
    if let Some(region) = &scene.region {
        for (lines, stroke) in region.lines.iter().zip(REGION) {
            for line in lines {
                let line: Vec<[f64; 2]> = line.iter().map(|at| frame.held(*at)).collect();
                svg.line(&line, stroke);
            }
        }
    }
    if let Some(at) = scene.usual.filter(|at| frame.shows(*at)) {
        svg.dot(frame.place(at), 5.0, INK);
    }
    axes(&mut svg, &frame);
    for mark in scene.marks.iter().rev().filter(|mark| frame.shows(mark.at)) {
        disc(&mut svg, frame.place(mark.at), &mark.number.to_string(), mark.of_this_map);
    }
    legend(&mut svg, scene);
    texts(&mut svg, scene);
    svg.finish()
}

/// A numbered disc, hollow when it belongs to another map.
fn disc(svg: &mut Svg, at: [f64; 2], number: &str, full: bool) {
    let (fill, ink) = if full { (REGION[1].colour, "#ffffff") } else { ("#ffffff", INK) };
    svg.dot(at, 10.0, REGION[1].colour);
    svg.dot(at, 8.5, fill);
    let label = Label { size: 11.0, colour: ink, anchor: Anchor::Middle };
    svg.label([at[0], at[1] + 4.0], label, number);
}

/// The defects that are predicted, each as in [`DEFECTS`].
fn defects(map: &ProcessMap) -> Vec<(&Grid, Defect)> {
    let grids = [Some(&map.lack_of_fusion), Some(&map.keyhole), map.balling.as_ref()];
    grids.into_iter().zip(DEFECTS).filter_map(|(grid, defect)| Some((grid?, defect))).collect()
}

/// From the plane's units to the figure's.
struct Frame {
    plane: Plane,
}

impl Frame {
    fn place(&self, [speed, power]: [f64; 2]) -> [f64; 2] {
        let [left, top, width, height] = PLANE;
        let part = |[low, high]: [f64; 2], value: f64| (value - low) / (high - low);
        [
            left + width * part(self.plane.speed_mm_s, speed),
            top + height * (1.0 - part(self.plane.power_w, power)),
        ]
    }

    fn node(&self, grid: &Grid, [column, row]: [f64; 2]) -> [f64; 2] {
        let [left, top, width, height] = PLANE;
        [
            left + width * column / (grid.columns - 1) as f64,
            top + height * (1.0 - row / (grid.rows - 1) as f64),
        ]
    }

    fn shows(&self, [speed, power]: [f64; 2]) -> bool {
        let within = |[low, high]: [f64; 2], value: f64| (low..=high).contains(&value);
        within(self.plane.speed_mm_s, speed) && within(self.plane.power_w, power)
    }

    /// The place, moved to the edge of the plane if it lies outside.
    fn held(&self, [speed, power]: [f64; 2]) -> [f64; 2] {
        let hold = |[low, high]: [f64; 2], value: f64| value.clamp(low, high);
        self.place([hold(self.plane.speed_mm_s, speed), hold(self.plane.power_w, power)])
    }

    /// The limits that cross the plane.
    fn limits(&self, limits: Plane) -> Vec<[[f64; 2]; 2]> {
        let Plane { speed_mm_s: speed, power_w: power } = self.plane;
        let across = limits.power_w.iter().map(|p| [[speed[0], *p], [speed[1], *p]]);
        let along = limits.speed_mm_s.iter().map(|v| [[*v, power[0]], [*v, power[1]]]);
        let shown = across.chain(along).filter(|line| line.iter().all(|at| self.shows(*at)));
        shown.map(|line| line.map(|at| self.place(at))).collect()
    }
}

/// Colours the plane by the defect that is likeliest, where one is likelier than not.
fn fills(svg: &mut Svg, frame: &Frame, map: &ProcessMap) {
    let (defects, shape) = (defects(map), &map.keyhole);
    let [columns, rows] = [shape.columns, shape.rows];
    let worst = |column: usize, row: usize| {
        let values = defects.iter().map(|(grid, defect)| (grid.at(column, row), defect.2));
        let worst = values.max_by(|a, b| a.0.total_cmp(&b.0));
        worst.filter(|(value, _)| *value >= 0.5).map(|(_, fill)| fill)
    };
    let [left, top, width, height] = PLANE;
    let (right, bottom) = (left + width, top + height);
    for row in 0..rows {
        let mut start = 0;
        while start < columns {
            let found = worst(start, row);
            let run = (start..columns).take_while(|column| worst(*column, row) == found).count();
            if let Some(fill) = found {
                let edge = |column: f64, row: f64| frame.node(shape, [column, row]);
                let [x0, y1] = edge(start as f64 - 0.5, row as f64 - 0.5);
                let [x1, y0] = edge((start + run) as f64 - 0.5, row as f64 + 0.5);
                let [x0, x1] = [x0.max(left), x1.min(right)];
                let [y0, y1] = [y0.max(top), y1.min(bottom)];
                svg.rectangle([x0, y0, x1 - x0, y1 - y0], fill);
            }
            start += run;
        }
    }
}

fn axes(svg: &mut Svg, frame: &Frame) {
    let [left, top, width, height] = PLANE;
    let (right, bottom) = (left + width, top + height);
    let border = Stroke { colour: INK, width: 1.0, dashes: "" };
    svg.line(&[[left, top], [right, top], [right, bottom], [left, bottom], [left, top]], border);
    let small = |anchor| Label { size: 12.0, colour: INK, anchor };
    for speed in ticks(frame.plane.speed_mm_s) {
        let [x, _] = frame.place([speed, frame.plane.power_w[0]]);
        svg.line(&[[x, bottom], [x, bottom + 5.0]], border);
        svg.label([x, bottom + 20.0], small(Anchor::Middle), &speed.to_string());
    }
    for power in ticks(frame.plane.power_w) {
        let [_, y] = frame.place([frame.plane.speed_mm_s[0], power]);
        svg.line(&[[left - 5.0, y], [left, y]], border);
        svg.label([left - 9.0, y + 4.0], small(Anchor::End), &power.to_string());
    }
    let name = Label { size: 14.0, colour: INK, anchor: Anchor::Middle };
    svg.label([left + 0.5 * width, bottom + 42.0], name, "Scan speed, mm/s");
    svg.turned_label([24.0, top + 0.5 * height], -90.0, name, "Beam power, W");
}

/// Round numbers through a range, four to twelve of them.
fn ticks([low, high]: [f64; 2]) -> Vec<f64> {
    let rough = (high - low) / 5.0;
    let decade = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().rfind(|factor| factor * decade <= rough);
    let step = factor.unwrap_or(1.0) * decade;
    let first = (low / step).ceil() as i64;
    let last = (high / step).floor() as i64;
    // Tenths and hundredths must not print as 0.30000000000000004.
    (first..=last).map(|i| (i as f64 * step * 1e6).round() / 1e6).collect()
}

fn legend(svg: &mut Svg, scene: &Scene<'_>) {
    let heading = Label { size: 13.0, colour: INK, anchor: Anchor::Start };
    let entry = Label { size: 12.0, ..heading };
    let (mut y, line) = (82.0, 20.0);
    let sample = |y: f64| [[LEGEND_X, y - 4.0], [LEGEND_X + 34.0, y - 4.0]];
    for (_, (name, colour, fill)) in defects(scene.map) {
        svg.label([LEGEND_X, y], heading, name);
        y += line;
        for (level, dashes, odds) in LEVELS {
            if level >= 0.5 {
                svg.rectangle([LEGEND_X, y - 13.0, 34.0, 18.0], fill);
            }
            svg.line(&sample(y), Stroke { colour, width: 2.0, dashes });
            svg.label([LEGEND_X + 42.0, y], entry, &format!("probability {odds}"));
            y += line;
        }
        y += 8.0;
    }
    if let Some((name, _)) = scene.machine {
        svg.line(&sample(y), MACHINE);
        svg.label([LEGEND_X + 42.0, y], entry, &format!("limits of {name}"));
        y += line;
    }
    if scene.usual.is_some() {
        svg.dot([LEGEND_X + 17.0, y - 4.0], 5.0, INK);
        svg.label([LEGEND_X + 42.0, y], entry, "a usual setting of it");
        y += line;
    }
    if let Some(region) = &scene.region {
        y += 8.0;
        svg.label([LEGEND_X, y], heading, region.heading);
        y += line;
        for (name, stroke) in region.names.iter().zip(REGION) {
            svg.line(&sample(y), stroke);
            svg.label([LEGEND_X + 42.0, y], entry, name);
            y += line;
        }
    }
    for (full, name) in [(true, "setting, by rank"), (false, "of another layer or hatch")] {
        if let Some(mark) = scene.marks.iter().find(|mark| mark.of_this_map == full) {
            y += 3.0;
            disc(svg, [LEGEND_X + 17.0, y - 4.0], &mark.number.to_string(), full);
            svg.label([LEGEND_X + 42.0, y], entry, name);
            y += line;
        }
    }
}

fn texts(svg: &mut Svg, scene: &Scene<'_>) {
    let title = Label { size: 17.0, colour: INK, anchor: Anchor::Start };
    let [left, ..] = PLANE;
    svg.label([left, 30.0], title, &scene.title);
    svg.label([left, 52.0], Label { size: 13.0, colour: GREY, ..title }, &scene.subtitle);
    if scene.map.validity == Validity::Unvalidated {
        let mark = Label { size: 15.0, colour: "#b00020", anchor: Anchor::Start };
        svg.label([LEGEND_X, 30.0], mark, "UNVALIDATED");
    }
    let source = match scene.map.validity {
        Validity::Tracks => {
            "Width and depth: a law of measured single tracks (docs/validation.md). Boundaries, and \
             porosity above all, not validated for any machine."
        }
        Validity::Unvalidated => {
            "Nothing measured supports these boundaries for this alloy and process; \
             they are an estimate and not validated for any machine."
        }
    };
    let small = Label { size: 11.0, colour: GREY, anchor: Anchor::Start };
    svg.label([left, 604.0], small, source);
    let balling = match scene.map.balling {
        Some(_) => "criterion of 316L tracks.",
        None => "not predicted for this process.",
    };
    let note = format!(
        "Lack of fusion: more than 0.5 % of the volume. Keyhole: keyhole number above the onset of \
         pores. Balling: {balling}"
    );
    svg.label([left, 622.0], small, &note);
}

#[cfg(test)]
mod tests {
    use super::ticks;

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(ticks([40.0, 440.0]), [50.0, 100.0, 150.0, 200.0, 250.0, 300.0, 350.0, 400.0]);
        assert_eq!(
            ticks([4.0, 25.0]),
            [4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0, 22.0, 24.0]
        );
        for range in [[100.0, 2500.0], [0.1, 0.9], [300.0, 3300.0]] {
            assert!((4..=12).contains(&ticks(range).len()), "{range:?}");
        }
    }
}
