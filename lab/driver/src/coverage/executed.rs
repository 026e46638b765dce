// SPDX-License-Identifier: MIT OR Apache-2.0
//! The counters that were ever not zero, as consoles say it.

/// How a line about the counters begins; `N HEX` follows, as `lab/coverage` writes it.
const MARK: &str = "lab-coverage: ";

/// One bit for each counter.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Executed(Vec<bool>);

impl Executed {
    /// What all lines of a console say together, or why that cannot be said.
    pub(crate) fn of_console(lines: &[String]) -> Result<Self, String> {
        let mut all: Option<Vec<bool>> = None;
        for line in lines {
            let Some((_, said)) = line.split_once(MARK) else {
                continue;
            };
            let one = parse(said).ok_or_else(|| format!("`{line}` is not about counters"))?;
            match &mut all {
                None => all = Some(one),
                Some(all) if all.len() == one.len() => {
                    for (bit, also) in all.iter_mut().zip(one) {
                        *bit |= also;
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

    /// The counters as the module would hold them: 1 or 0.
    pub(crate) fn counters(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().map(|bit| u64::from(*bit))
    }
}

/// `N HEX`: N bits, the lowest of the first byte first.
fn parse(said: &str) -> Option<Vec<bool>> {
    let (count, digits) = said.trim_end().split_once(' ')?;
    let count: usize = count.parse().ok()?;
    if count == 0 || digits.len() != count.div_ceil(8) * 2 || !digits.is_ascii() {
        return None;
    }
    let mut bits = Vec::new();
    for start in (0..digits.len()).step_by(2) {
        let byte = u8::from_str_radix(&digits[start..start + 2], 16).ok()?;
        bits.extend((0..8).map(|bit| byte & (1 << bit) != 0));
    }
    bits.truncate(count);
    Some(bits)
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
        let executed = of(&["ok 1 a", "lab-coverage: 10 0102", "lab-coverage: 10 8000"]);
        let counters: Vec<u64> = executed.expect("two lines").counters().collect();
        assert_eq!(counters, [1, 0, 0, 0, 0, 0, 0, 1, 0, 1]);
    }

    #[test]
    fn what_says_nothing() {
        for lines in [
            &[][..],
            &["lab-coverage: "],
            &["lab-coverage: 0 "],
            &["lab-coverage: 9 01"],
            &["lab-coverage: 8 0x"],
            &["lab-coverage: 8 01", "lab-coverage: 9 0101"],
        ] {
            assert!(of(lines).is_err(), "{lines:?}");
        }
    }
}
