//! Drives saga-core over three traits: Journal, Participants, Clock.
