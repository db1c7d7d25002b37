#![no_main]

commonwatch_fuzz::target!(head_chunk);
