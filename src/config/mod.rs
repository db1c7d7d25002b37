//! (room config: to be written)
