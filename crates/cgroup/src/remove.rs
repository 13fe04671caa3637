//! Taking a group away, with everything that was made inside of it.

use skiff_sys::Errno;

use crate::cgroup::Cgroup;
use crate::error::Error;
use crate::file::Dir;
use crate::freeze;
use crate::wait::Backoff;

/// How long processes get to finish dying. A zombie still holds its group; its parent has been told to reap.
const PATIENCE_MS: u64 = 500;

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
        let mut backoff = Backoff::new(PATIENCE_MS);
        let mut thawed = false;
        let mut first_error = None;
        for node in &self.nodes {
            let removed = match node.dir.unmake() {
                Ok(()) | Err(Errno::NOENT) => Ok(()),
                Err(Errno::BUSY) => {
                    if !std::mem::replace(&mut thawed, true) {
                        freeze::thaw_all(&self)?;
                    }
                    remove_tree(&node.dir, &mut backoff)
                }
                Err(source) => Err(Error::Remove { path: node.dir.shown(), source }),
            };
            if let Err(error) = removed {
                first_error.get_or_insert(error);
            }
        }
        for ancestor in self.around.made.iter().rev() {
            match ancestor.unmake() {
                // Somebody else uses it by now, so it is theirs.
                Ok(()) | Err(Errno::NOENT | Errno::BUSY | Errno::NOTEMPTY) => {}
                Err(source) => {
                    first_error.get_or_insert(Error::Remove { path: ancestor.shown(), source });
                }
            }
        }
        first_error.map_or(Ok(()), Err)
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
