//! Taking a group away, with everything that was made inside of it.

use skiff_sys::Errno;

use crate::cgroup::Cgroup;
use crate::error::Error;
use crate::file::Dir;
use crate::freeze;
use crate::wait::Backoff;

/// How long processes get to finish dying. A zombie still holds its group; its parent has been told to reap.
const PATIENCE_MS: u64 = 500;

/// What is done about processes that are still in a group when it shall go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Members {
    /// They are dying: wait for it.
    Die,
    /// They are killed.
    Killed,
}

impl Cgroup {
    /// Removes the group from every hierarchy, with the groups inside of it, and then those ancestors that were
    /// made for it and are empty.
    ///
    /// The processes must be dead or dying ([`Cgroup::kill`]): the kernel refuses with `EBUSY` until the last
    /// one is reaped, and this waits for that up to half a second. A frozen group is thawed, because nothing
    /// dies in it. What stays is found again by [`Cgroup::open`], and removing twice is harmless.
    ///
    /// # Errors
    /// [`Error::Remove`] for the first directory that stays; the others are gone all the same.
    pub fn remove(self) -> Result<(), Error> {
        self.take_away(Members::Die)
    }

    /// Removes the group as [`Cgroup::remove`] does, and kills the processes in it if there are any.
    ///
    /// For the end of a container: one `rmdir` a hierarchy and nothing else when it is empty, as it nearly
    /// always is, because a pid namespace ends with its init.
    ///
    /// # Errors
    /// The first process that does not die, or the first directory that stays.
    pub fn kill_and_remove(self) -> Result<(), Error> {
        self.take_away(Members::Killed)
    }

    fn take_away(self, members: Members) -> Result<(), Error> {
        let mut backoff = None;
        let mut errors = FirstError(None);
        for node in &self.nodes {
            match node.dir.unmake() {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::BUSY) => {
                    // Once, at the first directory that is in use: there it becomes possible.
                    let backoff = backoff.get_or_insert_with(|| {
                        errors.note(match members {
                            Members::Die => freeze::thaw_all(&self),
                            Members::Killed => self.kill(),
                        });
                        Backoff::new(PATIENCE_MS)
                    });
                    errors.note(remove_tree(&node.dir, backoff));
                }
                Err(source) => errors.note(Err(Error::Remove { path: node.dir.shown(), source })),
            }
        }
        for ancestor in self.around.made.iter().rev() {
            match ancestor.unmake() {
                // Somebody else uses it by now, so it is theirs.
                Ok(()) | Err(Errno::NOENT | Errno::BUSY | Errno::NOTEMPTY) => {}
                Err(source) => errors.note(Err(Error::Remove { path: ancestor.shown(), source })),
            }
        }
        errors.0.map_or(Ok(()), Err)
    }
}

/// Goes on after an error, and keeps it for the end.
struct FirstError(Option<Error>);

impl FirstError {
    fn note(&mut self, result: Result<(), Error>) {
        if let Err(error) = result {
            self.0.get_or_insert(error);
        }
    }
}

/// Removes `dir` and the groups below it, deepest first. Not by recursion: a container decides how deep they are.
fn remove_tree(dir: &Dir, backoff: &mut Backoff) -> Result<(), Error> {
    let mut found = vec![dir.clone()];
    let mut looked_at = 0;
    while let Some(next) = found.get(looked_at).cloned() {
        found.extend(next.children()?);
        looked_at += 1;
    }
    found.iter().rev().try_for_each(|dir| remove_one(dir, backoff))
}

fn remove_one(dir: &Dir, backoff: &mut Backoff) -> Result<(), Error> {
    loop {
        match dir.unmake() {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY) if backoff.pause() => {}
            Err(source) => return Err(Error::Remove { path: dir.shown(), source }),
        }
    }
}
