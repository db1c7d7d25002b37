//! (room api: to be written)
