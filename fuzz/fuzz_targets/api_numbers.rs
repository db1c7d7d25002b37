#![no_main]

commonwatch_fuzz::target!(api_numbers);
