use proptest::prelude::*;

use super::*;

fn found(state: State, same_request: bool) -> Own {
    Own::Found { state, same_request }
}

#[test]
fn actions() {
    let pending = found(State::Pending, true);
    let table = [
        (Own::Inserted, Claim::None, Plan::Call),
        (pending, Claim::None, Plan::Call),
        (pending, Claim::Live, Plan::Wait),
        (pending, Claim::Ended, Plan::Query),
        (pending, Claim::Quiet, Plan::Query),
        (
            found(State::Pending, false),
            Claim::Quiet,
            Plan::Replay(Decision::Mismatch),
        ),
        (
            found(State::Succeeded, true),
            Claim::Live,
            Plan::Replay(Decision::StoredReply),
        ),
        (
            found(State::Refused, true),
            Claim::Quiet,
            Plan::Replay(Decision::StoredRefusal),
        ),
        (
            found(State::Superseded, true),
            Claim::Live,
            Plan::Replay(Decision::Superseded),
        ),
    ];
    for (own, claim, plan) in table {
        assert_eq!(action(own, claim), plan, "{own:?} {claim:?}");
    }
}

#[test]
fn compensations() {
    let again = found(State::Pending, true);
    let (none, live, ended, quiet) = (Claim::None, Claim::Live, Claim::Ended, Claim::Quiet);
    let pending = ActionRow::Found(State::Pending);
    let superseded = ActionRow::Found(State::Superseded);
    let succeeded = ActionRow::Found(State::Succeeded);
    let table = [
        // Nothing was ever claimed.
        (ActionRow::Taken, none, Own::Inserted, none, Plan::Settle),
        (
            ActionRow::Found(State::Refused),
            quiet,
            Own::Inserted,
            none,
            Plan::Settle,
        ),
        (pending, none, Own::Inserted, none, Plan::Settle),
        // The action's claim must be quiet first.
        (pending, live, Own::Inserted, none, Plan::Wait),
        (pending, ended, Own::Inserted, none, Plan::Wait),
        (superseded, live, again, none, Plan::Wait),
        (superseded, ended, again, none, Plan::Wait),
        // Then the outside is asked.
        (pending, quiet, Own::Inserted, none, Plan::Query),
        (superseded, quiet, again, none, Plan::Query),
        (superseded, quiet, again, live, Plan::Wait),
        (superseded, quiet, again, ended, Plan::Query),
        (superseded, quiet, again, quiet, Plan::Query),
        // What is known to stand is undone.
        (succeeded, quiet, Own::Inserted, none, Plan::Call),
        (succeeded, live, Own::Inserted, none, Plan::Call),
        (succeeded, quiet, again, live, Plan::Wait),
        (succeeded, quiet, again, ended, Plan::Query),
        (succeeded, quiet, again, quiet, Plan::Query),
        // Repeats.
        (
            superseded,
            quiet,
            found(State::Succeeded, true),
            quiet,
            Plan::Replay(Decision::StoredReply),
        ),
        (
            superseded,
            quiet,
            found(State::Pending, false),
            none,
            Plan::Replay(Decision::Mismatch),
        ),
    ];
    for (row, claim, own, own_claim, plan) in table {
        let decided = compensation(row, claim, own, own_claim);
        assert_eq!(decided, plan, "{row:?} {claim:?} {own:?} {own_claim:?}");
    }
}

