//! A step that builds a value from the input and earlier outputs.

use futures::FutureExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Call, Handler, Outcome};
use crate::pipeline::spec::Scope;
use crate::pipeline::template;

/// Fills a template in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transform {
    /// The output, as a [template](crate::pipeline::template).
    pub output: Value,
}

impl Handler for Transform {
    fn problems(&self, scope: &Scope<'_>) -> Vec<String> {
        scope.template_problems("output", &self.output)
    }

    fn attempt<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Outcome> {
        let outcome = match template::render(&self.output, call.context) {
            Ok(output) => Outcome::Done(output),
            Err(error) => Outcome::Failed(error.to_string()),
        };
        std::future::ready(outcome).boxed()
    }
}
