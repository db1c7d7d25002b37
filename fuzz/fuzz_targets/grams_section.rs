#![no_main]

commonwatch_fuzz::target!(grams_section);
