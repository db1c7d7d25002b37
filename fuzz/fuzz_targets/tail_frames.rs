#![no_main]

commonwatch_fuzz::target!(tail_frames);
