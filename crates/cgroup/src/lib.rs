//! One model of limits and counters over cgroup v1, hybrid and v2.
