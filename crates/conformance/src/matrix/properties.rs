//! The properties: one function each, for any definition.

use proto::saga::v1::{Attention, Saga, SagaPhase, SagaReason};

use super::stage::{Miss, Stage, end, rule, undone};
use super::{Case, Row, Rows, World};
use crate::{Fault, Rule, Seen};

pub(super) const REFUSED: &str = "refused";
const REPEATED: &str = "repeated";
const LOST: &str = "reply lost";
const BEFORE: &str = "crash before";
const AFTER: &str = "crash after";
const CANCEL_BEFORE: &str = "cancel before";
const CANCEL_AFTER: &str = "cancel after";

fn everything(times: u32, fault: Fault) -> Rule {
    Rule {
        step: None,
        op: None,
        times,
        fault,
    }
}

pub(super) async fn refused<W: World>(stage: &mut Stage<W>, rows: &mut Rows<'_, impl FnMut(&Row)>) {
    for seen in stage.forward.clone() {
        let found = refused_at(stage, &seen).await;
        rows.add(Case::at(&seen, REFUSED), found);
    }
}

async fn refused_at<W: World>(stage: &mut Stage<W>, seen: &Seen) -> Result<String, Miss> {
    stage.in_time()?;
    stage.interposer.program(vec![rule(seen, 1, Fault::Refuse)]);
    let id = stage.start().await?;
    if !seen.refusable {
        let told = told(stage, &id, &seen.step).await;
        let saga = stage.ends(&id, SagaPhase::Completed).await?;
        told?;
        return Ok(format!("{}; somebody was told meanwhile", end(&saga)));
    }
    let saga = refused_end(stage, &id, &seen.step).await?;
    undone(&saga, &stage.forward, &stage.interposer.seen(&id))?;
    Ok(end(&saga))
}

pub(super) async fn refused_by_world<W: World>(stage: &mut Stage<W>, step: &str) -> Result<String, Miss> {
    stage.in_time()?;
    stage.interposer.program(Vec::new());
    let id = stage.start().await?;
    refused_end(stage, &id, step).await.map(|saga| end(&saga))
}

/// Waits for the end of a saga that this step has refused.
async fn refused_end<W: World>(stage: &Stage<W>, id: &str, step: &str) -> Result<Saga, Miss> {
    let saga = stage.ends(id, SagaPhase::Compensated).await?;
    let blamed = saga.error.as_ref().map_or("", |error| error.step.as_str());
    if saga.reason() != SagaReason::Refused || blamed != step {
        return Err(Miss::failed(
            format!("ended {}; expected a refusal at {step}", end(&saga)),
            "this is a mistake of the orchestrator",
        ));
    }
    Ok(saga)
}

/// Waits until the step has said no, and checks that the journal keeps that somebody had to be told.
async fn told<W: World>(stage: &Stage<W>, id: &str, step: &str) -> Result<(), Miss> {
    let silent = |saw: String| Miss::failed(saw, "this is a mistake of the orchestrator");
    let said_no = stage
        .eventually(|| async {
            let (_, history) = stage.look(id).await?;
            let said_no = history
                .iter()
                .any(|event| event.kind == "failed" && event.step == step && event.error.is_some());
            said_no.then_some(())
        })
        .await;
    said_no.ok_or_else(|| silent(format!("{step} said no, and its history does not show it")))?;
    match stage.world.was_told(id).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(silent(format!(
            "{step} said no where it must not, and nobody was told"
        ))),
        Err(saw) => Err(silent(saw)),
    }
}

pub(super) async fn repeated<W: World>(stage: &mut Stage<W>, rows: &mut Rows<'_, impl FnMut(&Row)>) {
    let repeat = everything(u32::MAX, Fault::Repeat);
    let seen = stage.forward.clone();
    let forward = everywhere(stage, vec![repeat.clone()], SagaPhase::Completed).await;
    let differ = stage.interposer.disagreements();
    judge_repeated(rows, &seen, &forward, &differ);
    let unwinding = match stage.unwinding() {
        Ok(unwinding) => unwinding,
        Err(miss) => return rows.add(Case::all(REPEATED), Err(miss)),
    };
    let back = everywhere(stage, vec![unwinding, repeat], SagaPhase::Compensated).await;
    let differ = stage.interposer.disagreements();
    // What went forward was judged above.
    let called = back
        .as_ref()
        .map(|(id, _)| stage.interposer.seen(id))
        .unwrap_or_default();
    let only_back: Vec<Seen> = called.into_iter().filter(|call| !seen.contains(call)).collect();
    judge_repeated(rows, &only_back, &back, &differ);
}

