//! What is inside the room, with a store that refuses on command.

pub(super) mod fake_store;

mod body;
mod resolve;
