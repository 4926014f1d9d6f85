//! Which lines of a file ran.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use llvm_profparser::SourceLocation;

/// Regions of a file and how often each ran, over all programs.
pub type Regions = BTreeMap<SourceLocation, u64>;

/// Lines of code, and those of them that ran.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Lines {
    pub all: usize,
    pub covered: usize,
    /// Numbers of those that did not run, of one file.
    pub missing: Vec<usize>,
}

impl Lines {
    /// Counts the lines of a file, but for those of its tests.
    pub fn of(text: &str, tests: &[RangeInclusive<usize>], regions: &Regions) -> Self {
        let mut counts: BTreeMap<usize, u64> = BTreeMap::new();
        // From the widest to the narrowest: a line belongs to the narrowest region that reaches over it from above.
        let mut sorted: Vec<(&SourceLocation, u64)> =
            regions.iter().map(|(at, count)| (at, *count)).collect();
        sorted.sort_by_key(|(at, _)| std::cmp::Reverse((at.line_end - at.line_start, at.column_end)));
        for (at, count) in &sorted {
            for line in at.line_start + 1..=at.line_end {
                counts.insert(line, *count);
            }
        }
        for (at, count) in &sorted {
            let known = counts.entry(at.line_start).or_default();
            *known = (*known).max(*count);
        }
        let mut found = Self::default();
        for (line, number) in text.lines().zip(1..) {
            let Some(count) = counts.get(&number) else {
                continue;
            };
            if !is_code(line) || tests.iter().any(|test| test.contains(&number)) {
                continue;
            }
            found.all += 1;
            if *count > 0 {
                found.covered += 1;
            } else {
                found.missing.push(number);
            }
        }
        found
    }

    /// Adds the lines of another file.
    pub fn add(&mut self, other: Self) {
        self.all += other.all;
        self.covered += other.covered;
    }

    pub fn percent(&self) -> f64 {
        100.0 * self.covered as f64 / self.all.max(1) as f64
    }
}

/// Tells whether a line says something that runs.
fn is_code(line: &str) -> bool {
    let line = line.trim();
    !line.starts_with("//") && line.chars().any(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line_start: usize, line_end: usize) -> SourceLocation {
        SourceLocation {
            line_start,
            column_start: 1,
            line_end,
            column_end: 80,
        }
    }

    const TEXT: &str = "fn a() {\n    if b {\n        c();\n    }\n    // said\n    d();\n}\n\n#[cfg(test)]\nmod tests {\n    fn t() {}\n}\n";
    const TESTS: [RangeInclusive<usize>; 1] = [9..=12];

    #[test]
    fn a_line_that_did_not_run_is_not_covered_though_its_function_is() {
        let regions = Regions::from([(at(1, 7), 3), (at(2, 4), 0)]);
        let lines = Lines::of(TEXT, &TESTS, &regions);
        // a, if b, c, d; braces, remarks and tests do not count.
        assert_eq!((lines.all, lines.covered), (4, 3));
        assert_eq!(lines.missing, [3]);
    }

    #[test]
    fn nothing_of_a_function_that_never_ran_is_covered() {
        let regions = Regions::from([(at(1, 7), 0), (at(11, 11), 5)]);
        let lines = Lines::of(TEXT, &TESTS, &regions);
        assert_eq!((lines.all, lines.covered), (4, 0));
    }
}
