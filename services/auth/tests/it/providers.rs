//! The providers' sides of a login, as far as these tests need them: a phone that shows its last code, and a WeChat that
//! reads the identity off the code. What else the real ones answer is tested beside their clients.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Both providers, on one port. They end with the runtime of the test.
#[derive(Debug, Clone)]
pub(crate) struct Providers {
    url: String,
    /// Last code by number.
    codes: Codes,
}

type Codes = Arc<Mutex<HashMap<String, String>>>;

impl Providers {
    pub(crate) async fn start() -> Self {
        let codes = Codes::default();
        let routes = Router::new()
            .route("/", post(send_sms))
            .route("/sns/jscode2session", get(code_to_session))
            .with_state(Arc::clone(&codes));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, codes }
    }

    pub(crate) fn sms(&self) -> auth::sms::Config {
        auth::sms::Config {
            secret_id: "id".to_owned(),
            secret_key: "key".into(),
            app_id: "1400000000".to_owned(),
            sign: "Evenkeel".to_owned(),
            template: "1".to_owned(),
            url: self.url.clone(),
            ..auth::sms::Config::default()
        }
    }

    pub(crate) fn wechat(&self) -> auth::wechat::Config {
        auth::wechat::Config {
            app_id: "wx1".to_owned(),
            secret: "secret".into(),
            url: self.url.clone(),
        }
    }

    /// Returns the last code that a phone of mainland China has got.
    pub(crate) fn code(&self, phone: &str) -> String {
        self.codes.lock().unwrap()[&format!("+86{phone}")].clone()
    }
}

async fn send_sms(State(codes): State<Codes>, Json(request): Json<Value>) -> Json<Value> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let phone = text(&request["PhoneNumberSet"][0]);
    let code = text(&request["TemplateParamSet"][0]);
    codes.lock().unwrap().insert(phone.clone(), code);
    Json(json!({ "Response": {
        "RequestId": "1",
        "SendStatusSet": [{ "Code": "Ok", "PhoneNumber": phone, "SerialNo": "1", "Fee": 1, "Message": "" }],
    } }))
}

/// A code is `openid.unionid`, of which the second may be empty.
async fn code_to_session(Query(query): Query<HashMap<String, String>>) -> Json<Value> {
    match query["js_code"].split_once('.') {
        Some((openid, "")) => Json(json!({ "openid": openid, "session_key": "k" })),
        Some((openid, unionid)) => Json(json!({ "openid": openid, "unionid": unionid, "session_key": "k" })),
        None => Json(json!({ "errcode": 40029, "errmsg": "invalid code" })),
    }
}
