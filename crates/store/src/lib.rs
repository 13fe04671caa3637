//! Atomic files, locks, the layout on disk and overlay snapshots.
