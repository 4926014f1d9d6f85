//! One saga, its owners, its participants, and the network between them.

use saga_core::invariants::effects::Effect;
use saga_core::{Millis, Op, OpKey, Plan, State};

use crate::barrier_rows::{Request, Site};
use crate::journal::Journal;
use crate::network::{Message, Network};
use crate::predicates;
use crate::process::Process;
use crate::scene::Scene;

/// Which process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    /// The one that the journal takes for the owner.
    Owner,
    /// One that was replaced and does not know.
    Replaced,
}

/// A state of the model.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub(crate) now: Millis,
    pub(crate) journal: Journal,
    pub(crate) owner: Process,
    pub(crate) replaced: Option<Process>,
    pub(crate) network: Network,
    pub(crate) sites: Vec<Site>,
    /// How many things may still go wrong.
    pub(crate) faults: u8,
    pub(crate) cancelled: bool,
    /// What a takeover has loaded too early; in a mutation only.
    pub(crate) early: Option<State>,
}

impl World {
    pub(crate) fn new(scene: &Scene) -> Self {
        let start = Scene::start();
        let state = State::start(&scene.plan, &start);
        let positions = scene.plan.epilogue_step() + u16::from(scene.plan.epilogue().is_some());
        Self {
            now: start.at,
            journal: Journal {
                state: state.clone(),
                epoch: 0,
                torn: false,
            },
            owner: Process::new(0, state),
            replaced: None,
            network: Network::default(),
            sites: (0..positions)
                .map(|step| Site::new(scene.left_out(step)))
                .collect(),
            faults: scene.faults,
            cancelled: false,
            early: None,
        }
    }

    /// Returns the name of a predicate that does not hold, if any.
    #[must_use]
    pub fn broken(&self, plan: &Plan) -> Option<&'static str> {
        predicates::broken(plan, self)
    }

    pub(crate) fn effects(&self) -> Vec<Effect> {
        self.sites.iter().map(Site::effect).collect()
    }

    pub(crate) fn process(&self, who: Who) -> Option<&Process> {
        match who {
            Who::Owner => Some(&self.owner),
            Who::Replaced => self.replaced.as_ref(),
        }
    }

    pub(crate) fn process_mut(&mut self, who: Who) -> Option<&mut Process> {
        match who {
            Who::Owner => Some(&mut self.owner),
            Who::Replaced => self.replaced.as_mut(),
        }
    }

    /// Returns who waits for the answer to a message.
    pub(crate) fn reader(&self, message: &Message) -> Option<Who> {
        let epoch = message.line?.epoch;
        let is = |who| {
            self.process(who)
                .is_some_and(|process| process.line.epoch == epoch)
        };
        [Who::Owner, Who::Replaced].into_iter().find(|who| is(*who))
    }

    pub(crate) fn request(&self, scene: &Scene, key: OpKey, attempt: u32) -> Request {
        let step = scene.plan.steps().get(usize::from(key.step));
        let refusable = step.is_some_and(|step| step.zone != saga_core::Zone::Retriable);
        Request {
            op: key.op,
            attempt,
            refusable: refusable && key.op == Op::Action,
            works_in_background: scene.works_in_background(key.step),
        }
    }
}
