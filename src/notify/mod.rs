//! (room notify: to be written)
