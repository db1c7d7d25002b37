#![no_main]

commonwatch_fuzz::target!(descriptions_file);
