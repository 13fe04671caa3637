//! The end-to-end tests: one binary, one module per feature, run as root in every lane.

mod family;
mod framework;
mod hostname;
mod process;
mod seccomp;
mod terminal;
