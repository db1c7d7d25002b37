#![no_main]

commonwatch_fuzz::target!(line_read);
