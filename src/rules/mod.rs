//! (room rules: to be written)
