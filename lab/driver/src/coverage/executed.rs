// SPDX-License-Identifier: MIT OR Apache-2.0
//! How often the counters were passed, as consoles say it.

/// How a line about the counters begins; `N HEX,HEX,…` follows, as `lab/coverage` writes it.
const MARK: &str = "lab-coverage: ";

/// The counters, summed over all guests.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Executed(Vec<u64>);

impl Executed {
    /// What all lines of a console say together, or why that cannot be said.
    pub(crate) fn of_console(lines: &[String]) -> Result<Self, String> {
        let mut all: Option<Vec<u64>> = None;
        for line in lines {
            let Some((_, said)) = line.split_once(MARK) else {
                continue;
            };
            let one = parse(said).ok_or_else(|| format!("`{line}` is not about counters"))?;
            match &mut all {
                None => all = Some(one),
                Some(all) if all.len() == one.len() => {
                    for (sum, also) in all.iter_mut().zip(one) {
                        *sum = sum.saturating_add(also);
                    }
                }
                Some(all) => {
                    return Err(format!(
                        "there were modules with {} and with {} counters",
                        all.len(),
                        one.len()
                    ));
                }
            }
        }
        all.map(Self)
            .ok_or_else(|| "no guest said which counters moved".to_owned())
    }

    /// How many counters there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The counters as one module would hold them that had done all of it.
    pub(crate) fn counters(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().copied()
    }
}

/// `N HEX,HEX,…`: N numbers, of which those that are 0 are empty.
fn parse(said: &str) -> Option<Vec<u64>> {
    let (count, numbers) = said.trim_end_matches(['\r', '\n']).split_once(' ')?;
    let count: usize = count.parse().ok()?;
    let numbers: Vec<u64> = numbers
        .split(',')
        .map(|number| match number {
            "" => Some(0),
            digits => u64::from_str_radix(digits, 16).ok(),
        })
        .collect::<Option<_>>()?;
    (count > 0 && numbers.len() == count).then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Result<Executed, String> {
        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        Executed::of_console(&lines)
    }

    #[test]
    fn lines_add_up() {
        let executed = of(&["ok 1 a", "lab-coverage: 4 1,,ff,", "lab-coverage: 4 2,,1,3"]);
        let counters: Vec<u64> = executed.expect("two lines").counters().collect();
        assert_eq!(counters, [3, 0, 0x100, 3]);
    }

    #[test]
    fn what_says_nothing() {
        for lines in [
            &[][..],
            &["lab-coverage: "],
            &["lab-coverage: 0 "],
            &["lab-coverage: 9 1"],
            &["lab-coverage: 1 0x"],
            &["lab-coverage: 1 1", "lab-coverage: 2 1,1"],
        ] {
            assert!(of(lines).is_err(), "{lines:?}");
        }
    }
}
