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
        let size = match request.page_size {
            0 => DEFAULT_PAGE,
            size @ 1..=MAX_PAGE => size,
            _ => {
                return Err(Error::Argument {
                    field: "page_size",
                    problem: format!("must be at most {MAX_PAGE}"),
                });
            }
        };
        let states = states(&request.states)?;
        let after = match request.page_token.as_str() {
            "" => None,
            token => Some(page_token::read(token, user_id, &states).ok_or(Error::PageToken)?),
        };
        Ok(Self {
            user_id,
            states,
            after,
            size,
        })
    }
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
    let mut names: Vec<&'static str> = page.states.iter().map(|state| state.name()).collect();
    names.sort_unstable();
    names.dedup();
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
        page_token::write(after, page.user_id, &page.states)
    });
    Ok((found, token.unwrap_or_default()))
}
