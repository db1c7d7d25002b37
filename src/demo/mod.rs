//! (room demo: to be written)