/// One saga with these rules everywhere: its id, and how it ended.
async fn everywhere<W: World>(
    stage: &mut Stage<W>,
    rules: Vec<Rule>,
    phase: SagaPhase,
) -> Result<(String, String), Miss> {
    stage.in_time()?;
    stage.interposer.program(rules);
    let saga = stage.run_to(phase).await?;
    Ok((saga.saga_id.clone(), end(&saga)))
}

fn judge_repeated(
    rows: &mut Rows<'_, impl FnMut(&Row)>,
    seen: &[Seen],
    ended: &Result<(String, String), Miss>,
    differ: &[crate::Disagreement],
) {
    let text = match ended {
        Ok((_, text)) => text.as_str(),
        Err(miss) => {
            rows.add(Case::all(REPEATED), Err(miss.clone()));
            "its answers agreed"
        }
    };
    let of = |seen: &&Seen| differ.iter().find(|d| d.step == seen.step && d.op == seen.op);
    for call in seen {
        let found = match of(&call) {
            None => Ok(text.to_owned()),
            Some(differ) => Err(Miss::failed(
                format!("the same call had two answers: {}", differ.answers),
                "keep the reply in the barrier's row, and answer from it: `evenkeel participant check`",
            )),
        };
        rows.add(Case::at(call, REPEATED), found);
    }
}

pub(super) async fn reply_lost<W: World>(stage: &mut Stage<W>, rows: &mut Rows<'_, impl FnMut(&Row)>) {
    let forward = stage.forward.clone();
    lost(stage, rows, None, SagaPhase::Completed, &forward).await;
    let unwinding = match stage.unwinding() {
        Ok(unwinding) => unwinding,
        Err(miss) => return rows.add(Case::all(LOST), Err(miss)),
    };
    let back = match stage.backward().await {
        Ok(back) => back,
        Err(miss) => return rows.add(Case::all(LOST), Err(miss)),
    };
    lost(stage, rows, Some(unwinding), SagaPhase::Compensated, &back).await;
}

/// Every reply is lost once in one saga. If that does not end well, each is lost alone, to see which it was.
async fn lost<W: World>(
    stage: &mut Stage<W>,
    rows: &mut Rows<'_, impl FnMut(&Row)>,
    unwinding: Option<Rule>,
    phase: SagaPhase,
    calls: &[Seen],
) {
    let with = |lose: Rule| unwinding.iter().cloned().chain([lose]).collect::<Vec<_>>();
    let all = everywhere(stage, with(everything(1, Fault::LoseReply)), phase).await;
    let text = match all {
        Ok((_, text)) => Some(text),
        Err(miss) => {
            rows.add(Case::all(LOST), Err(miss));
            None
        }
    };
    for call in calls {
        let found = match &text {
            Some(text) => Ok(text.clone()),
            None => {
                let rules = with(rule(call, 1, Fault::LoseReply));
                everywhere(stage, rules, phase).await.map(|(_, text)| text)
            }
        };
        rows.add(Case::at(call, LOST), found);
    }
}

pub(super) async fn crash<W: World>(stage: &mut Stage<W>, rows: &mut Rows<'_, impl FnMut(&Row)>) {
    for call in stage.forward.clone() {
        crash_around(stage, rows, &call, None).await;
    }
    let back = async {
        let unwinding = stage.unwinding()?;
        Ok::<_, Miss>((unwinding, stage.backward().await?))
    };
    let (unwinding, back) = match back.await {
        Ok(back) => back,
        Err(miss) => return rows.add(Case::all(BEFORE), Err(miss)),
    };
    for call in back {
        crash_around(stage, rows, &call, Some(unwinding.clone())).await;
    }
}

async fn crash_around<W: World>(
    stage: &mut Stage<W>,
    rows: &mut Rows<'_, impl FnMut(&Row)>,
    call: &Seen,
    unwinding: Option<Rule>,
) {
    for (fault, name) in [(Fault::StallBefore, BEFORE), (Fault::StallAfter, AFTER)] {
        let found = crash_at(stage, call, unwinding.clone(), fault).await;
        rows.add(Case::at(call, name), found);
    }
}

