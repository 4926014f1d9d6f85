//! Effects outside the database (rule 6): the real decisions of [`barrier::external`] over claims, workers that may be
//! killed at each point, and an outside that acts late, twice if it is asked twice, or never.
//!
//! Time is only this: a claim is live, then ended, then quiet. What was sent under it acts before it is quiet or never.

use barrier::decide::{ActionRow, Own, State};
use barrier::external::decide::{self, Claim, Next, Plan, Record, Sight, Undoing};
use rpc::step::Op;
use stateright::{Model, Property};

/// One rule about claims less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClaimsRule {
    /// The outside is called again while a claim is live.
    CallsAreNotClaimed,
    /// An ended claim counts as quiet.
    GraceIsIgnored,
    /// A compensation does not wait for the action's claim.
    CompensationDoesNotWait,
    /// A call starts after its claim's end.
    CallsStartLate,
    /// An outside that has not been asked is believed to know nothing.
    NobodyIsAsked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Age {
    Live,
    Ended,
    Quiet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum At {
    /// Is about to ask the outside; knows the claim's number, and whether it was live or quiet.
    Asking(u8, Option<Age>),
    /// The outside has answered.
    Told(u8, Option<Age>, Seen),
    /// Holds a claim and has not called yet.
    Holding(u8),
    /// The outside has answered the call.
    Has(bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Seen {
    Happened,
    Due,
    Refused,
    Nothing,
}

/// A worker of an operation: `undoes` is of the compensation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Worker {
    undoes: bool,
    at: At,
}

/// One step: its rows and claims, its workers, and the outside. Index 0 is of the action, 1 of the compensation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Outside {
    rows: [Option<State>; 2],
    claims: [Option<(u8, Age)>; 2],
    workers: Vec<Worker>,
    /// Requests on their way, by operation.
    flying: [u8; 2],
    done: [u8; 2],
    refused: bool,
    remembered: bool,
    late: bool,
}

/// What the network makes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It acts, and the answer arrives.
    Answered,
    /// It acts at some time, and nobody hears of it.
    Unheard,
    /// It says no.
    Refused,
}

/// Something that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// The orchestrator calls; `true` for the compensation.
    Call(bool),
    /// A worker goes one step further.
    GoOn(Worker, Fate),
    /// A worker is killed.
    Kill(Worker),
    /// A claim becomes older.
    Age(bool),
    /// A request that was on its way acts.
    Act(bool),
}

/// The model of rule 6.
#[derive(Debug)]
pub struct Claims {
    /// The rule that is removed, if one is.
    pub removed: Option<ClaimsRule>,
    /// Most workers at a time.
    pub workers: usize,
    /// Most claims of an operation.
    pub claims: u8,
}

const fn op(undoes: bool) -> Op {
    if undoes { Op::Compensation } else { Op::Action }
}

impl Outside {
    fn age(&self, undoes: bool) -> Option<Age> {
        self.claims[usize::from(undoes)].map(|(_, age)| age)
    }

    fn number(&self, undoes: bool) -> u8 {
        self.claims[usize::from(undoes)].map_or(0, |(number, _)| number)
    }

    fn row(&mut self, undoes: bool) -> &mut Option<State> {
        &mut self.rows[usize::from(undoes)]
    }

    fn add(&mut self, undoes: bool, at: At) {
        self.workers.push(Worker { undoes, at });
        self.workers.sort_unstable();
    }

    fn sight(&self, undoes: bool) -> Seen {
        let stands = self.done[0] > self.done[1];
        match undoes {
            false if self.refused => Seen::Refused,
            false if stands => Seen::Happened,
            false => Seen::Due,
            true if self.done[1] > 0 => Seen::Happened,
            true if stands => Seen::Due,
            true => Seen::Nothing,
        }
    }

    /// Returns the name of a predicate that does not hold, if any.
    #[must_use]
    pub fn broken(&self) -> Option<&'static str> {
        let [done, undone] = self.done;
        let predicates = [
            ("no_effect_is_doubled", done <= 1 && undone <= done),
            (
                "a_stored_success_has_its_effect",
                self.rows[0] != Some(State::Succeeded) || done == 1,
            ),
            (
                "a_stored_refusal_has_no_effect",
                self.rows[0] != Some(State::Refused) || done == 0,
            ),
            (
                "a_settled_compensation_leaves_no_effect",
                self.rows[1] != Some(State::Succeeded) || done == undone,
            ),
            ("no_success_is_late_within_the_grace", !self.late),
        ];
        predicates.iter().find(|(_, holds)| !holds).map(|(name, _)| *name)
    }
}

