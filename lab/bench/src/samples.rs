// SPDX-License-Identifier: MIT OR Apache-2.0
//! Timing on a machine that does other things besides.

use std::time::Instant;

/// What each of `variants` takes, by turns, so that what disturbs one disturbs the others
/// as likely: nanoseconds of each for each of `rounds` rounds.
pub(crate) fn interleave<V>(
    rounds: usize,
    variants: &mut [V],
    mut run: impl FnMut(&mut V) -> Result<(), String>,
) -> Result<Vec<Vec<f64>>, String> {
    let mut times = vec![Vec::with_capacity(rounds); variants.len()];
    for _ in 0..rounds {
        for (variant, times) in variants.iter_mut().zip(&mut times) {
            let start = Instant::now();
            run(variant)?;
            times.push(start.elapsed().as_nanos() as f64);
        }
    }
    Ok(times)
}

/// The least of `samples`: what is left where nothing disturbed.
pub(crate) fn least(samples: &[f64]) -> f64 {
    samples.iter().copied().fold(f64::INFINITY, f64::min)
}