async fn crash_at<W: World>(
    stage: &mut Stage<W>,
    call: &Seen,
    unwinding: Option<Rule>,
    fault: Fault,
) -> Result<String, Miss> {
    stage.in_time()?;
    let phase = match &unwinding {
        Some(_) => SagaPhase::Compensated,
        None => SagaPhase::Completed,
    };
    let rules = unwinding.into_iter().chain([rule(call, 1, fault)]);
    stage.interposer.program(rules.collect());
    let stalls = stage.interposer.stalls();
    let id = stage.start().await?;
    stage.stalled(stalls + 1).await?;
    let crashed = stage.world.crash().await;
    crashed.map_err(|saw| Miss::failed(saw, "see the orchestrator's log"))?;
    let saga = stage.ends(&id, phase).await?;
    Ok(end(&saga))
}

pub(super) async fn compensation_refused<W: World>(
    stage: &mut Stage<W>,
    rows: &mut Rows<'_, impl FnMut(&Row)>,
) {
    let back = match stage.backward().await {
        Ok(back) => back,
        Err(miss) => return rows.add(Case::all(REFUSED), Err(miss)),
    };
    for call in back {
        let found = compensation_refused_at(stage, &call).await;
        rows.add(Case::at(&call, REFUSED), found);
    }
}

async fn compensation_refused_at<W: World>(stage: &mut Stage<W>, call: &Seen) -> Result<String, Miss> {
    stage.in_time()?;
    let rules = vec![stage.unwinding()?, rule(call, u32::MAX, Fault::Refuse)];
    stage.interposer.program(rules);
    let id = stage.start().await?;
    let attention = stage
        .eventually(|| async {
            let (saga, _) = stage.look(&id).await?;
            let told =
                |attention: &Attention| attention.cause == "CANNOT_BE_REFUSED" && attention.step == call.step;
            (saga.needs_attention && saga.attention.iter().any(told)).then_some(())
        })
        .await;
    stage.interposer.program(Vec::new());
    let saga = stage.ends(&id, SagaPhase::Compensated).await?;
    if attention.is_none() {
        return Err(Miss::failed(
            format!("{} was refused to be undone, and nobody was told", call.step),
            "this is a mistake of the orchestrator",
        ));
    }
    Ok(format!("{}; somebody was told meanwhile", end(&saga)))
}

pub(super) async fn cancelled<W: World>(stage: &mut Stage<W>, rows: &mut Rows<'_, impl FnMut(&Row)>) {
    for call in stage.forward.clone() {
        for (fault, name) in [
            (Fault::HoldBefore, CANCEL_BEFORE),
            (Fault::HoldAfter, CANCEL_AFTER),
        ] {
            let found = cancelled_at(stage, &call, fault).await;
            rows.add(Case::at(&call, name), found);
        }
    }
}

async fn cancelled_at<W: World>(stage: &mut Stage<W>, call: &Seen, fault: Fault) -> Result<String, Miss> {
    stage.in_time()?;
    stage.interposer.program(vec![rule(call, 1, fault)]);
    let stalls = stage.interposer.stalls();
    let id = stage.start().await?;
    stage.stalled(stalls + 1).await?;
    let obeyed = stage.cancel(&id).await;
    stage.interposer.release();
    let wrong = |saw: String| Miss::failed(saw, "this is a mistake of the orchestrator");
    if !obeyed? {
        // What can be refused and is followed by more that can be is before the commit point.
        let last = stage.forward.iter().rposition(|seen| seen.refusable);
        let here = stage.forward.iter().position(|seen| seen == call);
        if call.refusable && here < last {
            return Err(wrong(format!(
                "was not cancelled at {}, where it can be undone",
                call.step
            )));
        }
        let saga = stage.ends(&id, SagaPhase::Completed).await?;
        return Ok(format!("{}; past the commit point", end(&saga)));
    }
    if !call.refusable {
        return Err(wrong(format!(
            "was cancelled at {}, which is past the commit point",
            call.step
        )));
    }
    let saga = stage.ends(&id, SagaPhase::Compensated).await?;
    if saga.reason() != SagaReason::Cancelled {
        return Err(wrong(format!("ended {}; expected CANCELLED", end(&saga))));
    }
    undone(&saga, &stage.forward, &stage.interposer.seen(&id))?;
    Ok(end(&saga))
}
