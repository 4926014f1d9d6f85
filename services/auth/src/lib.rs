//! Auth service: users, logins, tokens, sessions.
