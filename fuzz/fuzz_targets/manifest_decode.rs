#![no_main]

commonwatch_fuzz::target!(manifest_decode);