#[test]
fn answers_of_the_outside() {
    let (act, undo) = (Op::Action, Op::Compensation);
    let table = [
        (act, Sight::Happened, true, Next::Record),
        (act, Sight::Happened, false, Next::Record),
        (act, Sight::Running, true, Next::Wait),
        (act, Sight::Due, true, Next::Call),
        (act, Sight::Due, false, Next::Wait),
        (act, Sight::Refused, false, Next::Refuse),
        (undo, Sight::Happened, false, Next::Record),
        (undo, Sight::Running, true, Next::Wait),
        (undo, Sight::Due, true, Next::Call),
        (undo, Sight::Due, false, Next::Wait),
        (undo, Sight::Nothing, true, Next::Settle),
        (undo, Sight::Nothing, false, Next::Wait),
    ];
    for (op, sight, over, next) in table {
        let claims = if over {
            [Claim::None, Claim::Quiet]
        } else {
            [Claim::Live, Claim::Ended]
        };
        for claim in claims {
            assert_eq!(
                after_query(op, sight, claim, true),
                next,
                "{op:?} {sight:?} {claim:?}"
            );
        }
    }
}

#[test]
fn what_cannot_be_refused_is_asked_again_for_what_was_refused() {
    assert_eq!(
        after_query(Op::Action, Sight::Refused, Claim::Quiet, false),
        Next::Call
    );
    assert_eq!(
        after_query(Op::Action, Sight::Refused, Claim::Ended, false),
        Next::Wait
    );
}

