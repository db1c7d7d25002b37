//! (room auth: to be written)
