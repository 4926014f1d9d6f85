//! How each claim is tried.

use std::process::Stdio;

use rpc::step::PENDING_HEADER;
use saga_definition::Barrier;
use tokio::process::Command;

use super::claim::Claim;
use super::stage::{Case, Stage};
use super::wire::{self, Answer, Told};
use super::{Found, Stop};

/// Calls that are made at the same time.
const AT_ONCE: usize = 8;
/// Another name and another index of a step.
const OTHER_STEP: &str = "CHECKED_TOO";
const OTHER_INDEX: u32 = 7;

impl Claim {
    pub(super) async fn run(self, stage: &mut Stage<'_>) -> Found {
        match self {
            Self::Answers => answers(stage).await,
            Self::Repeated => repeated(stage).await,
            Self::AtOnce => at_once(stage).await,
            Self::OtherRequest => other_request(stage).await,
            Self::OtherOperation => other_operation(stage).await,
            Self::Undone => undone(stage).await,
            Self::UndoneAgain => undone_again(stage).await,
            Self::ActionAfter => action_after(stage).await,
            Self::NothingToUndo => nothing_to_undo(stage).await,
            Self::Late => late(stage).await,
            Self::Race => race(stage).await,
            Self::Refused => refused(stage).await,
            Self::RefusedAgain => refused_again(stage).await,
            Self::NothingRefusedToUndo => nothing_refused_to_undo(stage).await,
            Self::NotRefusable => not_refusable(stage).await,
            Self::Bare => bare(stage).await,
            Self::Restart => restart(stage).await,
            Self::Pending => pending(stage),
        }
    }
}

fn broken<T>(saw: String) -> Result<T, Stop> {
    Err(Stop::Broken(saw))
}

/// Methods that are harmless by nature have no barrier, and are not asked for what only a barrier gives.
fn needs_barrier(stage: &Stage<'_>) -> Result<(), Stop> {
    match saga_definition::declared_barrier(&stage.subject.action.method) {
        Some(Barrier::Natural) => Err(Stop::Untried(
            "the action is BARRIER_NATURAL: it has none".to_owned(),
        )),
        Some(Barrier::Transactional | Barrier::External | Barrier::Acknowledged) | None => Ok(()),
    }
}

async fn answers(stage: &mut Stage<'_>) -> Found {
    let case = stage.case()?;
    let before = stage.count().await?;
    let reply = stage.done(&case).await?;
    let mut saw = Answer::Reply(reply).to_string();
    if stage.subject.count.is_some() {
        let one = stage.count().await? - before;
        if one == 0 {
            return broken(format!(
                "{saw}, but the count stayed {before}: it does not see this action"
            ));
        }
        stage.one = Some(one);
        saw = format!("{saw}; the count changes by {one}");
    }
    stage.clean_up(&case).await;
    Ok(saw)
}

/// The reply of an action that was repeated must be the first one.
fn same(first: &Answer, again: &Answer) -> Result<(), Stop> {
    if first == again {
        return Ok(());
    }
    broken(format!("first {first}, then {again}"))
}

async fn repeated(stage: &mut Stage<'_>) -> Found {
    let case = stage.case()?;
    let before = stage.count().await?;
    let first = Answer::Reply(stage.done(&case).await?);
    for _ in 0..2 {
        same(&first, &stage.act(&case).await)?;
    }
    let effects = stage.effects(before, 1).await?;
    stage.clean_up(&case).await;
    Ok(format!("{first} three times{effects}"))
}

async fn at_once(stage: &mut Stage<'_>) -> Found {
    let case = stage.case()?;
    let before = stage.count().await?;
    let answers = stage.at_once(&case, AT_ONCE).await;
    let last = Answer::Reply(stage.done(&case).await?);
    let mut final_ones = 0;
    // Whoever meets the one that is at work may be told to come again.
    for answer in answers.iter().filter(|answer| !answer.is_open()) {
        same(&last, answer)?;
        final_ones += 1;
    }
    let effects = stage.effects(before, 1).await?;
    stage.clean_up(&case).await;
    Ok(format!(
        "{final_ones} of {AT_ONCE} were answered at once, all the same{effects}"
    ))
}

async fn other_request(stage: &mut Stage<'_>) -> Found {
    needs_barrier(stage)?;
    let case = stage.case()?;
    let other = stage
        .other(&case)?
        .ok_or_else(|| Stop::Untried("the request has no field that could be changed".to_owned()))?;
    let before = stage.count().await?;
    stage.done(&case).await?;
    let answer = stage.act(&other).await;
    if answer != Answer::Mismatch {
        return broken(format!(
            "another request under the same key was answered {answer}"
        ));
    }
    let effects = stage.effects(before, 1).await?;
    stage.clean_up(&case).await;
    Ok(format!("{answer}{effects}"))
}

