//! `when`: the path to a bool that says whether a step runs.

use prost_reflect::Kind;

use super::types::Shape;
use super::{Checker, Site};
use crate::condition::Condition;
use crate::mapping::Path;
use crate::problem::{Problem, ProblemKind};
use crate::source::{Expr, ExprNode, StepSource};

/// Returns the path of a step's `when`. Two steps of one path run or are left out together.
pub(super) fn text(step: &StepSource) -> Option<String> {
    match &step.when.as_ref()?.node {
        ExprNode::Path { text, .. } => Some(text.clone()),
        ExprNode::Literal(_) | ExprNode::Fields(_) | ExprNode::List(_) => None,
    }
}

impl Checker<'_> {
    pub(super) fn condition(&mut self, when: &Expr, site: Site<'_>) -> Option<Condition> {
        let place = site.field("when");
        let found = match &when.node {
            ExprNode::Path { text, allow_default } => {
                let resolved = self.path(text, when.at, site, &place)?;
                let is_bool = resolved.shape == Shape::Single(Kind::Bool);
                if !is_bool {
                    let message = format!("`{text}` is not a bool");
                    let problem = Problem::new(ProblemKind::TypeMismatch, when.at, message)
                        .expected("bool")
                        .found(resolved.shape.name());
                    self.report_field(site, &place, problem);
                }
                let handled = self.absence_handled(&resolved, *allow_default, when.at, site, &place);
                return (is_bool && handled).then(|| {
                    Condition(Path {
                        allow_default: *allow_default,
                        ..resolved.path
                    })
                });
            }
            ExprNode::Literal(literal) => literal.describe(),
            ExprNode::Fields(_) => "a mapping".to_owned(),
            ExprNode::List(_) => "a sequence".to_owned(),
        };
        let message = "`when` is a path to a bool, nothing more";
        let problem = Problem::new(ProblemKind::BadPath, when.at, message)
            .expected("input.FIELD, steps.STEP.FIELD or { from: PATH, allow_default: true }")
            .found(found);
        self.report_field(site, &place, problem);
        None
    }
}
