//! The model: what can happen next.

mod steps;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;

use saga_core::{Op, OpKey, Plan, State};
use stateright::{Model, Property};

use crate::barrier_rows::{Job, Mood};
use crate::journal::Disk;
use crate::mutation::Mutation;
use crate::network::{Body, Message};
use crate::predicates::END;
use crate::scene::Scene;
use crate::world::{Who, World};

/// Something that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A process makes a call that is due.
    Call(Who, OpKey),
    /// A process leaves a step out.
    LeaveOut(Who, OpKey, Disk),
    /// A call cannot even leave.
    Bounce(Who, OpKey, Disk),
    /// A process gives up waiting for an answer.
    TimeOut(Who, OpKey, Disk),
    /// A call arrives at its participant; `again` if it will arrive once more.
    Arrive {
        /// Which.
        call: Message,
        /// What the participant would like to answer.
        mood: Mood,
        /// A copy stays on its way.
        again: bool,
    },
    /// An answer arrives.
    Hear(Message, Disk),
    /// Work in the background ends, well or not.
    WorkEnds(u16, bool),
    /// Whoever did the work says so by token.
    Complete(u16, bool, Disk),
    /// Somebody wants the saga undone.
    Cancel(Who, Disk),
    /// Time passes until a process has something to look at.
    Ring(Who, Disk),
    /// The owner dies and starts again.
    Crash,
    /// Another process takes over; the owner does not know.
    TakeOver,
    /// A takeover loads too early; in a mutation only.
    LoadEarly,
}

/// A scene with everything that can happen in it.
#[derive(Debug)]
pub struct SagaModel {
    pub(crate) scene: Scene,
    pub(crate) mutation: Option<Mutation>,
    /// Worlds from which an end is known to be reached.
    ends: Mutex<HashSet<u64>>,
    /// What has been seen to happen; without it the check could hold of a world in which nothing does.
    seen: Mutex<BTreeSet<&'static str>>,
}

impl SagaModel {
    /// Makes the model of a scene, with a rule removed or all in force.
    #[must_use]
    pub fn new(scene: Scene, mutation: Option<Mutation>) -> Self {
        Self {
            scene,
            mutation,
            ends: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    /// Returns the name of what is broken in a world, if anything.
    #[must_use]
    pub fn broken(&self, world: &World) -> Option<&'static str> {
        let broken = world.broken(&self.scene.plan);
        broken.or_else(|| (!self.reaches_end(world)).then_some(END))
    }

    /// Returns what has been seen to happen.
    ///
    /// # Panics
    /// If the check has panicked.
    #[must_use]
    pub fn seen(&self) -> BTreeSet<&'static str> {
        self.seen.lock().expect("the check did not panic").clone()
    }

    pub(crate) fn saw(&self, what: &'static str) {
        self.seen.lock().expect("the check did not panic").insert(what);
    }