async fn other_operation(stage: &mut Stage<'_>) -> Found {
    let case = stage.case()?;
    let before = stage.count().await?;
    stage.done(&case).await?;
    let mut others = Vec::new();
    for (step, index) in [(OTHER_STEP, 0), (case.key.step, OTHER_INDEX)] {
        // A request of its own, so that the participant's business has no objection.
        let mut other = stage.case()?.at(step, index);
        other.key.saga = case.key.saga;
        others.push(other);
    }
    for other in &others {
        if let answer @ (Answer::Mismatch | Answer::Superseded) = stage.act(other).await {
            let (step, index) = (other.key.step, other.key.index);
            return broken(format!(
                "step {step}, index {index} of the same saga was answered {answer}"
            ));
        }
    }
    let effects = stage.effects(before, 3).await?;
    for case in others.iter().chain([&case]) {
        stage.clean_up(case).await;
    }
    Ok(format!("three operations of one saga{effects}"))
}

async fn undone(stage: &mut Stage<'_>) -> Found {
    stage.compensation()?;
    let case = stage.case()?;
    let before = stage.count().await?;
    stage.done(&case).await?;
    let reply = stage.undone(&case).await?;
    let effects = stage.effects(before, 0).await?;
    let left = if effects.is_empty() {
        ""
    } else {
        ", no effect is left"
    };
    Ok(format!("{}{left}", Answer::Reply(reply)))
}

async fn undone_again(stage: &mut Stage<'_>) -> Found {
    stage.compensation()?;
    let case = stage.case()?;
    let before = stage.count().await?;
    stage.done(&case).await?;
    let first = Answer::Reply(stage.undone(&case).await?);
    for _ in 0..2 {
        same(&first, &stage.compensate(&case).await?)?;
    }
    stage.effects(before, 0).await?;
    Ok(format!("{first} three times"))
}

async fn action_after(stage: &mut Stage<'_>) -> Found {
    needs_barrier(stage)?;
    stage.compensation()?;
    let case = stage.case()?;
    let before = stage.count().await?;
    let first = Answer::Reply(stage.done(&case).await?);
    stage.undone(&case).await?;
    let again = stage.act(&case).await;
    if again != Answer::Superseded {
        same(&first, &again)?;
    }
    let effects = stage.effects(before, 0).await?;
    Ok(format!("{again}{effects}"))
}

async fn nothing_to_undo(stage: &mut Stage<'_>) -> Found {
    stage.compensation()?;
    let case = stage.case()?;
    let before = stage.count().await?;
    let first = Answer::Reply(stage.undone(&case).await?);
    same(&first, &stage.compensate(&case).await?)?;
    let effects = stage.effects(before, 0).await?;
    Ok(format!("{first} twice{effects}"))
}

async fn late(stage: &mut Stage<'_>) -> Found {
    needs_barrier(stage)?;
    stage.compensation()?;
    let case = stage.case()?;
    let before = stage.count().await?;
    stage.undone(&case).await?;
    for _ in 0..2 {
        let answer = stage.act(&case).await;
        if answer != Answer::Superseded {
            return broken(format!("the late action was answered {answer}"));
        }
    }
    stage.undone(&case).await?;
    let effects = stage.effects(before, 0).await?;
    Ok(format!("{} twice{effects}", Answer::Superseded))
}

async fn race(stage: &mut Stage<'_>) -> Found {
    needs_barrier(stage)?;
    stage.compensation()?;
    let before = stage.count().await?;
    let mut superseded = 0;
    for _ in 0..AT_ONCE {
        let case = stage.case()?;
        let (acted, undone) = {
            let acting = stage.at_once(&case, 1);
            let mut second = Stage::new(stage.subject);
            let undoing = async { second.compensate(&case).await };
            tokio::join!(acting, undoing)
        };
        if let Err(answer) = undone?.reply() {
            return broken(format!("the compensation was answered {answer}"));
        }
        superseded += usize::from(acted.contains(&Answer::Superseded));
        if let Some(Answer::Refused { told, .. }) = acted.first() {
            return broken(format!("the action was answered {told}"));
        }
    }
    let effects = stage.effects(before, 0).await?;
    Ok(format!(
        "{AT_ONCE} times, the action came too late in {superseded}{effects}"
    ))
}

/// A case whose action is refused, what it was told, and the count before it.
async fn refusal(stage: &mut Stage<'_>, refusable: bool) -> Result<(Case, Answer, i64), Stop> {
    let Some(template) = &stage.subject.refused else {
        return Err(Stop::Untried("no request that is refused was given".to_owned()));
    };
    let mut case = stage.case_of(template)?;
    case.key.refusable = refusable;
    let before = stage.count().await?;
    let answer = stage.act(&case).await;
    match &answer {
        Answer::Refused { .. } => Ok((case, answer, before)),
        Answer::Unknown { told, .. } => broken(not_a_refusal(told, &stage.subject.error_domain)),
        Answer::Reply(_) | Answer::Pending { .. } | Answer::Superseded | Answer::Mismatch => {
            broken(format!("it was answered {answer}"))
        }
    }
}

