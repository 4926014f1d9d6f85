//! Line coverage of each crate, from what instrumented tests left behind; fails where it is below its floor.
//!
//! usage: coverage <root> <profiles> <objects> [--floors FILE] [--missing CRATE]
//!
//! `root` is the checkout; `profiles` a folder of `.profraw` files; `objects` a file with the paths of the programs that wrote
//! them, one a line. The file of floors has a folder and a percentage on each line, `*` for all others; without it nothing is
//! asked of a crate. `--missing crates/x` names the lines of a crate that did not run.
//!
//! A line counts if it has a letter or a digit and a region of a function lies on it; it is covered if the narrowest region
//! that reaches over it ran in any program, or one that begins on it did. Tests do not count: neither `tests/`, nor what
//! `#[cfg(test)]` stands before, nor the file of a module so marked. What is generated does not count: it lies outside `src`.
//!
//! It ends with 0 if every crate keeps its floor, with 1 if one does not or has no data, with 2 if nothing can be said.

mod floors;
mod lines;
mod profiles;
mod source;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};

use crate::floors::Floors;
use crate::lines::Lines;
use crate::source::Sources;

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

#[derive(Debug)]
struct Arguments {
    root: PathBuf,
    profiles: PathBuf,
    objects: PathBuf,
    floors: Option<PathBuf>,
    missing: Option<String>,
}

impl Arguments {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut paths = Vec::new();
        let (mut floors, mut missing) = (None, None);
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--floors" => floors = Some(arguments.next().context("--floors wants a file")?.into()),
                "--missing" => missing = Some(arguments.next().context("--missing wants a folder")?),
                _ => paths.push(PathBuf::from(argument)),
            }
        }
        let [root, profiles, objects] = <[PathBuf; 3]>::try_from(paths).map_err(|_| {
            anyhow::anyhow!("usage: coverage <root> <profiles> <objects> [--floors FILE] [--missing CRATE]")
        })?;
        Ok(Self {
            root,
            profiles,
            objects,
            floors,
            missing,
        })
    }
}

fn run() -> Result<bool> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    let root = fs::canonicalize(&arguments.root).with_context(|| arguments.root.display().to_string())?;
    let floors = arguments.floors.as_deref().map(Floors::read).transpose()?;
    let sources = Sources::read(&root)?;
    let listed =
        fs::read_to_string(&arguments.objects).with_context(|| arguments.objects.display().to_string())?;
    let objects: Vec<PathBuf> = listed
        .lines()
        .filter(|line| !line.is_empty())
        .map(Into::into)
        .collect();
    let regions = profiles::regions(&arguments.profiles, &objects, |path| sources.find(&root, path))?;
    let mut found: BTreeMap<&str, Lines> = BTreeMap::new();
    for (path, regions) in &regions {
        let source = &sources.files[path];
        let lines = Lines::of(&source.text, &source.tests, regions);
        if arguments.missing.as_deref() == Some(&source.home) {
            tell_missing(path, &lines);
        }
        found.entry(&source.home).or_default().add(lines);
    }
    ensure!(
        found.values().any(|lines| lines.all > 0),
        "no profile says anything of a file below {}",
        root.display()
    );
    let Some(floors) = floors else {
        found
            .iter()
            .for_each(|(home, lines)| println!("{}", row(home, lines, None)));
        return Ok(true);
    };
    judge(&floors, &sources.homes, &found)
}

/// Prints every crate beside its floor, and tells whether all keep theirs.
fn judge(floors: &Floors, homes: &[String], found: &BTreeMap<&str, Lines>) -> Result<bool> {
    if let Some(unknown) = floors
        .named()
        .find(|named| !homes.iter().any(|home| home == named))
    {
        bail!("{unknown} has a floor and is not there");
    }
    println!(
        "{:<28} {:>7} {:>7} {:>8} {:>6}",
        "CRATE", "LINES", "COVERED", "PERCENT", "FLOOR"
    );
    let mut good = true;
    for home in homes {
        let Some(floor) = floors.of(home) else { continue };
        match found.get(home.as_str()).filter(|lines| lines.all > 0) {
            Some(lines) => {
                good &= lines.percent() >= floor;
                println!("{}", row(home, lines, Some(floor)));
            }
            None => {
                good = false;
                println!("{home:<28} no program says anything of it");
            }
        }
    }
    Ok(good)
}

fn row(home: &str, lines: &Lines, floor: Option<f64>) -> String {
    let percent = lines.percent();
    let (all, covered) = (lines.all, lines.covered);
    let floor = match floor {
        Some(floor) if percent < floor => format!(" {floor:>6.0}  below its floor"),
        Some(floor) => format!(" {floor:>6.0}"),
        None => String::new(),
    };
    format!("{home:<28} {all:>7} {covered:>7} {percent:>8.1}{floor}")
}

fn tell_missing(path: &Path, lines: &Lines) {
    if lines.missing.is_empty() {
        return;
    }
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for line in &lines.missing {
        match ranges.last_mut() {
            Some((_, end)) if *end + 1 == *line => *end = *line,
            Some(_) | None => ranges.push((*line, *line)),
        }
    }
    let ranges: Vec<String> = ranges
        .iter()
        .map(|(start, end)| {
            if start == end {
                start.to_string()
            } else {
                format!("{start}-{end}")
            }
        })
        .collect();
    println!(
        "{} {}/{}: {}",
        path.display(),
        lines.covered,
        lines.all,
        ranges.join(" ")
    );
}
