//! (room derive: to be written)
