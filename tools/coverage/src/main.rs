//! Line coverage of each crate, from what instrumented tests left behind; fails where it is below its floor.
//!
//! usage: coverage <root> <profiles> <objects> <floors>
//!
//! `root` is the checkout; `profiles` a folder of `.profraw` files; `objects` a file with the paths of the programs that wrote
//! them, one a line; `floors` a file with a folder and a percentage on each line, `*` for all others.
//!
//! A line counts if code begins on it or reaches over it; it is covered if any of that ran. Files of tests do not count, nor
//! does a `mod tests` at the end of a file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use llvm_profparser::{CoverageMapping, SourceLocation, merge_profiles};

/// Regions of a file and how often each ran, over all programs.
type Regions = BTreeMap<SourceLocation, usize>;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("coverage: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [root, profiles, objects, floors] = arguments.as_slice() else {
        bail!("usage: coverage <root> <profiles> <objects> <floors>");
    };
    let floors = Floors::read(floors)?;
    let files = regions(root, profiles, objects)?;
    let mut crates: BTreeMap<String, Lines> = BTreeMap::new();
    for (path, regions) in &files {
        let Some(home) = home(path) else { continue };
        let text = fs::read_to_string(root.join(path)).with_context(|| path.display().to_string())?;
        let found = lines(&text, regions);
        crates.entry(home).or_default().add(found);
    }
    ensure!(
        !crates.is_empty(),
        "no profile says anything of a file below {}",
        root.display()
    );
    let mut good = true;
    println!(
        "{:<28} {:>7} {:>7} {:>8} {:>6}",
        "CRATE", "LINES", "COVERED", "PERCENT", "FLOOR"
    );
    for (home, lines) in &crates {
        let Some(floor) = floors.of(home) else { continue };
        let percent = lines.percent();
        let kept = percent >= floor;
        good &= kept;
        let mark = if kept { "" } else { "  below its floor" };
        println!(
            "{home:<28} {:>7} {:>7} {percent:>8.1} {floor:>6.0}{mark}",
            lines.all, lines.covered
        );
    }
    for home in floors.by_home.keys().filter(|home| !crates.contains_key(*home)) {
        println!("{home:<28} has a floor and no profile");
        good = false;
    }
    Ok(good)
}

/// What ran of each file below the root, by its path there.
fn regions(root: &Path, profiles: &Path, objects: &Path) -> Result<BTreeMap<PathBuf, Regions>> {
    let entries = fs::read_dir(profiles).with_context(|| profiles.display().to_string())?;
    let profiles: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    let profile = merge_profiles(&profiles).context("the profiles cannot be read")?;
    let listed = fs::read_to_string(objects).with_context(|| objects.display().to_string())?;
    let mut files: BTreeMap<PathBuf, Regions> = BTreeMap::new();
    for object in listed.lines().filter(|line| !line.is_empty()) {
        // One at a time: a program of tests has a hundred megabytes.
        let object = [PathBuf::from(object)];
        let mapping = CoverageMapping::new(&object, &profile, true)?;
        let report = mapping
            .generate_subreport(|paths| paths.iter().any(|path| ours(root, path).is_some()))
            .with_context(|| object[0].display().to_string())?;
        for (path, found) in report.files {
            let Some(path) = ours(root, &path) else { continue };
            let known = files.entry(path).or_default();
            for (location, count) in found.hits {
                let sum = known.entry(location).or_default();
                *sum = sum.saturating_add(count);
            }
        }
    }
    Ok(files)
}

/// The path below the root of a file that is ours and no test.
fn ours(root: &Path, path: &Path) -> Option<PathBuf> {
    let below = if path.is_absolute() {
        path.strip_prefix(root).ok()?
    } else {
        path
    };
    home(below)?;
    let named_test = |name: &str| {
        name == "tests" || name == "tests.rs" || name.ends_with("_tests.rs") || name == "build.rs"
    };
    let test = below.iter().any(|part| part.to_str().is_none_or(named_test));
    (!test && root.join(below).is_file()).then(|| below.to_owned())
}

/// The folder of the crate that a file belongs to: `crates/x` or `services/x`.
fn home(below: &Path) -> Option<String> {
    let mut parts = below.iter().map(|part| part.to_str().unwrap_or_default());
    match (parts.next()?, parts.next()?, parts.next()?) {
        (group @ ("crates" | "services"), name, "src") => Some(format!("{group}/{name}")),
        _ => None,
    }
}

