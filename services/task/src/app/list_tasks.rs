//! ListTasks: keyset pages, newest first.

use ids::UserId;
use proto::task::v1 as pb;

use super::{App, Error, page_token};
use crate::domain::TaskState;
use crate::store::tasks::{self, After, Task};

/// Largest page.
const MAX_PAGE: u32 = 500;
/// Page if the caller says nothing.
const DEFAULT_PAGE: u32 = 50;

/// A valid request for a page.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    user_id: UserId,
    states: Vec<TaskState>,
    after: Option<After>,
    size: u32,
}

impl Page {
    /// Checks a request for the tasks of a user.
    pub(crate) fn parse(user_id: UserId, request: &pb::ListTasksRequest) -> Result<Self, Error> {
        let size = page_size(request.page_size)?;
        let states = states(&request.states)?;
        let after = match request.page_token.as_str() {
            "" => None,
            token => Some(page_token::read(token, user_id, &filter(&states)).ok_or(Error::PageToken)?),
        };
        Ok(Self {
            user_id,
            states,
            after,
            size,
        })
    }
}

/// Reads how large a page shall be.
pub(super) fn page_size(wanted: u32) -> Result<u32, Error> {
    match wanted {
        0 => Ok(DEFAULT_PAGE),
        size @ 1..=MAX_PAGE => Ok(size),
        _ => Err(Error::Argument {
            field: "page_size",
            problem: format!("must be at most {MAX_PAGE}"),
        }),
    }
}

/// What a token is tied to: the same states in any order are the same list.
fn filter(states: &[TaskState]) -> String {
    names(states).join(",")
}

fn names(states: &[TaskState]) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = states.iter().map(|state| state.name()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn states(wire: &[i32]) -> Result<Vec<TaskState>, Error> {
    let unknown = || Error::Argument {
        field: "states",
        problem: "holds a value that is no state".to_owned(),
    };
    wire.iter()
        .map(|value| {
            let state = pb::TaskState::try_from(*value).map_err(|_| unknown())?;
            TaskState::from_wire(state).ok_or_else(unknown)
        })
        .collect()
}

/// Lists a page. Returns the token of the next one, empty after the last.
pub(crate) async fn list_tasks(app: &App, page: &Page) -> Result<(Vec<Task>, String), Error> {
    let names = names(&page.states);
    // One more than asked for tells whether there is a next page.
    let limit = i64::from(page.size) + 1;
    let mut found = tasks::list(&app.pool, page.user_id, &names, page.after, limit).await?;
    let size = usize::try_from(page.size).unwrap_or(usize::MAX);
    if found.len() <= size {
        return Ok((found, String::new()));
    }
    found.truncate(size);
    let token = found.last().map(|task| {
        let after = After {
            created_at: task.created_at,
            id: task.id.uuid(),
        };
        page_token::write(after, page.user_id, &filter(&page.states))
    });
    Ok((found, token.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_states_in_any_order_are_the_same_list() {
        let order = [TaskState::Pending, TaskState::Failed, TaskState::Failed];
        assert_eq!(filter(&order), "failed,pending");
        assert_eq!(filter(&[]), "");
    }
}
