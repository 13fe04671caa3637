//! The one small process of a container: parent of its init, holder of its terminal.
