#![no_main]

commonwatch_fuzz::target!(rules_state);
