//! (room tagging: to be written)
