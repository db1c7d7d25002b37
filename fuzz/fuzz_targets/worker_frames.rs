#![no_main]

commonwatch_fuzz::target!(worker_frames);
