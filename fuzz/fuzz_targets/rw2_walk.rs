#![no_main]

commonwatch_fuzz::target!(rw2_walk);
