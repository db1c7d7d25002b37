#![no_main]

commonwatch_fuzz::target!(inventory_state);
