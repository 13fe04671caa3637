//! The end-to-end tests: one binary, one module per feature, run as root in every lane.

mod cgroup;
mod family;
mod faults;
mod flags;
mod framework;
mod hostname;
mod images;
mod limits;
mod oci;
mod process;
mod run;
mod seccomp;
mod security;
mod seed;
mod terminal;
mod tools;
