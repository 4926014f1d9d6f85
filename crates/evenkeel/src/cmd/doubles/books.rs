//! The books of a payment provider in a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::doubles::kept;
use ::doubles::pay::Books;
use process::Shutdown;

use crate::cmd::input;
use crate::exit::{Code, Failure};

/// Pause between two looks at whether the books have changed.
const LOOK: Duration = Duration::from_secs(1);
/// Most times that the books are written at the end, while requests in hand still change them.
const LAST_WRITES: usize = 5;

/// Reads books; a file that is not there is empty books.
///
/// # Errors
/// It cannot be read, or is no books; line and column are named.
pub(super) fn read(path: Option<&Path>) -> Result<Books, Failure> {
    let Some(path) = path.filter(|path| path.exists()) else {
        return Ok(Books::default());
    };
    serde_json::from_str(&input::file_text(path)?).map_err(|error| {
        Failure::new(Code::Usage, format!("{} is no books of a double", path.display()))
            .because(&error)
            .next("name the file that --books wrote, or one that is not there yet")
    })
}

/// Writes the books whenever they have changed, until the order to end, and then a last time. Without a file it only waits.
///
/// # Errors
/// They cannot be written.
pub(super) async fn keep(
    path: Option<PathBuf>,
    shutdown: &Shutdown,
    books: impl Fn() -> Books,
) -> Result<(), Failure> {
    let Some(path) = path else {
        shutdown.requested().await;
        return Ok(());
    };
    let path: Arc<Path> = path.into();
    // Written at once: a place that cannot be written to is found out at the start.
    let mut written = write(&path, books()).await?;
    let stop = shutdown.token();
    while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
        let now = books();
        if now != written {
            written = write(&path, now).await?;
        }
    }
    for _ in 0..LAST_WRITES {
        let now = books();
        if now == written {
            break;
        }
        written = write(&path, now).await?;
    }
    Ok(())
}

async fn write(path: &Arc<Path>, books: Books) -> Result<Books, Failure> {
    let target = Arc::clone(path);
    let written = tokio::task::spawn_blocking(move || {
        kept::write(&target, &serde_json::to_vec(&books)?)?;
        Ok(books)
    });
    written
        .await
        .map_err(std::io::Error::other)
        .and_then(|written| written)
        .map_err(|error| Failure::unavailable("the books cannot be written").because(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_books_is_named_with_its_place() {
        let scratch = test_support::Scratch::new().unwrap();
        let path = scratch.path().join("books.json");
        assert_eq!(read(Some(&path)).unwrap(), Books::default());
        std::fs::write(&path, "{\"orders\": 7}").unwrap();
        let failure = read(Some(&path)).unwrap_err();
        assert_eq!(failure.code(), Code::Usage);
        let said = failure.to_string();
        assert!(said.contains("books.json") && said.contains("line 1"), "{said}");
    }
}
