//! Money under random programmes: users who buy, pay in every way and want their money back, providers that lose, repeat,
//! mix up and forge, processes that are killed. Whatever happens, in the end the books agree. Slow: `make money-seeds`.
//!
//! Seeds are played together, a batch on a platform, since most of the time is waiting. `SEED=n make money-seeds` plays one
//! alone, `FIRST=n` makes the seeds begin there.

mod batch;
mod faults;
mod operator;
mod people;
mod planted;
mod programme;
mod recorder;
mod replay;
mod rest;
mod world;

use futures::stream::{self, StreamExt as _};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::batch::{Failure, Tally};

/// How many seeds are played together.
const BATCH: usize = 25;
/// How many batches are under way at once. One of them keeps the machine busy, the others wait for what lasts a minute.
const LANES: usize = 3;
/// From so many seeds on, everything that can happen has to have happened.
const MANY: usize = 100;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok().filter(|text| !text.is_empty())?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable} is to be a number, not {text:?}")))
}

fn seeds() -> Vec<u64> {
    if let Some(seed) = number("SEED") {
        return vec![seed];
    }
    let first = number("FIRST").unwrap_or_else(|| u64::from(rand::random::<u32>()));
    (first..first + number("SEEDS").unwrap_or(200)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_any_programme_the_books_agree_and_nothing_is_left_under_way() {
    let seeds = seeds();
    let (first, count) = (seeds.first().copied().expect("there are seeds"), seeds.len());
    eprintln!("FIRST={first} SEEDS={count}");
    let busy = Semaphore::new(1);
    let played = stream::iter(seeds.chunks(BATCH)).map(async |seeds| {
        let begun = Instant::now();
        let played = batch::run(seeds, &busy).await;
        let (from, to) = (seeds.first().unwrap(), seeds.last().unwrap());
        let tally = played.as_ref().ok();
        eprintln!("seeds {from} to {to}: {tally:?} after {:.0?}", begun.elapsed());
        if let Err(failure) = &played {
            eprintln!("{failure}");
        }
        played
    });
    let played: Vec<Result<Tally, Failure>> = played.buffer_unordered(LANES).collect().await;
    let mut wrong = Vec::new();
    let mut seen = Tally::default();
    for batch in played {
        match batch {
            Ok(tally) => seen += tally,
            Err(failure) => wrong.extend(failure.complaints),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    if count >= MANY {
        assert!(seen.has_everything(), "something never happened: {seen:?}");
    }
}