impl Claims {
    fn claim(&self, age: Option<Age>, of_action_while_undoing: bool) -> Claim {
        match (self.removed, age) {
            (_, None) => Claim::None,
            (Some(ClaimsRule::CallsAreNotClaimed), _) if !of_action_while_undoing => Claim::None,
            (Some(ClaimsRule::CompensationDoesNotWait), Some(_)) if of_action_while_undoing => Claim::Quiet,
            (_, Some(Age::Live)) => Claim::Live,
            (Some(ClaimsRule::GraceIsIgnored), Some(Age::Ended)) => Claim::Quiet,
            (_, Some(Age::Ended)) => Claim::Ended,
            (_, Some(Age::Quiet)) => Claim::Quiet,
        }
    }

    /// The first transaction of a call.
    fn enter(&self, world: &mut Outside, undoes: bool) -> Option<()> {
        let own = world.row(undoes).map_or(Own::Inserted, |state| Own::Found {
            state,
            same_request: true,
        });
        let own_claim = self.claim(world.age(undoes), false);
        let plan = if undoes {
            let row = world.rows[0].map_or(ActionRow::Taken, ActionRow::Found);
            let action_claim = self.claim(world.age(false), true);
            let plan = decide::compensation(row, action_claim, own, own_claim);
            if matches!(world.rows[0], None | Some(State::Pending)) {
                world.rows[0] = Some(State::Superseded);
            }
            plan
        } else {
            decide::action(own, own_claim)
        };
        world.row(undoes).get_or_insert(State::Pending);
        match plan {
            Plan::Call => self.take(world, undoes)?,
            Plan::Query if self.removed == Some(ClaimsRule::NobodyIsAsked) => self.take(world, undoes)?,
            Plan::Query => world.add(undoes, At::Asking(world.number(undoes), world.age(undoes))),
            Plan::Settle => *world.row(undoes) = Some(State::Succeeded),
            Plan::Wait | Plan::Replay(_) => {}
        }
        Some(())
    }

    /// Takes the next claim. Nothing if that would be more than the model tells.
    fn take(&self, world: &mut Outside, undoes: bool) -> Option<()> {
        let number = world.number(undoes) + 1;
        if number > self.claims {
            return None;
        }
        world.claims[usize::from(undoes)] = Some((number, Age::Live));
        world.add(undoes, At::Holding(number));
        Some(())
    }

    fn told(
        &self,
        world: &mut Outside,
        undoes: bool,
        number: u8,
        age: Option<Age>,
        seen: Seen,
    ) -> Option<()> {
        let sight = match seen {
            Seen::Happened => Sight::Happened,
            Seen::Due => Sight::Due,
            Seen::Refused => Sight::Refused,
            Seen::Nothing => Sight::Nothing,
        };
        let pending = *world.row(undoes) == Some(State::Pending);
        match decide::after_query(op(undoes), sight, self.claim(age, false), true) {
            Next::Record => self.record(world, undoes, true),
            Next::Refuse => self.record(world, undoes, false),
            Next::Call if pending && world.number(undoes) == number => self.take(world, undoes)?,
            Next::Settle if pending && !world.remembered => *world.row(undoes) = Some(State::Succeeded),
            Next::Call | Next::Settle | Next::Wait => {}
        }
        Some(())
    }

    fn outside(&self, world: &mut Outside, undoes: bool, number: u8, fate: Fate) -> Option<()> {
        let live = world.claims[usize::from(undoes)] == Some((number, Age::Live));
        let late = self.removed == Some(ClaimsRule::CallsStartLate);
        if !(live || late) || *world.row(undoes) != Some(State::Pending) {
            return (fate == Fate::Answered).then_some(());
        }
        match fate {
            Fate::Answered => {
                world.done[usize::from(undoes)] += 1;
                world.add(undoes, At::Has(true));
            }
            Fate::Unheard => world.flying[usize::from(undoes)] += 1,
            Fate::Refused if undoes => return None,
            Fate::Refused => {
                world.refused = true;
                world.add(undoes, At::Has(false));
            }
        }
        Some(())
    }