    /// Returns the plan that the state machine is shown in this state.
    pub(crate) fn core_plan(&self, state: &State) -> Cow<'_, Plan> {
        let mutated = self.mutation.and_then(|m| m.plan(&self.scene.plan, state));
        mutated.map_or(Cow::Borrowed(&self.scene.plan), Cow::Owned)
    }

    fn disks(faults: u8) -> &'static [Disk] {
        if faults > 0 {
            &[Disk::Written, Disk::Lost, Disk::WrittenUnheard]
        } else {
            &[Disk::Written]
        }
    }

    fn of_process(&self, world: &World, who: Who, actions: &mut Vec<Action>) {
        let Some(process) = world.process(who) else { return };
        if process.state.phase().is_ended() {
            return;
        }
        let plan = self.core_plan(&process.state);
        let faulty = world.faults > 0;
        for due in process.state.due(&plan).filter(|due| !process.flies(due.key)) {
            if due.key.op == Op::Action && self.scene.left_out(due.key.step) {
                let disks = Self::disks(world.faults);
                actions.extend(disks.iter().map(|disk| Action::LeaveOut(who, due.key, *disk)));
                continue;
            }
            actions.push(Action::Call(who, due.key));
            actions.extend(faulty.then_some(Action::Bounce(who, due.key, Disk::Written)));
        }
        if faulty {
            let disks = Self::disks(world.faults - 1);
            for flight in &process.in_flight {
                actions.extend(disks.iter().map(|disk| Action::TimeOut(who, flight.key, *disk)));
            }
        }
        let disks = Self::disks(world.faults);
        if self.scene.cancels && !world.cancelled {
            actions.extend(disks.iter().map(|disk| Action::Cancel(who, *disk)));
        }
        if process.state.alarm_at(&plan).is_some() {
            actions.extend(disks.iter().map(|disk| Action::Ring(who, *disk)));
        }
    }

    fn of_network(&self, world: &World, actions: &mut Vec<Action>) {
        for message in world.network.distinct() {
            let Body::Call { probe } = message.body else {
                let disks = Self::disks(world.faults);
                actions.extend(disks.iter().map(|disk| Action::Hear(*message, *disk)));
                continue;
            };
            for mood in self.moods(world, message, probe) {
                for again in [false, true] {
                    let action = Action::Arrive {
                        call: *message,
                        mood,
                        again,
                    };
                    // A refusal without the mark speaks for its attempt only as long as nobody repeats that (docs/adr/0019).
                    let believed = mood == Mood::EarlyNo && again;
                    if self.cost(world, &action) <= world.faults && !believed {
                        actions.push(action);
                    }
                }
            }
        }
    }

    fn moods(&self, world: &World, call: &Message, probe: bool) -> Vec<Mood> {
        if probe {
            return vec![Mood::Yes];
        }
        let request = world.request(&self.scene, call.key, call.attempt);
        world.sites[usize::from(call.key.step)].moods(request, self.mutation)
    }

    /// Returns how many faults the arrival of a call counts as.
    fn cost(&self, world: &World, action: &Action) -> u8 {
        let Action::Arrive { call, mood, again } = action else {
            return 0;
        };
        let refusable = world.request(&self.scene, call.key, call.attempt).refusable;
        let odd = match mood {
            Mood::Yes | Mood::Pending => false,
            Mood::No => !refusable,
            Mood::EarlyNo => true,
        };
        u8::from(odd) + u8::from(*again)
    }

    fn of_workers(&self, world: &World, actions: &mut Vec<Action>) {
        for (step, site) in (0..).zip(&world.sites) {
            let disks = Self::disks(world.faults);
            match site.job() {
                Job::None => {}
                Job::Begun => {
                    actions.extend([true, false].map(|well| Action::WorkEnds(step, well)));
                }
                Job::Finished => actions.extend(disks.iter().map(|disk| Action::Complete(step, true, *disk))),
                Job::Failed => actions.extend(disks.iter().map(|disk| Action::Complete(step, false, *disk))),
            }
        }
    }

    /// Tells whether an end is reached when nothing goes wrong any more and everybody does what is asked.
    fn reaches_end(&self, world: &World) -> bool {
        /// More than any scene needs: calls, answers, compensations, a drain.
        const BOUND: usize = 100;
        let mut world = world.clone();
        let mut path = Vec::new();
        for _ in 0..BOUND {
            let mut hasher = DefaultHasher::new();
            world.hash(&mut hasher);
            let hash = hasher.finish();
            let known = self.ends.lock().expect("the check did not panic").contains(&hash);
            path.push(hash);
            if known || world.journal.state.phase().is_ended() {
                self.ends.lock().expect("the check did not panic").extend(path);
                return true;
            }
            let next = self
                .fair(&world)
                .and_then(|action| self.next_state(&world, action));
            match next {
                Some(next) => world = next,
                None => return false,
            }
        }
        false
    }

    /// Returns what happens next if all is well.
    fn fair(&self, world: &World) -> Option<Action> {
        let waited_for = |message: &&Message| message.line == Some(world.owner.line);
        let arrives = |message: &Message| match message.body {
            Body::Call { .. } => Action::Arrive {
                call: *message,
                mood: Mood::Yes,
                again: false,
            },
            Body::Answer(_) => Action::Hear(*message, Disk::Written),
        };
        let working = || {
            let mut sites = (0..).zip(&world.sites);
            let (step, _) = sites.find(|(_, site)| site.job() == Job::Begun)?;
            Some(Action::WorkEnds(step, true))
        };
        let message = world.network.iter().find(waited_for).map(arrives);
        message.or_else(working).or_else(|| {
            let mut own = Vec::new();
            self.of_process(world, Who::Owner, &mut own);
            let call = own
                .iter()
                .find(|action| matches!(action, Action::Call(..) | Action::LeaveOut(_, _, Disk::Written)));
            let ring = || {
                own.iter()
                    .find(|action| matches!(action, Action::Ring(_, Disk::Written)))
            };
            call.or_else(ring).cloned()
        })
    }
}

impl Model for SagaModel {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.scene)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        // What is broken already is not told any further: the state machine would panic over it.
        if self.mutation.is_some() && world.broken(&self.scene.plan).is_some() {
            return;
        }
        self.of_process(world, Who::Owner, actions);
        self.of_process(world, Who::Replaced, actions);
        self.of_network(world, actions);
        self.of_workers(world, actions);
        if world.faults > 0 && !world.journal.state.phase().is_ended() {
            actions.push(Action::Crash);
            if world.replaced.is_none() {
                actions.push(Action::TakeOver);
                let early = self.mutation == Some(Mutation::TakeoverLoadsFirst) && world.early.is_none();
                actions.extend(early.then_some(Action::LoadEarly));
            }
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        self.happen(world, action).filter(|next| next != world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("nothing is broken", |model, world| {
            model.broken(world).is_none()
        })]
    }
}
