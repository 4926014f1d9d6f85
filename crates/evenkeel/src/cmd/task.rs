//! `evenkeel task`: small conveniences around the task service.

use std::time::Duration;

use chrono::Utc;
use clap::Subcommand;
use proto::task::v1::task_service_client::TaskServiceClient;
use proto::task::v1::{
    CancelTaskRequest, CreateTaskRequest, GetTaskRequest, ListFeaturesRequest, ListTasksRequest,
};

use crate::client::{self, CALL_TIMEOUT};
use crate::cmd::input;
use crate::exit::{Code, Failure};
use crate::identity::Identity;
use crate::output::{self, Format};
use crate::proto_json;
use crate::render;

/// Creating waits for the quota to be reserved and the task to be recorded.
const CREATE_TIMEOUT: Duration = Duration::from_secs(30);

/// Creates, shows and cancels tasks.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel task features
  evenkeel task create user_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b FEATURE --input '{}'
  evenkeel task list user_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b")]
pub(crate) struct Args {
    /// URL of the task service
    #[arg(
        long = "server",
        global = true,
        env = "EVENKEEL_TASK_URL",
        default_value = "http://127.0.0.1:7103",
        value_name = "URL"
    )]
    url: String,
    /// How to print
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Reserves quota and creates a task; answers when the task exists
    #[command(after_help = "Example:
  evenkeel task create user_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b FEATURE --input '{\"text\": \"…\"}' --request-id r-1")]
    Create {
        /// Id of the user
        user: String,
        /// What to run; see `evenkeel task features`
        feature: String,
        /// Input as JSON, @FILE, or @- for standard input
        #[arg(long, default_value = "{}", value_name = "JSON")]
        input: String,
        /// The same id is the same task; a random one if absent
        #[arg(long, default_value = "", hide_default_value = true, value_name = "ID")]
        request_id: String,
    },
    /// Shows one task and its result
    #[command(after_help = "Example:\n  evenkeel task show task_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b -o json")]
    Show {
        /// Id of the task
        task: String,
    },
    /// Lists a user's tasks, newest first
    #[command(after_help = "Example:\n  evenkeel task list user_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b --limit 10")]
    List {
        /// Id of the user
        user: String,
        /// Tasks a page, 1 to 500
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500), value_name = "N")]
        limit: u32,
        /// Goes on where the page before ended
        #[arg(long, default_value = "", hide_default_value = true, value_name = "TOKEN")]
        page_token: String,
    },
    /// Stops a task and gives its quota back
    #[command(
        after_help = "Example:\n  evenkeel task cancel task_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b --reason 'no longer needed'"
    )]
    Cancel {
        /// Id of the task
        task: String,
        /// Why
        #[arg(long, default_value = "cancelled by hand", value_name = "TEXT")]
        reason: String,
    },
    /// Lists what a task can run
    #[command(after_help = "Example:\n  evenkeel task features")]
    Features,
}

/// Runs one `evenkeel task` command.
pub(crate) async fn run(args: Args, identity: &Identity) -> Result<Code, Failure> {
    let mut tasks = TaskServiceClient::new(identity.channel(&args.url, "task")?);
    let failed = |status: tonic::Status| client::failure(&status, &args.url);
    let (format, colour) = (args.output, output::colour());
    match args.verb {
        Verb::Create {
            user,
            feature,
            input,
            request_id,
        } => {
            let input_data = proto_json::parse_struct(&input::json_text(&input)?)
                .map_err(|e| Failure::new(Code::Usage, "the input is not a JSON object").because(&e))?;
            let request = CreateTaskRequest {
                user_id: user,
                feature_id: feature,
                input_data: Some(input_data),
                request_id,
            };
            let call = client::request(request, CREATE_TIMEOUT);
            let answer = tasks.create_task(call).await.map_err(failed)?.into_inner();
            output::print(
                format,
                colour,
                "evenkeel.task.v1.CreateTaskResponse",
                &answer,
                |colour| render::task::list(answer.task.as_slice(), Utc::now()).render(colour),
            )?;
        }
        Verb::Show { task } => {
            let call = client::request(GetTaskRequest { task_id: task }, CALL_TIMEOUT);
            let answer = tasks.get_task(call).await.map_err(failed)?.into_inner();
            output::print(
                format,
                colour,
                "evenkeel.task.v1.GetTaskResponse",
                &answer,
                |colour| {
                    let mut text = render::task::list(answer.task.as_slice(), Utc::now()).render(colour);
                    if let Some(result) = answer.task.as_ref().and_then(|task| task.result.as_ref()) {
                        text.push_str(&format!(
                            "\n{:#}\n",
                            proto_json::value("google.protobuf.Struct", result)
                        ));
                    }
                    text
                },
            )?;
        }
        Verb::List {
            user,
            limit,
            page_token,
        } => {
            let request = ListTasksRequest {
                user_id: user,
                page_size: limit,
                page_token,
                states: Vec::new(),
            };
            let call = client::request(request, CALL_TIMEOUT);
            let answer = tasks.list_tasks(call).await.map_err(failed)?.into_inner();
            output::print(
                format,
                colour,
                "evenkeel.task.v1.ListTasksResponse",
                &answer,
                |colour| render::task::list(&answer.tasks, Utc::now()).render(colour),
            )?;
            if format == Format::Table && !answer.next_page_token.is_empty() {
                output::remark(&format!(
                    "there are more: --page-token {}",
                    answer.next_page_token
                ));
            }
        }
        Verb::Cancel { task, reason } => {
            let call = client::request(
                CancelTaskRequest {
                    task_id: task,
                    reason,
                },
                CREATE_TIMEOUT,
            );
            let answer = tasks.cancel_task(call).await.map_err(failed)?.into_inner();
            output::print(
                format,
                colour,
                "evenkeel.task.v1.CancelTaskResponse",
                &answer,
                |colour| render::task::list(answer.task.as_slice(), Utc::now()).render(colour),
            )?;
        }
        Verb::Features => {
            let call = client::request(ListFeaturesRequest {}, CALL_TIMEOUT);
            let answer = tasks.list_features(call).await.map_err(failed)?.into_inner();
            output::print(
                format,
                colour,
                "evenkeel.task.v1.ListFeaturesResponse",
                &answer,
                |colour| render::task::features(&answer.features).render(colour),
            )?;
        }
    }
    Ok(Code::Ok)
}
