//! The end-to-end tests: one binary, one module per feature, run as root in every lane.

mod framework;