/// Lines of code, and those of them that ran.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Lines {
    all: usize,
    covered: usize,
}

impl Lines {
    fn add(&mut self, other: Self) {
        self.all += other.all;
        self.covered += other.covered;
    }

    fn percent(self) -> f64 {
        if self.all == 0 {
            return 100.0;
        }
        100.0 * self.covered as f64 / self.all as f64
    }
}

/// Counts the lines of a file.
fn lines(text: &str, regions: &Regions) -> Lines {
    let end = code(text);
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    // From the widest to the narrowest: a line belongs to the narrowest region that reaches over it from above.
    let mut sorted: Vec<(&SourceLocation, usize)> = regions.iter().map(|(at, count)| (at, *count)).collect();
    sorted.sort_by_key(|(at, _)| std::cmp::Reverse((at.line_end - at.line_start, at.column_end)));
    for (at, count) in &sorted {
        for line in at.line_start + 1..=at.line_end.min(end) {
            counts.insert(line, *count);
        }
    }
    for (at, count) in &sorted {
        if at.line_start <= end {
            let known = counts.entry(at.line_start).or_default();
            *known = (*known).max(*count);
        }
    }
    let mut found = Lines::default();
    for (number, line) in text.lines().enumerate().take(end) {
        let Some(count) = counts.get(&(number + 1)) else {
            continue;
        };
        if is_code(line) {
            found.all += 1;
            found.covered += usize::from(*count > 0);
        }
    }
    found
}

/// Tells whether a line says something that runs.
fn is_code(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with("//") && line.chars().any(char::is_alphanumeric)
}

/// Number of the last line before the tests of a file.
fn code(text: &str) -> usize {
    let all: Vec<&str> = text.lines().collect();
    let tests = all.windows(2).position(|pair| {
        pair[0].trim() == "#[cfg(test)]"
            && pair[1].trim_start().starts_with("mod ")
            && pair[1].trim_end().ends_with('{')
    });
    tests.unwrap_or(all.len())
}

/// The least that must be covered, in percent.
#[derive(Debug)]
struct Floors {
    by_home: BTreeMap<String, f64>,
    others: f64,
    /// Crates that are tools of tests.
    without: Vec<String>,
}

impl Floors {
    fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self> {
        let mut floors = Self {
            by_home: BTreeMap::new(),
            others: 0.0,
            without: Vec::new(),
        };
        for line in text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                [home, "-"] => floors.without.push((*home).to_owned()),
                ["*", percent] => floors.others = percent.parse().context(line.to_owned())?,
                [home, percent] => {
                    let percent = percent.parse().context(line.to_owned())?;
                    floors.by_home.insert((*home).to_owned(), percent);
                }
                _ => bail!("expected a folder and a percentage: {line}"),
            }
        }
        Ok(floors)
    }

    fn of(&self, home: &str) -> Option<f64> {
        if self.without.iter().any(|without| without == home) {
            return None;
        }
        Some(self.by_home.get(home).copied().unwrap_or(self.others))
    }
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

    #[test]
    fn a_line_that_did_not_run_is_not_covered_though_its_function_is() {
        let regions = Regions::from([(at(1, 7), 3), (at(2, 4), 0)]);
        // a, if b, c, d; braces, remarks and tests do not count.
        assert_eq!(lines(TEXT, &regions), Lines { all: 4, covered: 3 });
    }

    #[test]
    fn nothing_of_a_function_that_never_ran_is_covered() {
        let regions = Regions::from([(at(1, 7), 0), (at(11, 11), 5)]);
        assert_eq!(lines(TEXT, &regions), Lines { all: 4, covered: 0 });
    }

    #[test]
    fn files_of_tests_and_of_others_are_not_ours() {
        let home = |path: &str| home(Path::new(path));
        assert_eq!(home("crates/a/src/b.rs"), Some("crates/a".to_owned()));
        assert_eq!(home("services/a/tests/it/b.rs"), None);
        assert_eq!(home("tests/e2e/src/lib.rs"), None);
    }

    #[test]
    fn floors_are_read_by_folder() {
        let floors = Floors::parse("# why\ncrates/a 85\n* 70\ncrates/b -\n").unwrap();
        assert_eq!(floors.of("crates/a"), Some(85.0));
        assert_eq!(floors.of("crates/b"), None);
        assert_eq!(floors.of("crates/c"), Some(70.0));
        assert!(Floors::parse("crates/a much").is_err());
    }
}
