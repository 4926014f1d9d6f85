use ids::UserId;
use proptest::prelude::*;
use proto::auth::v1 as pb;
use tonic::{Code, Status};

use crate::support::{PASSWORD, World, as_user, phone, reason};

/// Returns reason and field of a refusal.
fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> (String, String) {
    let status = answer.unwrap_err();
    let info = rpc::error::info(&status).unwrap_or_else(|| panic!("{status} has a reason"));
    let field = info.metadata.get("field").cloned().unwrap_or_default();
    (info.reason, field)
}

fn invalid(field: &str) -> (String, String) {
    ("INVALID_ARGUMENT".to_owned(), field.to_owned())
}

const BAD_PHONES: [&str; 7] = [
    "",
    "1",
    "12345678901",
    "+0123456789",
    "1380013800a",
    "+86138\u{0}0138000",
    "十三八零零一三八零零零",
];

#[tokio::test]
async fn malformed_logins_are_refused_by_name() {
    let world = World::new().await;
    let long = "x".repeat(1025);
    let device = "d".repeat(101);
    let good = phone();
    let login = |phone: &str, code: &str, password: &str, device: &str| pb::LoginRequest {
        phone: phone.to_owned(),
        code: code.to_owned(),
        password: password.to_owned(),
        device: device.to_owned(),
    };
    for bad in BAD_PHONES {
        let answer = world.auth.try_login(login(bad, "", PASSWORD, "")).await;
        assert_eq!(refused(answer), invalid("phone"), "{bad:?}");
    }
    for (request, field) in [
        (login(&good, "", "", ""), "code"),
        (login(&good, "123456", PASSWORD, ""), "code"),
        (login(&good, &long, "", ""), "code"),
        (login(&good, "", &long, ""), "password"),
        (login(&good, "", PASSWORD, &device), "device"),
        (login(&good, "", PASSWORD, "a\u{7}b"), "device"),
    ] {
        assert_eq!(refused(world.auth.try_login(request).await), invalid(field));
    }
}

#[tokio::test]
async fn malformed_registrations_make_nobody() {
    let world = World::new().await;
    let good = pb::RegisterRequest {
        phone: phone(),
        password: PASSWORD.to_owned(),
        ..pb::RegisterRequest::default()
    };
    let with = |change: fn(&mut pb::RegisterRequest)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    let weak = |reason: &str| (reason.to_owned(), String::new());
    for (request, expected) in [
        (with(|r| r.phone.clear()), invalid("phone")),
        (with(|r| r.password.clear()), invalid("password")),
        (
            with(|r| r.password = "short".to_owned()),
            weak("PASSWORD_TOO_WEAK"),
        ),
        (
            with(|r| r.password = "12345678".to_owned()),
            weak("PASSWORD_TOO_WEAK"),
        ),
        (with(|r| r.password = "长".repeat(25)), weak("PASSWORD_TOO_LONG")),
        (
            with(|r| r.referrer_id = "task_1".to_owned()),
            ("INVALID_ID".to_owned(), "referrer_id".to_owned()),
        ),
        (
            with(|r| {
                r.referrer_id = UserId::new().to_string();
                r.invite_code = "abcdefgh".to_owned();
            }),
            invalid("invite_code"),
        ),
        (with(|r| r.device = "d".repeat(101)), invalid("device")),
    ] {
        assert_eq!(
            refused(world.auth.try_register(request.clone()).await),
            expected,
            "{request:?}"
        );
    }
    assert_eq!(world.auth.count("select count(*) from account").await, 0);
}

#[tokio::test]
async fn malformed_changes_are_refused_by_name() {
    let world = World::new().await;
    let tokens = world.auth.register(&phone()).await;
    let update = |nickname: Option<&str>, avatar: Option<&str>, gender: Option<i32>| {
        let request = pb::UpdateMeRequest {
            nickname: nickname.map(str::to_owned),
            avatar: avatar.map(str::to_owned),
            gender,
        };
        let (mut users, request) = (world.auth.users.clone(), as_user(&tokens, request));
        async move { users.update_me(request).await }
    };
    let (long, url) = ("n".repeat(65), format!("https://a.example/{}", "x".repeat(500)));
    assert_eq!(
        refused(update(Some(&long), None, None).await),
        invalid("nickname")
    );
    assert_eq!(
        refused(update(Some("a\u{0}"), None, None).await),
        invalid("nickname")
    );
    for bad in [
        url.as_str(),
        "http://a.example/",
        "javascript:alert(1)",
        "https://",
    ] {
        assert_eq!(refused(update(None, Some(bad), None).await), invalid("avatar"));
    }
    assert_eq!(refused(update(None, None, Some(9)).await), invalid("gender"));
    let before = world.auth.me(&tokens).await.unwrap();
    assert_eq!((before.nickname, before.avatar), (String::new(), String::new()));
}