#[test]
fn nothing_is_called_or_settled_while_a_call_may_still_take_effect() {
    for op in [Op::Action, Op::Compensation] {
        for sight in Sight::ALL {
            for claim in [Claim::Live, Claim::Ended] {
                for refusable in [true, false] {
                    let next = after_query(op, sight, claim, refusable);
                    assert!(
                        !matches!(next, Next::Call | Next::Settle),
                        "{op:?} {sight:?} {claim:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn results() {
    let table = [
        (State::Pending, true, Record::Keep),
        (State::Pending, false, Record::Keep),
        (State::Succeeded, true, Record::Stored),
        (State::Succeeded, false, Record::Stored),
        (State::Refused, false, Record::Stored),
        (State::Refused, true, Record::Late),
        (State::Superseded, false, Record::Drop),
    ];
    for (state, success, expected) in table {
        for undoing in Undoing::ALL {
            assert_eq!(record(state, success, undoing), expected, "{state:?} {success}");
        }
    }
    let superseded = |undoing| record(State::Superseded, true, undoing);
    assert_eq!(superseded(Undoing::Open), Record::Remember);
    assert_eq!(superseded(Undoing::Undone), Record::Drop);
    assert_eq!(superseded(Undoing::Settled), Record::Late);
}

/// How long claims last in the model, in ticks, and how late the outside may act.
const VALID: u32 = 4;
const GRACE: u32 = 3;

#[derive(Debug, Clone, Copy, Default)]
struct Claimed {
    fence: u32,
    valid_until: u32,
}

impl Claimed {
    fn seen(self, now: u32) -> Claim {
        match self.fence {
            0 => Claim::None,
            _ if now < self.valid_until => Claim::Live,
            _ if now < self.valid_until + GRACE => Claim::Ended,
            _ => Claim::Quiet,
        }
    }
}

/// Where a worker is between its transactions. It may be killed at each of these points.
#[derive(Debug, Clone, Copy)]
enum At {
    /// Is about to ask the outside; knows this claim.
    Asking(Claimed, Claim),
    /// The outside has answered.
    Told(Claimed, Claim, Sight),
    /// Holds a claim and has not called yet.
    Holding(u32),
    /// The outside has answered the call.
    Has(bool),
}

#[derive(Debug, Clone, Copy)]
struct Worker {
    op: Op,
    at: At,
}

/// A request on its way to the outside, which acts on it at some tick up to `latest`.
#[derive(Debug, Clone, Copy)]
struct OnItsWay {
    op: Op,
    latest: u32,
}

/// One step, its rows, the outside, and everything on its way. The outside does *not* treat two requests with one id
/// as one, so each doubled call would show.
#[derive(Debug, Default)]
struct World {
    now: u32,
    action: Option<State>,
    compensation: Option<State>,
    claims: [Claimed; 2],
    remembered: bool,
    workers: Vec<Worker>,
    flying: Vec<OnItsWay>,
    /// Times the outside did it, and undid it.
    done: u32,
    undone: u32,
    refused: bool,
}

const fn nth(op: Op) -> usize {
    match op {
        Op::Action => 0,
        Op::Compensation => 1,
    }
}

impl World {
    fn row(&mut self, op: Op) -> &mut Option<State> {
        match op {
            Op::Action => &mut self.action,
            Op::Compensation => &mut self.compensation,
        }
    }

    /// The first transaction of a call.
    fn enter(&mut self, op: Op) {
        let now = self.now;
        let own = self.row(op).map_or(Own::Inserted, |state| found(state, true));
        let own_claim = self.claims[nth(op)];
        let plan = match op {
            Op::Action => action(own, own_claim.seen(now)),
            Op::Compensation => {
                let row = self.action.map_or(ActionRow::Taken, ActionRow::Found);
                let plan = compensation(row, self.claims[0].seen(now), own, own_claim.seen(now));
                if matches!(self.action, None | Some(State::Pending)) {
                    self.action = Some(State::Superseded);
                }
                plan
            }
        };
        self.row(op).get_or_insert(State::Pending);
        match plan {
            Plan::Call => self.take(op, 0),
            Plan::Query => self.workers.push(Worker {
                op,
                at: At::Asking(own_claim, own_claim.seen(now)),
            }),
            Plan::Settle => *self.row(op) = Some(State::Succeeded),
            Plan::Wait | Plan::Replay(_) => {}
        }
    }

    fn take(&mut self, op: Op, after: u32) {
        let now = self.now;
        let claim = &mut self.claims[nth(op)];
        let free = matches!(claim.seen(now), Claim::None | Claim::Quiet);
        if claim.fence != after || !free {
            return;
        }
        claim.fence += 1;
        claim.valid_until = now + VALID;
        let fence = claim.fence;
        self.workers.push(Worker {
            op,
            at: At::Holding(fence),
        });
    }

    fn sight(&self, op: Op) -> Sight {
        let stands = self.done > self.undone;
        match op {
            Op::Action if self.refused => Sight::Refused,
            Op::Action if stands => Sight::Happened,
            Op::Action => Sight::Due,
            Op::Compensation if self.undone > 0 => Sight::Happened,
            Op::Compensation if stands => Sight::Due,
            Op::Compensation => Sight::Nothing,
        }
    }

    /// Lets one worker go one step further. `fate`: what the network makes of a call.
    fn go_on(&mut self, index: usize, fate: u8) {
        let Worker { op, at } = self.workers.swap_remove(index);
        match at {
            At::Asking(claimed, claim) => {
                let at = At::Told(claimed, claim, self.sight(op));
                self.workers.push(Worker { op, at });
            }
            At::Told(claimed, claim, sight) => match after_query(op, sight, claim, true) {
                Next::Record => self.record(op, true),
                Next::Refuse => self.record(op, false),
                Next::Call if *self.row(op) == Some(State::Pending) => self.take(op, claimed.fence),
                Next::Settle if *self.row(op) == Some(State::Pending) && !self.remembered => {
                    *self.row(op) = Some(State::Succeeded);
                }
                Next::Call | Next::Settle | Next::Wait => {}
            },
            At::Holding(fence) => {
                let claim = self.claims[nth(op)];
                let may = claim.fence == fence
                    && self.now < claim.valid_until
                    && *self.row(op) == Some(State::Pending);
                if !may {
                    return;
                }
                match fate % 5 {
                    // Acts at once, and the answer arrives.
                    0 => {
                        self.act(op);
                        self.workers.push(Worker {
                            op,
                            at: At::Has(true),
                        });
                    }
                    // Acts at once; the answer is lost.
                    1 => self.act(op),
                    // Acts late; the caller has gone.
                    2 => self.flying.push(OnItsWay {
                        op,
                        latest: claim.valid_until + GRACE,
                    }),
                    // Never arrives.
                    3 => {}
                    // Says no, where it may.
                    _ => {
                        if op == Op::Action {
                            self.refused = true;
                            self.workers.push(Worker {
                                op,
                                at: At::Has(false),
                            });
                        }
                    }
                }
            }
            At::Has(success) => self.record(op, success),
        }
    }

    fn act(&mut self, op: Op) {
        match op {
            Op::Action => self.done += 1,
            Op::Compensation => self.undone += 1,
        }
    }

    fn record(&mut self, op: Op, success: bool) {
        let state = self.row(op).expect("a worker has a row");
        let undoing = match self.compensation {
            None | Some(State::Pending) => Undoing::Open,
            Some(_) if self.claims[1].fence > 0 => Undoing::Undone,
            Some(_) => Undoing::Settled,
        };
        match record(state, success, undoing) {
            Record::Keep if success => *self.row(op) = Some(State::Succeeded),
            Record::Keep => *self.row(op) = Some(State::Refused),
            Record::Remember => self.remembered = true,
            Record::Stored | Record::Drop => {}
            Record::Late => panic!("a late success within the grace: {self:?}"),
        }
        if op == Op::Compensation {
            self.remembered = false;
        }
    }

    /// Time passes; what must have arrived by now arrives. `early` lets one request arrive before that.
    fn tick(&mut self, early: bool) {
        self.now += 1;
        let now = self.now;
        let due: Vec<OnItsWay> = {
            let mut first = early;
            let (due, rest) = self
                .flying
                .drain(..)
                .partition(|request| std::mem::take(&mut first) || request.latest <= now);
            self.flying = rest;
            due
        };
        for request in due {
            self.act(request.op);
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        prop_assert!(self.done <= 1 && self.undone <= self.done, "{self:?}");
        if self.action == Some(State::Succeeded) {
            prop_assert_eq!(self.done, 1, "a success without an effect: {:?}", self);
        }
        if self.action == Some(State::Refused) {
            prop_assert_eq!(self.done, 0, "a refusal with an effect: {:?}", self);
        }
        if self.compensation == Some(State::Succeeded) {
            prop_assert_eq!(
                self.done,
                self.undone,
                "settled, and an effect stands: {:?}",
                self
            );
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Call(Op),
    GoOn(usize, u8),
    Kill(usize),
    Tick(bool),
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => Just(Event::Call(Op::Action)),
        1 => Just(Event::Call(Op::Compensation)),
        6 => (any::<usize>(), any::<u8>()).prop_map(|(worker, fate)| Event::GoOn(worker, fate)),
        1 => any::<usize>().prop_map(Event::Kill),
        4 => any::<bool>().prop_map(Event::Tick),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn no_interleaving_doubles_an_effect_or_leaves_one_behind(
        events in prop::collection::vec(events(), 1..120),
    ) {
        let mut world = World::default();
        for event in events {
            match event {
                Event::Call(op) => world.enter(op),
                Event::GoOn(which, fate) if !world.workers.is_empty() => {
                    world.go_on(which % world.workers.len(), fate);
                }
                Event::Kill(which) if !world.workers.is_empty() => {
                    let which = which % world.workers.len();
                    world.workers.swap_remove(which);
                }
                Event::GoOn(..) | Event::Kill(_) => {}
                Event::Tick(early) => world.tick(early),
            }
            world.check()?;
        }
        // Whoever is asked often enough answers in the end, once the network is well.
        let ending = if world.compensation.is_some() { Op::Compensation } else { Op::Action };
        for _ in 0..100 {
            world.enter(ending);
            while !world.workers.is_empty() {
                world.go_on(0, 0);
                world.check()?;
            }
            world.tick(false);
            world.check()?;
        }
        let last = *world.row(ending);
        prop_assert!(matches!(last, Some(State::Succeeded | State::Refused)), "{world:?}");
        if ending == Op::Action {
            prop_assert_eq!(world.done, u32::from(last == Some(State::Succeeded)));
        }
    }
}