fn not_a_refusal(told: &Told, domain: &str) -> String {
    if told.reason.is_empty() {
        return format!("{told}: without ErrorInfo, so nobody can know whether it had an effect");
    }
    format!("{told}: not a refusal of {domain}")
}

async fn refused(stage: &mut Stage<'_>) -> Found {
    let (_, answer, before) = refusal(stage, true).await?;
    if let Answer::Refused { stored: false, .. } = &answer {
        return broken(answer.to_string());
    }
    let effects = stage.effects(before, 0).await?;
    Ok(format!("{answer}{effects}"))
}

async fn refused_again(stage: &mut Stage<'_>) -> Found {
    let (case, first, before) = refusal(stage, true).await?;
    same(&first, &stage.act(&case).await)?;
    // If the refusal is stored under the key, what is asked under it does not matter any more.
    if needs_barrier(stage).is_ok() {
        let mut other = stage.case()?;
        other.key = case.key;
        let answer = stage.act(&other).await;
        if answer != Answer::Mismatch && answer != first {
            return broken(format!(
                "refused first; then a good request under the same key was answered {answer}"
            ));
        }
    }
    let effects = stage.effects(before, 0).await?;
    Ok(format!("{first} again{effects}"))
}

async fn nothing_refused_to_undo(stage: &mut Stage<'_>) -> Found {
    stage.compensation()?;
    let (case, _, before) = refusal(stage, true).await?;
    let reply = Answer::Reply(stage.undone(&case).await?);
    let effects = stage.effects(before, 0).await?;
    Ok(format!("{reply}{effects}"))
}

async fn not_refusable(stage: &mut Stage<'_>) -> Found {
    let (_, answer, _) = refusal(stage, false).await?;
    if let Answer::Refused { stored: true, .. } = &answer {
        return broken(format!("with evenkeel-refusable: false it was answered {answer}"));
    }
    Ok(answer.to_string())
}

async fn bare(stage: &mut Stage<'_>) -> Found {
    let case = stage.case()?;
    let before = stage.count().await?;
    let subject = stage.subject;
    let answered = wire::bare(
        &subject.line,
        &subject.action.method,
        case.action,
        &subject.error_domain,
        subject.patience,
    );
    let answer = match answered.await {
        Err(reply) => return broken(format!("it was done: {}", Answer::Reply(reply))),
        Ok(answer) => answer,
    };
    // A refusal would be believed, and this is a mistake of the caller.
    if let Answer::Refused { told, .. } = &answer {
        return broken(format!("{told}: it reads as a refusal of the step"));
    }
    let effects = stage.effects(before, 0).await?;
    Ok(format!("{answer}{effects}"))
}

async fn restart(stage: &mut Stage<'_>) -> Found {
    let Some(command) = &stage.subject.restart else {
        return Err(Stop::Untried("no command that restarts it was given".to_owned()));
    };
    let case = stage.case()?;
    let before = stage.count().await?;
    let first = Answer::Reply(stage.done(&case).await?);
    let running = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .status();
    match tokio::time::timeout(stage.subject.patience, running).await {
        Ok(Ok(status)) if status.success() => {}
        Ok(Ok(status)) => return Err(Stop::Untried(format!("the command ended with {status}"))),
        Ok(Err(error)) => return Err(Stop::Untried(format!("the command does not run: {error}"))),
        Err(_) => return Err(Stop::Untried("the command did not end in time".to_owned())),
    }
    // A participant that has forgotten may give the same reply anew, but it cannot know what it was asked.
    if needs_barrier(stage).is_ok()
        && let Some(other) = stage.other(&case)?
    {
        let answer = stage.act(&other).await;
        if answer != Answer::Mismatch {
            return broken(format!(
                "after the restart another request under the same key was answered {answer}"
            ));
        }
    }
    same(&first, &stage.act(&case).await)?;
    let effects = stage.effects(before, 1).await?;
    stage.clean_up(&case).await;
    Ok(format!("{first} before and after{effects}"))
}

fn pending(stage: &mut Stage<'_>) -> Found {
    let Some(wrong) = stage.pending.iter().find(|header| header.parse::<u64>().is_err()) else {
        return match stage.pending.len() {
            0 => Err(Stop::Untried("every answer was final".to_owned())),
            count => Ok(format!("{count} such answers, and a final one after each")),
        };
    };
    broken(format!("{PENDING_HEADER}: {wrong:?}"))
}
