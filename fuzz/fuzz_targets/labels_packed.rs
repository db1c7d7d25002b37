#![no_main]

commonwatch_fuzz::target!(labels_packed);