    /// The last transaction.
    fn record(&self, world: &mut Outside, undoes: bool, success: bool) {
        let Some(state) = *world.row(undoes) else { return };
        let undoing = match world.rows[1] {
            None | Some(State::Pending) => Undoing::Open,
            Some(_) if world.number(true) > 0 => Undoing::Undone,
            Some(_) => Undoing::Settled,
        };
        match decide::record(state, success, undoing) {
            Record::Keep => {
                let kept = if success { State::Succeeded } else { State::Refused };
                *world.row(undoes) = Some(kept);
                if undoes {
                    world.remembered = false;
                }
            }
            Record::Remember => world.remembered = true,
            Record::Late => world.late = true,
            Record::Stored | Record::Drop => {}
        }
    }
}

impl Model for Claims {
    type State = Outside;
    type Action = Happening;

    fn init_states(&self) -> Vec<Outside> {
        vec![Outside::default()]
    }

    fn actions(&self, world: &Outside, actions: &mut Vec<Happening>) {
        if world.broken().is_some() {
            return;
        }
        for undoes in [false, true] {
            if world.workers.len() < self.workers {
                actions.push(Happening::Call(undoes));
            }
            if world.age(undoes).is_some_and(|age| age != Age::Quiet) {
                actions.push(Happening::Age(undoes));
            }
            if world.flying[usize::from(undoes)] > 0 {
                actions.push(Happening::Act(undoes));
            }
        }
        for worker in &world.workers {
            let fates: &[Fate] = match worker.at {
                At::Holding(_) => &[Fate::Answered, Fate::Unheard, Fate::Refused],
                At::Asking(..) | At::Told(..) | At::Has(_) => &[Fate::Answered],
            };
            actions.extend(fates.iter().map(|fate| Happening::GoOn(*worker, *fate)));
            actions.push(Happening::Kill(*worker));
        }
    }

    fn next_state(&self, world: &Outside, action: Happening) -> Option<Outside> {
        let mut next = world.clone();
        let leave = |next: &mut Outside, worker: Worker| {
            let at = next.workers.iter().position(|other| *other == worker)?;
            next.workers.remove(at);
            Some(())
        };
        match action {
            Happening::Call(undoes) => self.enter(&mut next, undoes)?,
            Happening::Kill(worker) => leave(&mut next, worker)?,
            Happening::Age(undoes) => {
                let (number, age) = next.claims[usize::from(undoes)]?;
                let older = match age {
                    Age::Live => Age::Ended,
                    Age::Ended | Age::Quiet => Age::Quiet,
                };
                next.claims[usize::from(undoes)] = Some((number, older));
                if older == Age::Quiet && self.removed != Some(ClaimsRule::CallsStartLate) {
                    next.flying[usize::from(undoes)] = 0;
                }
            }
            Happening::Act(undoes) => {
                next.flying[usize::from(undoes)] -= 1;
                next.done[usize::from(undoes)] += 1;
            }
            Happening::GoOn(worker, fate) => {
                leave(&mut next, worker)?;
                let undoes = worker.undoes;
                match worker.at {
                    At::Asking(number, age) => {
                        let seen = next.sight(undoes);
                        next.add(undoes, At::Told(number, age, seen));
                    }
                    At::Told(number, age, seen) => self.told(&mut next, undoes, number, age, seen)?,
                    At::Holding(number) => self.outside(&mut next, undoes, number, fate)?,
                    At::Has(success) => self.record(&mut next, undoes, success),
                }
            }
        }
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let sound = Property::always("nothing is broken", |_, world: &Outside| world.broken().is_none());
        if self.removed.is_some() {
            // Alone, so that the first story that breaks it is the one that is shown.
            return vec![sound];
        }
        vec![
            sound,
            Property::sometimes("an effect is undone", |_, world: &Outside| {
                world.rows[1] == Some(State::Succeeded) && world.done == [1, 1]
            }),
            Property::sometimes(
                "an effect that nobody heard of is undone",
                |_, world: &Outside| {
                    world.rows == [Some(State::Superseded), Some(State::Succeeded)] && world.done == [1, 1]
                },
            ),
            Property::sometimes("a success is remembered", |_, world: &Outside| world.remembered),
            Property::sometimes("a refusal is stored", |_, world: &Outside| {
                world.rows[0] == Some(State::Refused)
            }),
        ]
    }
}
