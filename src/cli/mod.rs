//! (room cli: to be written)
