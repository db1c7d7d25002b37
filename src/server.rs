//! (room server: to be written)
