//! The size of the container's terminal, which is known only to who holds the user's.

use crate::LaunchPlan;
use crate::step::Step;

impl LaunchPlan {
    /// Gives the container's terminal this size, where the configuration states none (`process.consoleSize`).
    /// Set afterwards it would come too late: a program may look at it first thing.
    pub fn set_window(&mut self, columns: u16, rows: u16) {
        for step in &mut self.steps {
            if let Step::Terminal(terminal) = step {
                terminal.size = terminal.size.or(Some((columns, rows)));
            }
        }
    }
}
