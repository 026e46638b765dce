// SPDX-License-Identifier: MIT OR Apache-2.0
//! The times of a run as an SVG: a bar each, under the name of its machine, on a logarithmic
//! scale; a line on the bar shows the quartiles, where there are.

use std::fmt::Write;

use hcall_measurement::{Measurement, Unit};

use super::report::{Place, Report};

/// Everything in pixels.
const ROW: usize = 22;
const TOP: usize = 52;
const BOTTOM: usize = 30;
const NAMES: usize = 440;
const BARS: usize = 560;
const VALUES: usize = 110;
const BAR: usize = 14;

/// The scale: from 10 ns, in powers of ten, to 1 s.
const FIRST_POWER: i32 = 1;
const POWERS: [&str; 9] = [
    "10 ns", "100 ns", "1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s",
];

/// How many nanoseconds one of the unit is, if it is one of time.
fn nanoseconds(unit: Unit) -> Option<f64> {
    match unit {
        Unit::Nanoseconds => Some(1.0),
        Unit::Microseconds => Some(1e3),
        _ => None,
    }
}

/// Where a time stands on the scale, in pixels from its start.
fn position(nanoseconds: f64) -> usize {
    let powers = (POWERS.len() - 1) as f64;
    let fraction = (nanoseconds.max(1.0).log10() - f64::from(FIRST_POWER)) / powers;
    (fraction.clamp(0.0, 1.0) * BARS as f64) as usize
}

/// A time in the unit that suits it.
fn readable(nanoseconds: f64) -> String {
    match nanoseconds {
        time if time < 1e3 => format!("{time:.1} ns"),
        time if time < 1e6 => format!("{:.1} µs", time / 1e3),
        time => format!("{:.1} ms", time / 1e6),
    }
}

/// A line of the plot.
enum Row<'a> {
    Place(&'a str),
    Time(&'a Measurement, f64),
}

fn rows(places: &[Place]) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for place in places {
        let times = place.measurements.iter();
        let times = times.filter_map(|one| Some(Row::Time(one, nanoseconds(one.unit)?)));
        rows.push(Row::Place(&place.name));
        let names = rows.len();
        rows.extend(times);
        if rows.len() == names {
            rows.pop();
        }
    }
    rows
}

// Nothing here can fail: it is written to a string.
pub(super) fn svg(report: &Report) -> String {
    let rows = rows(&report.places);
    let end = TOP + ROW * rows.len();
    let (width, height) = (NAMES + BARS + VALUES, end + BOTTOM);
    let mut svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' \
         font-family='sans-serif' font-size='12'>\n\
         <rect width='100%' height='100%' fill='white'/>\n\
         <text x='{NAMES}' y='18'>Time of each, least or median: shorter is better. \
         The scale is logarithmic.</text>\n"
    );
    draw_scale(&mut svg, end);
    for (index, row) in rows.iter().enumerate() {
        let top = TOP + ROW * index;
        match row {
            Row::Place(name) => draw_place(&mut svg, top, name),
            Row::Time(measurement, scale) => draw_time(&mut svg, top, measurement, *scale),
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw_scale(svg: &mut String, end: usize) {
    for (label, power) in POWERS.iter().zip(FIRST_POWER..) {
        let x = NAMES + position(10_f64.powi(power));
        let (above, below) = (TOP - 8, end + 18);
        let _ = writeln!(
            svg,
            "<line x1='{x}' y1='{TOP}' x2='{x}' y2='{end}' stroke='#ccc'/>\
             <text x='{x}' y='{above}' text-anchor='middle'>{label}</text>\
             <text x='{x}' y='{below}' text-anchor='middle'>{label}</text>"
        );
    }
}

fn draw_place(svg: &mut String, top: usize, name: &str) {
    let (name, baseline) = (escape(name), top + ROW - 7);
    let _ = writeln!(
        svg,
        "<rect x='0' y='{top}' width='{}' height='{ROW}' fill='#eee'/>\
         <text x='8' y='{baseline}' font-weight='bold'>{name}</text>",
        NAMES + BARS + VALUES,
    );
}

fn draw_time(svg: &mut String, top: usize, measurement: &Measurement, scale: f64) {
    let length = position(measurement.value * scale);
    let (name, baseline, bar) = (escape(&measurement.name), top + ROW - 7, top + 4);
    let _ = write!(
        svg,
        "<text x='{}' y='{baseline}' text-anchor='end'>{name}</text>\
         <rect x='{NAMES}' y='{bar}' width='{length}' height='{BAR}' fill='#7fa6cf'/>",
        NAMES - 8,
    );
    let mut after = length;
    if let Some((first, third)) = measurement.quartiles {
        let (first, third) = (position(first * scale), position(third * scale));
        let middle = bar + BAR / 2;
        let _ = write!(
            svg,
            "<line x1='{}' y1='{middle}' x2='{}' y2='{middle}' stroke='#1c3d63' \
             stroke-width='3'/>",
            NAMES + first,
            NAMES + third,
        );
        after = after.max(third);
    }
    let (x, value) = (NAMES + after + 6, readable(measurement.value * scale));
    // White around the text: the lines of the scale run behind it.
    let _ = writeln!(
        svg,
        "<text x='{x}' y='{baseline}' stroke='white' stroke-width='4' \
         paint-order='stroke'>{value}</text>"
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_bars_and_counts_are_not() {
        let mut report = Report::new(Default::default());
        let time = Measurement::new("a < b", 100.0, Unit::Nanoseconds);
        let count = Measurement::new("exits", 1.0, Unit::Count);
        let place = Place::new("here", vec![time, count.clone()]);
        report.places.push(place);
        report.places.push(Place::new("there", vec![count]));
        let svg = svg(&report);
        assert!(svg.contains("a &lt; b") && svg.contains("100.0 ns"));
        assert!(svg.contains("here") && !svg.contains("exits") && !svg.contains("there"));
        assert_eq!(position(100.0), BARS / 8);
        assert_eq!(position(1e12), BARS);
    }

    #[test]
    fn a_time_has_the_unit_that_suits_it() {
        let texts = [19.7, 2_345.0, 7_000_000.0].map(readable);
        assert_eq!(texts, ["19.7 ns", "2.3 µs", "7.0 ms"]);
    }
}
