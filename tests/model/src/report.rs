//! Running a check.

use std::fmt;
use std::time::{Duration, Instant};

use stateright::{Checker, CheckerBuilder, HasDiscoveries, Model};

use crate::mutation::Mutation;
use crate::saga_model::SagaModel;
use crate::scene::Scene;

/// A story that breaks something.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Name of the predicate.
    pub predicate: &'static str,
    /// What happened, in order.
    pub story: Vec<String>,
    /// The world it ends in.
    pub world: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} is broken by:", self.predicate)?;
        for one in &self.story {
            writeln!(f, "  {one}")?;
        }
        writeln!(f, "which leads to {}", self.world)
    }
}

/// What a check has brought.
#[derive(Debug)]
pub struct Checked {
    /// Different states.
    pub states: usize,
    /// The longest story, in actions.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// What was broken, if anything.
    pub finding: Option<Finding>,
    /// What has been seen to happen.
    pub seen: std::collections::BTreeSet<&'static str>,
}

/// Tells every story of a scene, depth first, which takes little memory. Something that is broken ends it.
#[must_use]
pub fn check(scene: Scene, threads: usize) -> Checked {
    let began = Instant::now();
    let checker = builder(scene, None, threads).spawn_dfs().join();
    checked(&checker, began)
}

/// Tells the stories of a scene without one of the rules, the short ones first, until something is broken.
#[must_use]
pub fn shortest(scene: Scene, removed: Mutation) -> Checked {
    let began = Instant::now();
    let checker = builder(scene, Some(removed), 1).spawn_bfs().join();
    checked(&checker, began)
}

fn builder(scene: Scene, mutation: Option<Mutation>, threads: usize) -> CheckerBuilder<SagaModel> {
    SagaModel::new(scene, mutation)
        .checker()
        .threads(threads)
        .finish_when(HasDiscoveries::AnyFailures)
}

fn checked(checker: &impl Checker<SagaModel>, began: Instant) -> Checked {
    let model = checker.model();
    let finding = checker.discoveries().into_values().next().map(|path| {
        let world = path.last_state().clone();
        Finding {
            predicate: model.broken(&world).unwrap_or("nothing"),
            story: path
                .into_actions()
                .iter()
                .map(|action| format!("{action:?}"))
                .collect(),
            world: format!("{world:#?}"),
        }
    });
    Checked {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        took: began.elapsed(),
        finding,
        seen: model.seen(),
    }
}
