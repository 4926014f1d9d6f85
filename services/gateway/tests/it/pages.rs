//! The contract, the page to read it, and what reasons mean.

use http::{Method, StatusCode};
use rpc::error::Reason;
use serde_json::Value;

use crate::support::{World, somebody};

#[tokio::test]
async fn the_contract_is_served_in_two_versions() {
    let world = World::new().await;
    for (path, version) in [("/openapi.json", "3.1"), ("/openapi-3.0.json", "3.0")] {
        let answer = world.get(path).send().await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let document = answer.json();
        let served = document["openapi"].as_str().unwrap();
        assert!(served.starts_with(version), "{served}");
    }
    assert_eq!(world.get("/openapi.json").send().await.json(), world.openapi);
}

/// Fills the parameters of a path in.
fn filled(template: &str) -> String {
    let parts = template.split('/').map(|part| {
        let is_parameter = part.starts_with('{');
        if is_parameter { "INTERNAL" } else { part }
    });
    parts.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn every_documented_operation_is_there_and_says_who_may() {
    let world = World::new().await;
    let paths = world.openapi["paths"].as_object().unwrap();
    let mut operations = 0;
    for (template, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            let Ok(method) = Method::from_bytes(method.to_ascii_uppercase().as_bytes()) else {
                continue;
            };
            operations += 1;
            let path = filled(template);
            let call = world.call(method.clone(), &path);
            let call = call.with("content-type", "application/json").body("{}");
            let answer = call.send().await;
            let missing = [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED];
            assert!(!missing.contains(&answer.status), "{method} {path}: {answer:?}");
            let public = operation["security"].as_array();
            let public = public.is_some_and(Vec::is_empty) || template.ends_with("/watch");
            let refused = answer.status == StatusCode::UNAUTHORIZED;
            assert!(public || refused, "{method} {path} needs no token: {answer:?}");
        }
    }
    // Tasks, notifications, accounts, watching, documents.
    assert!(operations > 30, "{operations}");
    assert!(
        world
            .upstream
            .seen()
            .iter()
            .all(|seen| seen.header("authorization").is_none()),
        "nobody had a token"
    );
}

#[tokio::test]
async fn what_routes_written_by_hand_answer_is_documented() {
    let world = World::new().await;
    let paths = world.openapi["paths"].as_object().unwrap();
    for path in [
        "/api/v1/tasks/watch",
        "/api/v1/tasks/watch-tickets",
        "/openapi.json",
        "/openapi-3.0.json",
        "/errors/{reason}",
    ] {
        assert!(paths.contains_key(path), "{path}");
    }
    let given = world.call(Method::POST, "/api/v1/tasks/watch-tickets");
    let given = given.with("authorization", somebody()).send().await.json();
    let schema = "/paths/~1api~1v1~1tasks~1watch-tickets/post/responses/200/content/application~1json/schema";
    let required = world.openapi.pointer(schema).unwrap()["required"]
        .as_array()
        .unwrap();
    let names: Vec<&str> = required.iter().filter_map(Value::as_str).collect();
    let mut members: Vec<&str> = given.as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_by_key(|member| names.iter().position(|name| name == member));
    assert_eq!(members, names);
}

#[tokio::test]
async fn the_page_has_all_that_it_needs() {
    let world = World::new().await;
    let moved = world.get("/docs").send().await;
    assert_eq!(moved.status, StatusCode::PERMANENT_REDIRECT);
    assert_eq!(moved.header("location"), Some("/docs/"));
    let page = world.get("/docs/").send().await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'"), "{policy}");
    let text = String::from_utf8(page.body).unwrap();
    let links = text.split(['"', '\'']).filter_map(|link| link.strip_prefix("./"));
    let files: Vec<&str> = links
        .filter(|link| link.ends_with(".css") || link.ends_with(".js"))
        .collect();
    assert!(files.len() >= 3, "{text}");
    for file in files {
        let path = format!("/docs/{file}");
        let answer = world.get(&path).with("accept-encoding", "gzip").send().await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert!(!answer.body.is_empty(), "{path}");
    }
    assert!(!text.contains("http://") && !text.contains("https://"), "{text}");
    for missing in ["/docs/nothing.js", "/docs/..", "/docs/%2e%2e%2fCargo.toml"] {
        world.get(missing).send().await.expect_reason("ROUTE_NOT_FOUND");
    }
}

#[tokio::test]
async fn every_reason_is_explained_to_people_and_to_programs() {
    let world = World::new().await;
    for reason in Reason::ALL {
        let path = format!("/errors/{}", reason.name());
        let page = world.get(&path).send().await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
        let text = String::from_utf8(page.body).unwrap();
        assert!(
            text.contains(reason.text_en()) && text.contains(reason.text_zh()),
            "{text}"
        );
        let known = world.get(&path).with("accept", "application/json").send().await;
        assert_eq!(known.header("content-type"), Some("application/json"));
        let known = known.json();
        assert_eq!(known["reason"], reason.name());
        assert_eq!(known["code"], reason.number());
        assert_eq!(known["status"], reason.http_status());
        assert_eq!(known["texts"]["zh-CN"], reason.text_zh());
    }
    for missing in [
        "/errors/",
        "/errors/NOTHING",
        "/errors/internal",
        "/errors/%3Cscript%3E",
    ] {
        world.get(missing).send().await.expect_reason("ROUTE_NOT_FOUND");
    }
}
