//! What is inside the room, with a store that refuses on command.

mod body;
