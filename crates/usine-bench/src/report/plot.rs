//! The plot: one drawing of panels with bars, readable on a light and on a dark ground.

use std::fmt::Write;

use crate::measure::number;
use crate::{Measure, Target};

/// Measures of the drawing, in its own units.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 250.0;
const COLUMNS: usize = 2;
const TOP: f64 = 34.0;
const BAR: f64 = 30.0;
const BARS: f64 = 150.0;

const STYLE: &str = "\
text { font: 11px sans-serif; fill: #1b1f24 }
.title { font-weight: bold; font-size: 13px }
.value { font-size: 10px }
.SQLite { fill: #2f6fb3 }
.PostgreSQL { fill: #c4621d }
.axis { stroke: #8a929b }
.target { stroke: #b3261e; stroke-dasharray: 4 3 }
.ground { fill: #ffffff }
@media (prefers-color-scheme: dark) {
text { fill: #e6e9ec }
.SQLite { fill: #6ea8e5 }
.PostgreSQL { fill: #f0955a }
.axis { stroke: #6d7680 }
.target { stroke: #ff8a80 }
.ground { fill: #15181c }
}";

/// Which numbers are in a panel.
struct Panel {
    title: &'static str,
    stage: &'static str,
    /// The numbers of this name, by case.
    names: &'static [&'static str],
}

const PANELS: [Panel; 6] = [
    Panel {
        title: "Work requests from end to end, per second",
        stage: "throughput",
        names: &["work requests, end to end"],
    },
    Panel {
        title: "From submission to notice, ms",
        stage: "latency",
        names: &["submission to notice, p50", "submission to notice, p99"],
    },
    Panel { title: "Server CPU for one work request, ms", stage: "queue", names: &["server CPU per work request"] },
    Panel {
        title: "Calls of the API, p99, ms",
        stage: "api",
        names: &["GET of one work request, p99", "GET of a page of the list, p99"],
    },
    Panel {
        title: "A large file, MB/s",
        stage: "transfer",
        names: &["SHA-256 alone", "reading, hashing, writing and syncing", "upload", "download"],
    },
    Panel { title: "Memory, MB", stage: "memory", names: &["memory at rest", "most memory under load"] },
];

/// Bars that are next to each other, one for each database.
struct Group<'a> {
    label: String,
    bars: Vec<&'a Measure>,
}

/// Draws the numbers.
pub fn plot(measures: &[Measure]) -> String {
    let rows = PANELS.len().div_ceil(COLUMNS);
    let (width, height) = (WIDTH * COLUMNS as f64, HEIGHT * rows as f64 + 24.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"title\">\n\
         <title id=\"title\">What usine bench has measured; the table has the same numbers</title>\n\
         <style>\n{STYLE}\n</style>\n<rect class=\"ground\" width=\"{width}\" height=\"{height}\"/>\n"
    );
    let mut x = 16.0;
    for database in ["SQLite", "PostgreSQL"] {
        if measures.iter().any(|measure| measure.database == database) {
            let _ = writeln!(
                svg,
                "<rect class=\"{database}\" x=\"{x}\" y=\"8\" width=\"10\" height=\"10\"/><text x=\"{}\" y=\"17\">{database}</text>",
                x + 15.0
            );
            x += 90.0;
        }
    }
    for (index, panel) in PANELS.iter().enumerate() {
        let at = (WIDTH * (index % COLUMNS) as f64, 24.0 + HEIGHT * (index / COLUMNS) as f64);
        draw(&mut svg, panel, &groups(panel, measures), at);
    }
    svg.push_str("</svg>\n");
    svg
}

fn groups<'a>(panel: &Panel, measures: &'a [Measure]) -> Vec<Group<'a>> {
    let mut groups: Vec<(&str, &str, Group<'a>)> = Vec::new();
    let wanted = measures.iter().filter(|measure| {
        let is_meant = measure.stage == panel.stage && panel.names.contains(&measure.what);
        // Calls that wait for each other have no target, and say little about how long one takes.
        is_meant && (panel.stage != "api" || measure.target.is_some())
    });
    for measure in wanted {
        match groups.iter_mut().find(|(case, what, _)| (*case, *what) == (measure.case.as_str(), measure.what)) {
            Some((_, _, group)) => group.bars.push(measure),
            None => {
                groups.push((&measure.case, measure.what, Group { label: label(panel, measure), bars: vec![measure] }))
            }
        }
    }
    groups.into_iter().map(|(_, _, group)| group).collect()
}

/// What tells a group from the others of its panel.
fn label(panel: &Panel, measure: &Measure) -> String {
    // The percentile tells bars of latency apart; elsewhere it is in the title.
    let (name, percentile) = measure.what.rsplit_once(", p").map_or((measure.what, None), |(a, b)| (a, Some(b)));
    match (panel.stage, percentile) {
        ("throughput" | "queue", _) => measure.case.clone(),
        ("transfer", _) => measure.what.to_owned(),
        ("latency", Some(percentile)) => format!("p{percentile}; {}", measure.case),
        _ => format!("{name}; {}", measure.case),
    }
}

fn draw(svg: &mut String, panel: &Panel, groups: &[Group<'_>], (left, top): (f64, f64)) {
    let _ = writeln!(svg, "<g transform=\"translate({left} {top})\">");
    let _ = writeln!(svg, "<text class=\"title\" x=\"16\" y=\"18\">{}</text>", escaped(panel.title));
    let bars = groups.iter().flat_map(|group| &group.bars);
    // Room for the target as well, unless it is far away.
    let highest = bars.map(|bar| bar.value.max(aim(bar).unwrap_or(0.0).min(bar.value * 3.0))).fold(0.0, f64::max);
    if highest <= 0.0 {
        svg.push_str("<text x=\"16\" y=\"60\">not measured</text>\n</g>\n");
        return;
    }
    let scale = BARS / (highest * 1.12);
    let base = TOP + BARS;
    let step = (WIDTH - 32.0) / groups.len() as f64;
    let _ = writeln!(svg, "<line class=\"axis\" x1=\"16\" y1=\"{base}\" x2=\"{:.1}\" y2=\"{base}\"/>", WIDTH - 16.0);
    for (index, group) in groups.iter().enumerate() {
        let middle = 16.0 + step * (index as f64 + 0.5);
        let width = BAR.min(step / (group.bars.len() as f64 + 0.6));
        let begin = middle - width * group.bars.len() as f64 / 2.0;
        for (place, bar) in group.bars.iter().enumerate() {
            let (x, height) = (begin + width * place as f64, (bar.value * scale).max(1.0));
            let _ = writeln!(
                svg,
                "<rect class=\"{}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\"><title>{}</title></rect>\
                 <text class=\"value\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bar.database,
                base - height,
                width - 2.0,
                escaped(&format!("{}, {}, {}: {} {}", bar.database, bar.case, bar.what, bar.shown(), bar.verdict())),
                x + width / 2.0 - 1.0,
                base - height - 3.0,
                number(bar.value),
            );
            if let Some(aim) = aim(bar).filter(|aim| *aim <= highest) {
                let y = base - aim * scale;
                let _ = writeln!(
                    svg,
                    "<line class=\"target\" x1=\"{:.1}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\"/>",
                    x - 2.0,
                    x + width
                );
            }
        }
        for (line, words) in lines(&group.label, step).iter().enumerate() {
            let _ = writeln!(
                svg,
                "<text class=\"value\" x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                base + 14.0 + 12.0 * line as f64,
                escaped(words)
            );
        }
    }
    svg.push_str("</g>\n");
}

fn aim(measure: &Measure) -> Option<f64> {
    measure.target.map(|(Target::AtLeast(value) | Target::AtMost(value))| value)
}

/// Breaks a label so that it fits below its bars: some six units for a character.
fn lines(label: &str, width: f64) -> Vec<String> {
    let most = (width / 5.6) as usize;
    let mut lines: Vec<String> = Vec::new();
    for word in label.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < most => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Sheet;

    #[test]
    fn bars_are_as_high_as_their_numbers() {
        let mut measures = Vec::new();
        for (database, value) in [("SQLite", 2000.0), ("PostgreSQL", 1000.0)] {
            let mut sheet = Sheet::new("throughput", database, "100 workers");
            sheet.aim("work requests, end to end", value, "/s", Some(Target::AtLeast(1500.0)));
            measures.append(&mut sheet.measures);
        }
        let svg = plot(&measures);
        let heights: Vec<f64> = svg
            .lines()
            .filter(|line| line.contains("<title>") && line.starts_with("<rect"))
            .map(|line| line.split("height=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(heights.len(), 2);
        assert!((heights[0] - 2.0 * heights[1]).abs() < 0.2, "{heights:?}");
        assert_eq!(svg.matches("class=\"target\"").count(), 2);
        assert_eq!(svg.matches("not measured").count(), PANELS.len() - 1);
        assert!(svg.contains("≥ 1500: missed") && svg.contains("≥ 1500: met"), "{svg}");
    }
}