#[tokio::test]
async fn malformed_admin_calls_are_refused_by_name() {
    let world = World::new().await;
    let user = world.auth.register(&phone()).await.user_id;
    let long = "r".repeat(501);
    let mut users = world.auth.users.clone();
    for (user_id, text, expected) in [
        ("", "why", invalid("user_id")),
        ("user_1", "why", ("INVALID_ID".to_owned(), "user_id".to_owned())),
        (user.as_str(), " ", invalid("reason")),
        (user.as_str(), long.as_str(), invalid("reason")),
    ] {
        let (user_id, reason) = (user_id.to_owned(), text.to_owned());
        let ban = pb::BanUserRequest {
            user_id: user_id.clone(),
            reason: reason.clone(),
        };
        let unban = pb::UnbanUserRequest {
            user_id: user_id.clone(),
            reason: reason.clone(),
        };
        let role = pb::SetRoleRequest {
            user_id,
            role: pb::Role::Admin.into(),
            reason,
        };
        assert_eq!(
            refused(users.ban_user(world.auth.as_operator(ban)).await),
            expected
        );
        assert_eq!(
            refused(users.unban_user(world.auth.as_operator(unban)).await),
            expected
        );
        assert_eq!(
            refused(users.set_role(world.auth.as_operator(role)).await),
            expected
        );
    }
    for role in [0, 7] {
        let request = pb::SetRoleRequest {
            user_id: user.clone(),
            role,
            reason: "why".to_owned(),
        };
        let answer = users.set_role(world.auth.as_operator(request)).await;
        assert_eq!(refused(answer), invalid("role"));
    }
    assert_eq!(
        reason(world.auth.ban(&UserId::new().to_string()).await),
        "USER_NOT_FOUND"
    );
    for (key, value, field) in [
        ("Key", "1", "key"),
        ("key", "{", "value_json"),
        ("key", "", "value_json"),
    ] {
        let request = pb::SetConfigurationRequest {
            key: key.to_owned(),
            value_json: value.to_owned(),
            public: true,
        };
        let answer = users.set_configuration(world.auth.as_operator(request)).await;
        assert_eq!(refused(answer), invalid(field));
    }
    for request in [
        pb::ListUsersRequest {
            page_token: "next".to_owned(),
            ..pb::ListUsersRequest::default()
        },
        pb::ListUsersRequest {
            state: 9,
            ..pb::ListUsersRequest::default()
        },
        pb::ListUsersRequest {
            phone: "1".to_owned(),
            ..pb::ListUsersRequest::default()
        },
    ] {
        let answer = users.list_users(world.auth.as_operator(request)).await;
        assert_eq!(answer.unwrap_err().code(), Code::InvalidArgument);
    }
    assert_eq!(world.auth.count("select count(*) from audit").await, 0);
}

#[test]
fn no_request_makes_the_service_panic() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = runtime.block_on(World::new());
    let tokens = runtime.block_on(world.auth.register(&phone()));
    let text = || {
        prop_oneof![
            ".{0,40}",
            "user_[0-9a-f]{32}",
            "session_[0-9a-f]{32}",
            "1[3-9][0-9]{9}",
            "rt_.{0,120}"
        ]
    };
    let config = ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(a in text(), b in text(), c in text(), number: i32)| {
        let (mut auth, mut users) = (world.auth.auth.clone(), world.auth.users.clone());
        runtime.block_on(async {
            let login = pb::LoginRequest { phone: a.clone(), code: b.clone(), password: c.clone(), device: b.clone() };
            let update = pb::UpdateMeRequest { nickname: Some(a.clone()), avatar: Some(b.clone()), gender: Some(number) };
            let list = pb::ListUsersRequest { page_token: a.clone(), phone: b.clone(), role: number, ..pb::ListUsersRequest::default() };
            let set = pb::SetConfigurationRequest { key: a.clone(), value_json: b.clone(), public: true };
            let role = pb::SetRoleRequest { user_id: a.clone(), role: number, reason: b.clone() };
            for answer in [
                auth.login(login).await.map(drop),
                auth.refresh(pb::RefreshRequest { refresh_token: a.clone() }).await.map(drop),
                auth.logout(pb::LogoutRequest { refresh_token: b.clone() }).await.map(drop),
                auth.wechat_login(pb::WechatLoginRequest { code: a.clone(), device: b.clone() }).await.map(drop),
                users.update_me(as_user(&tokens, update)).await.map(drop),
                users.revoke_session(as_user(&tokens, pb::RevokeSessionRequest { session_id: a.clone() })).await.map(drop),
                users.list_users(world.auth.as_operator(list)).await.map(drop),
                users.set_configuration(world.auth.as_operator(set)).await.map(drop),
                users.set_role(world.auth.as_operator(role)).await.map(drop),
            ] {
                if let Err(status) = answer {
                    let reason = rpc::error::info(&status).expect("a refusal has a reason").reason;
                    prop_assert_ne!(reason, "INTERNAL", "{}", status);
                }
            }
            Ok(())
        })?;
    });
    // Its clean-up needs the runtime.
    let _inside = runtime.enter();
    drop(world);
}
