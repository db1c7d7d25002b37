//! (room app: to be written)
