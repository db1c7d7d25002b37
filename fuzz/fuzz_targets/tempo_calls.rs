#![no_main]

commonwatch_fuzz::target!(tempo_calls);
