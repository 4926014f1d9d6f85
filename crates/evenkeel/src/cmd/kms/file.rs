//! `evenkeel kms seal`, and sealed files that are re-wrapped.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use kms::Kms;
use zeroize::Zeroizing;

use super::failed;
use crate::exit::{Code, Failure};
use crate::output;
use crate::wiring::sealed_file;

/// Seals a file, such as the private key at a payment provider
///
/// The result opens under the file name of --out only: whoever renames it has to seal it again. The clear file stays where it
/// is; remove it when the sealed one works, and from backups.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel kms seal wechat.key.pem --out /etc/evenkeel/wechat.key.pem
  printf %s \"$API_V3_KEY\" | evenkeel kms seal - --out /etc/evenkeel/wechat.api-v3-key")]
pub(crate) struct Args {
    /// The clear file; - is standard input
    file: PathBuf,
    /// Where the sealed one goes; never overwrites one
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Runs `evenkeel kms seal`.
pub(super) async fn seal(args: Args, kms: &Kms) -> Result<Code, Failure> {
    let plain = if args.file == Path::new("-") {
        read(io::stdin().lock(), &args.file)?
    } else {
        let file = File::open(&args.file).map_err(|error| unreadable(&args.file, &error))?;
        read(file, &args.file)?
    };
    if sealed_file::is_sealed(&plain) {
        return Err(Failure::new(
            Code::Failed,
            format!("{} is sealed already", args.file.display()),
        ));
    }
    let sealed = sealed_file::seal(kms, &args.out, &plain).await;
    let sealed = sealed.map_err(|error| failed("nothing was sealed", &error))?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&args.out)
        .map_err(|error| unwritable(&args.out, &error))?;
    file.write_all(sealed.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(|error| unwritable(&args.out, &error))?;
    output::emit(&format!(
        "{}: sealed under {}\n",
        args.out.display(),
        kms.current()
    ))?;
    Ok(Code::Ok)
}

/// What became of a sealed file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Current,
    Old,
    Rewrapped,
}

/// Re-wraps a sealed file in place; with `look` opens it only.
pub(super) async fn rewrap(kms: &Kms, path: &Path, look: bool) -> Result<Fate, Failure> {
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let content = read(file, path)?;
    let what = || format!("{} was not re-wrapped", path.display());
    if !sealed_file::is_sealed(&content) {
        return Err(
            Failure::new(Code::Failed, what()).next("it is in the clear: evenkeel kms seal FILE --out OTHER")
        );
    }
    let new = sealed_file::rewrap(kms, path, &content).await;
    let Some(new) = new.map_err(|error| failed(&what(), &error))? else {
        // It says that it is under the current key; whether it is, shows the opening.
        let opened = sealed_file::open(kms, path, &content).await;
        opened.map_err(|error| failed(&what(), &error))?;
        return Ok(Fate::Current);
    };
    if look {
        return Ok(Fate::Old);
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let draft = path.with_file_name(name);
    // Whole or not at all: it is the only copy.
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(new.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    write().map_err(|error| unwritable(path, &error))?;
    Ok(Fate::Rewrapped)
}

fn read(from: impl io::Read, path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut content = Zeroizing::new(Vec::new());
    let limit = sealed_file::MAX_BYTES + 1;
    let read = from.take(limit).read_to_end(&mut content);
    match read {
        Ok(_) if u64::try_from(content.len()).unwrap_or(limit) < limit => Ok(content),
        Ok(_) => Err(Failure::new(
            Code::Failed,
            format!("{} is too large to be sealed", path.display()),
        )),
        Err(error) => Err(unreadable(path, &error)),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Code::Failed, format!("{} cannot be read", path.display())).because(error)
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Code::Failed, format!("{} cannot be written", path.display())).because(error)
}
