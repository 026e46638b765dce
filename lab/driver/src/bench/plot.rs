// SPDX-License-Identifier: MIT OR Apache-2.0
//! The times of a run as an SVG: one bar each, on a logarithmic scale.

use std::fmt::Write;

use hcall_measurement::{Measurement, Unit};

use super::report::Report;

const ROW: usize = 22;
const TOP: usize = 30;
const NAMES: usize = 640;
const BARS: usize = 480;
const VALUES: usize = 120;

/// The scale: from 10 ns, in powers of ten, to 10 ms.
const FIRST_POWER: i32 = 1;
const LAST_POWER: i32 = 7;

fn nanoseconds(measurement: &Measurement) -> Option<f64> {
    match measurement.unit {
        Unit::Nanoseconds => Some(measurement.value),
        Unit::Microseconds => Some(measurement.value * 1e3),
        _ => None,
    }
}

/// Where a time stands on the scale, in pixels from its start.
fn position(nanoseconds: f64) -> usize {
    let powers = f64::from(LAST_POWER - FIRST_POWER);
    let fraction = (nanoseconds.max(1.0).log10() - f64::from(FIRST_POWER)) / powers;
    (fraction.clamp(0.0, 1.0) * BARS as f64) as usize
}

pub(super) fn svg(report: &Report) -> String {
    let rows: Vec<(&str, &Measurement, f64)> = report
        .places
        .iter()
        .flat_map(|place| {
            let named = move |one| Some((place.name.as_str(), one, nanoseconds(one)?));
            place.measurements.iter().filter_map(named)
        })
        .collect();
    let (width, height) = (NAMES + BARS + VALUES, TOP + ROW * (rows.len() + 1));
    // Nothing of this can fail: it is written to a string.
    let mut svg = String::new();
    let _ = writeln!(
        svg,
        "<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' \
         font-family='sans-serif' font-size='12'>\n<rect width='100%' height='100%' fill='white'/>"
    );
    for power in FIRST_POWER..=LAST_POWER {
        let x = NAMES + position(10_f64.powi(power));
        let label = [
            "10 ns", "100 ns", "1 us", "10 us", "100 us", "1 ms", "10 ms",
        ][(power - FIRST_POWER) as usize];
        let _ = writeln!(
            svg,
            "<line x1='{x}' y1='{TOP}' x2='{x}' y2='{height}' stroke='#ccc'/>\
             <text x='{x}' y='18' text-anchor='middle'>{label}</text>"
        );
    }
    for (row, (place, measurement, time)) in rows.into_iter().enumerate() {
        let y = TOP + ROW * row;
        let (text, bar) = (y + 15, y + 4);
        let (end, after) = (position(time), NAMES + position(time) + 6);
        let name = escape(&format!("{place}: {}", measurement.name));
        let _ = writeln!(
            svg,
            "<text x='{}' y='{text}' text-anchor='end'>{name}</text>\
             <rect x='{NAMES}' y='{bar}' width='{end}' height='14' fill='#4878a8'/>\
             <text x='{after}' y='{text}'>{:.1} {}</text>",
            NAMES - 8,
            measurement.value,
            measurement.unit.sign(),
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::Place;

    #[test]
    fn times_are_bars_and_counts_are_not() {
        let mut report = Report::new(Default::default());
        let time = Measurement::new("a < b", 100.0, Unit::Nanoseconds);
        let count = Measurement::new("exits", 1.0, Unit::Count);
        report.places.push(Place::new("here", vec![time, count]));
        let svg = svg(&report);
        assert!(svg.contains("here: a &lt; b") && !svg.contains("exits"));
        assert_eq!(position(100.0), BARS / 6);
        assert_eq!(position(1e12), BARS);
    }
}
