#![no_main]

commonwatch_fuzz::target!(notify_state);
