// SPDX-License-Identifier: MIT OR Apache-2.0
//! Many times of the same thing, and what of them is worth saying.

use serde_json::{json, Value};
use std::fmt::Write as _;
use std::num::NonZero;

/// Nanoseconds a call, one sample or more.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Timing {
    calls_per_sample: NonZero<u32>,
    /// In ascending order, not empty.
    samples: Vec<f64>,
}

/// What is said of them: name in JSON, head of the column, share of the samples not above.
const QUANTILES: [(&str, &str, f64); 6] = [
    ("least", "least", 0.0),
    ("median", "median", 0.5),
    ("p90", "90 %", 0.9),
    ("p99", "99 %", 0.99),
    ("p999", "99.9 %", 0.999),
    ("most", "most", 1.0),
];

impl Timing {
    /// Of `first` and `others`: nanoseconds that `calls_per_sample` calls took together.
    pub(crate) fn new(
        calls_per_sample: NonZero<u32>,
        first: u128,
        others: impl IntoIterator<Item = u128>,
    ) -> Self {
        let each = f64::from(calls_per_sample.get());
        let mut samples: Vec<f64> = std::iter::once(first)
            .chain(others)
            .map(|together| together as f64 / each)
            .collect();
        samples.sort_by(f64::total_cmp);
        Self {
            calls_per_sample,
            samples,
        }
    }

    /// The least sample that so large a share of them does not exceed.
    fn quantile(&self, share: f64) -> f64 {
        let rank = (share * self.samples.len() as f64).ceil() as usize;
        self.samples[rank.clamp(1, self.samples.len()) - 1]
    }

    fn calls(&self) -> u64 {
        self.samples.len() as u64 * u64::from(self.calls_per_sample.get())
    }

    /// The heads of the columns of [`Self::text`].
    pub(crate) fn heads() -> String {
        let mut text = format!("{:>9}{:>9}", "calls", "samples");
        for (_, head, _) in QUANTILES {
            // Writing to a string cannot fail.
            let _ = write!(text, " {head:>10}");
        }
        text
    }

    /// Microseconds a call.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{:>9}{:>9}", self.calls(), self.samples.len());
        for (_, _, share) in QUANTILES {
            let _ = write!(text, " {:>10.3}", self.quantile(share) / 1000.0);
        }
        text
    }

    /// Nanoseconds a call.
    pub(crate) fn json(&self) -> Value {
        let nanoseconds: serde_json::Map<String, Value> = QUANTILES
            .into_iter()
            .map(|(name, _, share)| (name.to_owned(), json!(self.quantile(share))))
            .collect();
        json!({
            "calls": self.calls(),
            "samples": self.samples.len(),
            "calls_per_sample": self.calls_per_sample,
            "nanoseconds": nanoseconds,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(calls_per_sample: u32, samples: &[u128]) -> Timing {
        let calls = NonZero::new(calls_per_sample).expect("not zero");
        Timing::new(calls, samples[0], samples[1..].iter().copied())
    }

    #[test]
    fn quantiles_are_samples() {
        let hundred: Vec<u128> = (1..=100).rev().collect();
        let timing = of(1, &hundred);
        let found = QUANTILES.map(|(_, _, share)| timing.quantile(share));
        assert_eq!(found, [1.0, 50.0, 90.0, 99.0, 100.0, 100.0]);
        let alone = of(1, &[7]);
        let found = QUANTILES.map(|(_, _, share)| alone.quantile(share));
        assert_eq!(found, [7.0; 6]);
    }

    #[test]
    fn a_sample_is_divided_by_its_calls() {
        let timing = of(4, &[4000, 8000]);
        assert_eq!(timing.json()["calls"], 8);
        assert_eq!(timing.json()["nanoseconds"]["most"], 2000.0);
        assert_eq!(
            timing.text(),
            format!(
                "        8        2{0}{0}{1}{1}{1}{1}",
                "      1.000", "      2.000"
            )
        );
        assert_eq!(timing.text().len(), Timing::heads().len());
    }
}
