//! Dead letters from the command line.

use std::process::Output;

use ::events::{MIGRATOR, SCHEMA};
use serde_json::Value;
use test_support::TestDatabase;
use uuid::Uuid;

use crate::{code, evenkeel, stderr, stdout};

struct Letters {
    database: TestDatabase,
}

impl Letters {
    /// As many dead letters as there are queues named.
    async fn new(queues: &[&str]) -> (Self, Vec<String>) {
        let database = TestDatabase::create(&[(SCHEMA, &MIGRATOR)]).await;
        let mut ids = Vec::new();
        for (n, queue) in queues.iter().enumerate() {
            let id = Uuid::now_v7();
            sqlx::query(
                "insert into events.dead_letter (id, queue, fingerprint, topic, key, reason, deliveries, body)
                 values ($1, $2, $3, 'order.placed', 'order_1', 'no such order', 3, $4)",
            )
            .bind(id)
            .bind(queue)
            .bind(n.to_string().into_bytes())
            .bind(r#"{"data": {"n": 17}}"#.as_bytes())
            .execute(database.admin())
            .await
            .expect("the table is there");
            ids.push(id.to_string());
        }
        (Self { database }, ids)
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut all = vec!["events"];
        all.extend(args);
        evenkeel(&all)
            .env("DATABASE_URL", self.database.url())
            .env("EVENKEEL_ACTOR", "ann")
            .output()
            .expect("the binary runs")
    }

    fn json(&self, args: &[&str]) -> Value {
        let mut all = args.to_vec();
        all.extend(["-o", "json"]);
        let output = self.run(&all);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).expect("one JSON document")
    }

    fn ids(&self, args: &[&str]) -> Vec<String> {
        let listed = self.json(args);
        let letters = listed["deadLetters"].as_array().expect("a list").iter();
        letters
            .map(|letter| letter["id"].as_str().expect("an id").to_owned())
            .collect()
    }
}

#[tokio::test]
async fn dead_letters_are_listed_shown_sent_back_and_dropped() {
    let (letters, ids) = Letters::new(&["a", "b", "a"]).await;
    let listed = stdout(&letters.run(&["list"]));
    for wanted in [ids[0].as_str(), "order.placed", "no such order"] {
        assert!(listed.contains(wanted), "{wanted} is missing:\n{listed}");
    }
    assert_eq!(
        letters.ids(&["list", "--queue", "a"]),
        [ids[0].clone(), ids[2].clone()]
    );
    assert_eq!(letters.ids(&["list", "--limit", "1"]), [ids[0].clone()]);
    assert_eq!(
        letters.ids(&["list", "--limit", "1", "--after", &ids[0]]),
        [ids[1].clone()]
    );
    assert_eq!(letters.ids(&["list", "--all"]), ids);

    let shown = letters.json(&["show", &ids[1]]);
    assert_eq!(shown["deadLetter"]["message"]["data"]["n"], 17);
    assert_eq!(shown["acts"], Value::Array(Vec::new()));

    let sent = letters.run(&["replay", &ids[0], "--reason", "mended"]);
    assert_eq!((code(&sent), stdout(&sent).as_str()), (0, "1 replayed\n"));
    assert!(letters.json(&["show", &ids[0]])["deadLetter"]["replayAt"].is_string());
    // A second time there is nothing to do, and it says so.
    let again = letters.run(&["replay", &ids[0], "--reason", "mended"]);
    assert_eq!(code(&again), 1);
    assert!(stderr(&again).contains(&ids[0]));

    let dropped = letters.json(&["drop", "--queue", "a", "--all", "--reason", "test orders"]);
    assert_eq!(dropped["dropped"].as_array().map(Vec::len), Some(2));
    assert_eq!(letters.ids(&["list"]), [ids[1].clone()]);
    let shown = letters.json(&["show", &ids[0]]);
    assert!(shown["deadLetter"].is_null());
    let acts = shown["acts"].as_array().expect("a list");
    assert_eq!(
        (&acts[0]["action"], &acts[1]["action"]),
        (&"replay".into(), &"drop".into())
    );
    assert_eq!(
        (&acts[1]["actor"], &acts[1]["note"]),
        (&"ann".into(), &"test orders".into())
    );
    assert!(stdout(&letters.run(&["show", &ids[0]])).contains("test orders"));
}

#[tokio::test]
async fn what_is_wrong_is_said_and_nothing_is_done() {
    let (letters, ids) = Letters::new(&["a"]).await;
    for wrong in [
        vec!["replay"],
        vec!["replay", "--all", "--reason", "why"],
        vec!["drop", &ids[0]],
        vec!["drop", &ids[0], "--reason", ""],
        vec!["drop", "not-an-id", "--reason", "why"],
        vec!["list", "--limit", "0"],
    ] {
        assert_eq!(code(&letters.run(&wrong)), 2, "{wrong:?}");
    }
    let nobody = Uuid::nil().to_string();
    assert_eq!(code(&letters.run(&["show", &nobody])), 1);
    assert_eq!(code(&letters.run(&["drop", &nobody, "--reason", "why"])), 1);
    assert_eq!(letters.ids(&["list"]), ids);
    let empty = TestDatabase::create(&[]).await;
    let output = evenkeel(&["events", "list", "--database-url", &empty.url()])
        .output()
        .expect("the binary runs");
    assert_eq!(code(&output), 69);
    assert!(
        stderr(&output).contains("evenkeel migrate"),
        "{}",
        stderr(&output)
    );
}
