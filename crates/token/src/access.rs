//! Who may call a method: the option `(evenkeel.access.v1.access)` of the contract.

use std::collections::HashMap;

use prost_reflect::{DescriptorPool, MethodDescriptor};
use proto::access::v1::Access;

use crate::caller::{Caller, OPERATOR, ORCHESTRATOR, Role, ServiceName};
use crate::error::Refusal;

/// Full name of the option.
const OPTION: &str = "evenkeel.access.v1.access";

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Anybody.
    Public,
    /// Users, for themselves; administrators and services for any user. Which user, the handler checks:
    /// [`Caller::subject_user`].
    User,
    /// Services, and administrators.
    Service,
    /// Administrators, the service [`OPERATOR`], and the service itself: its other replicas pass calls on, its own process
    /// asks how it is.
    Admin,
    /// The service [`ORCHESTRATOR`].
    Orchestrator,
}

impl Rule {
    /// Reads the rule of a method; `None` if it has none, and so nobody may call it.
    #[must_use]
    pub fn of(method: &MethodDescriptor) -> Option<Self> {
        let option = method.parent_pool().get_extension_by_name(OPTION)?;
        let options = method.options();
        let number = options.get_extension(&option).as_enum_number()?;
        match Access::try_from(number).ok()? {
            Access::Unspecified => None,
            Access::Public => Some(Self::Public),
            Access::User => Some(Self::User),
            Access::Service => Some(Self::Service),
            Access::Admin => Some(Self::Admin),
            Access::Orchestrator => Some(Self::Orchestrator),
        }
    }

    /// Decides on a caller whose identity is verified, for a method of the service `own`.
    ///
    /// # Errors
    /// `Anonymous` where somebody is needed, else `Denied`.
    pub fn check(self, caller: &Caller, own: &ServiceName) -> Result<(), Refusal> {
        let denied = match (self, caller) {
            (Self::Public, _) => return Ok(()),
            (_, Caller::Anonymous) => return Err(Refusal::Anonymous),
            (Self::User, Caller::User(_) | Caller::Service { .. })
            | (Self::Service, Caller::Service { .. }) => {
                return Ok(());
            }
            (Self::Service | Self::Admin, Caller::User(user)) if user.role == Role::Admin => return Ok(()),
            (Self::Admin, Caller::Service { name }) if name == own || caller.is_service(OPERATOR) => {
                return Ok(());
            }
            (Self::Orchestrator, Caller::Service { .. }) if caller.is_service(ORCHESTRATOR) => return Ok(()),
            (Self::Service, Caller::User(_)) => "the method is for services and administrators",
            (Self::Admin, Caller::User(_) | Caller::Service { .. }) => {
                "the method is for administrators and operators"
            }
            (Self::Orchestrator, Caller::User(_) | Caller::Service { .. }) => {
                "the method is for the orchestrator alone"
            }
        };
        Err(Refusal::Denied(denied))
    }
}

/// A service cannot be guarded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// The contract has no such service.
    #[error("there is no service {0} in the contract")]
    NoService(String),
    /// A method does not say who may call it.
    #[error("{0} does not say who may call it: option (evenkeel.access.v1.access) is missing")]
    NoRule(String),
}

/// Returns the rules of all methods of some services, by path: `/evenkeel.quota.v1.QuotaService/GetBalance`.
pub(crate) fn rules(pool: &DescriptorPool, services: &[&str]) -> Result<HashMap<String, Rule>, AccessError> {
    let mut rules = HashMap::new();
    for name in services {
        let service = pool.get_service_by_name(name);
        let service = service.ok_or_else(|| AccessError::NoService((*name).to_owned()))?;
        for method in service.methods() {
            let rule = Rule::of(&method).ok_or_else(|| AccessError::NoRule(method.full_name().to_owned()))?;
            rules.insert(format!("/{name}/{}", method.name()), rule);
        }
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use ids::UserId;

    use super::*;
    use crate::caller::User;

    fn user(role: Role) -> Caller {
        Caller::User(User {
            user_id: UserId::new(),
            session_id: "s1".into(),
            role,
            epoch: 0,
        })
    }

    fn service(name: &str) -> Caller {
        Caller::Service {
            name: name.parse().unwrap(),
        }
    }

    #[test]
    fn each_rule_lets_in_whom_it_says() {
        let callers = [
            Caller::Anonymous,
            user(Role::User),
            user(Role::Admin),
            service("task"),
            service("quota"),
            service(OPERATOR),
            service(ORCHESTRATOR),
        ];
        let own = "quota".parse().unwrap();
        for (rule, let_in) in [
            (Rule::Public, [true, true, true, true, true, true, true]),
            (Rule::User, [false, true, true, true, true, true, true]),
            (Rule::Service, [false, false, true, true, true, true, true]),
            (Rule::Admin, [false, false, true, false, true, true, false]),
            (
                Rule::Orchestrator,
                [false, false, false, false, false, false, true],
            ),
        ] {
            assert_eq!(
                callers.each_ref().map(|caller| rule.check(caller, &own).is_ok()),
                let_in,
                "{rule:?}"
            );
        }
    }

    #[test]
    fn nobody_is_told_to_bring_a_token_and_others_that_they_may_not() {
        let own = "quota".parse().unwrap();
        assert_eq!(
            Rule::User.check(&Caller::Anonymous, &own),
            Err(Refusal::Anonymous)
        );
        let denied = Rule::Admin.check(&user(Role::User), &own).unwrap_err();
        assert_eq!(denied.reason().unwrap().name(), "PERMISSION_DENIED");
    }

    #[test]
    fn every_method_of_the_contract_says_who_may_call_it() {
        let pool = proto::descriptor_pool();
        let services: Vec<String> = pool
            .services()
            .map(|service| service.full_name().to_owned())
            .filter(|name| name.starts_with("evenkeel."))
            .collect();
        let names: Vec<&str> = services.iter().map(String::as_str).collect();
        let rules = rules(&pool, &names).unwrap();
        assert_eq!(
            rules.get("/evenkeel.quota.v1.QuotaSteps/Reserve"),
            Some(&Rule::Orchestrator)
        );
        assert_eq!(
            rules.get("/evenkeel.auth.v1.AuthService/Login"),
            Some(&Rule::Public)
        );
    }

    #[test]
    fn a_method_without_a_rule_is_an_error_that_names_it() {
        let error = rules(&proto::descriptor_pool(), &["evenkeel.nothing.v1.Service"]).unwrap_err();
        assert_eq!(
            error,
            AccessError::NoService("evenkeel.nothing.v1.Service".to_owned())
        );
        let mut pool = proto::descriptor_pool();
        let file = prost_types::FileDescriptorProto {
            name: Some("a.proto".to_owned()),
            package: Some("a.v1".to_owned()),
            message_type: vec![prost_types::DescriptorProto {
                name: Some("Nothing".to_owned()),
                ..Default::default()
            }],
            service: vec![prost_types::ServiceDescriptorProto {
                name: Some("Shop".to_owned()),
                method: vec![prost_types::MethodDescriptorProto {
                    name: Some("Sell".to_owned()),
                    input_type: Some(".a.v1.Nothing".to_owned()),
                    output_type: Some(".a.v1.Nothing".to_owned()),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            syntax: Some("proto3".to_owned()),
            ..Default::default()
        };
        pool.add_file_descriptor_proto(file).unwrap();
        let error = rules(&pool, &["a.v1.Shop"]).unwrap_err();
        assert_eq!(error, AccessError::NoRule("a.v1.Shop.Sell".to_owned()));
    }
}
