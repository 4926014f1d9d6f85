//! The story of `evenkeel dev --demo`: what is promised, shown on real processes through the real API: people come
//! through the gateway, operators over gRPC.
//!
//! Quota, tasks, billing and the providers run in this process; the orchestrator is a child that one story kills. Every story
//! prints the saga's timeline and the quota before and after, and checks what was promised.

mod child;
mod money;
mod narrator;
mod stage;
mod stories;
mod web;

use doubles::ai::AiProvider;

use crate::cmd::dev::Places;
use crate::exit::Failure;
use crate::output;

pub(crate) use child::Child;
use narrator::Narrator;
use stage::Stage;

/// How the story ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Everything was as promised.
    pub(crate) kept: bool,
    /// The orchestrator, still running.
    pub(crate) child: Option<Child>,
}

/// Plays the six stories. `exit` leaves out what only makes sense if the servers stay up.
///
/// # Errors
/// If the servers cannot be reached at all, or nothing can be printed. A broken promise is not an error.
pub(crate) async fn play(
    places: &Places,
    provider: &AiProvider,
    child: Child,
    exit: bool,
) -> Result<Outcome, Failure> {
    let narrator = Narrator::new(output::colour());
    let mut stage = Stage::open(places, provider, child, narrator)?;
    let begun = std::time::Instant::now();
    for (title, story) in stories::all() {
        stage.narrator.story(title)?;
        if let Err(failure) = story(&mut stage).await {
            stage
                .narrator
                .promise(false, &format!("the story could be played: {failure}"))?;
        }
    }
    stories::epilogue(&mut stage).await?;
    let broken = stage.narrator.broken();
    if broken > 0 {
        output::remark(&format!(
            "last lines of the orchestrator's log:\n{}",
            stage.child.log_tail()
        ));
    }
    stage.narrator.close(begun.elapsed())?;
    if !exit {
        stage.narrator.say("The servers stay up: look around.")?;
    }
    Ok(Outcome {
        kept: broken == 0,
        child: Some(stage.child),
    })
}
