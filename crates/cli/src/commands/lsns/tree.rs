//! Namespaces and processes in the order and depth in which they are shown.

use std::collections::{BTreeMap, BTreeSet};

use rustix::process::Pid;
use skiff_sys::ns::Inode;

use super::columns::Value;
use crate::commands::namespaces::{Namespace, Scan};

/// What makes one namespace the child of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// It belongs to the user namespace.
    Owner,
    /// It was made inside of it.
    Parent,
    /// Its first process is a descendant of a process in it.
    Process,
}

impl Relation {
    /// All, by name.
    pub const ALL: [(&'static str, Self); 3] =
        [("owner", Self::Owner), ("parent", Self::Parent), ("process", Self::Process)];
}

/// A namespace and those below it.
#[derive(Debug)]
pub struct Node<'a> {
    /// The namespace.
    pub namespace: &'a Namespace,
    /// Those below.
    pub children: Vec<Node<'a>>,
}

/// A row of cells and those below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The cells.
    pub cells: Vec<Value>,
    /// The rows below.
    pub children: Vec<Row>,
}

/// Arranges `shown` by `relation`; without one, all stand at the top. Siblings are in the order of their numbers.
pub fn arrange<'a>(scan: &'a Scan, shown: &[&'a Namespace], relation: Option<Relation>) -> Vec<Node<'a>> {
    let visible: BTreeSet<Inode> = shown.iter().map(|namespace| namespace.inode).collect();
    let mut children: BTreeMap<Option<Inode>, Vec<&Namespace>> = BTreeMap::new();
    for namespace in shown {
        let above = relation.and_then(|relation| above(scan, namespace, relation));
        children.entry(above.filter(|inode| visible.contains(inode))).or_default().push(namespace);
    }
    below(None, &mut children)
}

/// Takes the children of `inode` out of `children`, so that a loop in what the kernel said can't make this one endless.
fn below<'a>(
    inode: Option<Inode>,
    children: &mut BTreeMap<Option<Inode>, Vec<&'a Namespace>>,
) -> Vec<Node<'a>> {
    let own = children.remove(&inode).unwrap_or_default();
    own.into_iter()
        .map(|namespace| Node { namespace, children: below(Some(namespace.inode), children) })
        .collect()
}

fn above(scan: &Scan, namespace: &Namespace, relation: Relation) -> Option<Inode> {
    match relation {
        Relation::Owner => namespace.owner,
        Relation::Parent => namespace.parent,
        Relation::Process => scan.around(namespace),
    }
}

/// The same tree with `cells` of each namespace.
pub fn map(nodes: &[Node<'_>], cells: &dyn Fn(&Node<'_>) -> Vec<Value>) -> Vec<Row> {
    nodes.iter().map(|node| Row { cells: cells(node), children: map(&node.children, cells) }).collect()
}

/// The processes of a namespace below their parents, as far as those are in it too.
pub fn of_processes(scan: &Scan, namespace: &Namespace, cells: &dyn Fn(Pid) -> Vec<Value>) -> Vec<Row> {
    let mut children: BTreeMap<i32, Vec<Pid>> = BTreeMap::new();
    for pid in &namespace.pids {
        let parent = scan.processes.get(&pid.as_raw_nonzero().get()).map_or(0, |process| process.parent);
        let is_inside = namespace.pids.iter().any(|other| other.as_raw_nonzero().get() == parent);
        children.entry(if is_inside { parent } else { 0 }).or_default().push(*pid);
    }
    processes_below(0, &mut children, cells)
}

fn processes_below(
    parent: i32,
    children: &mut BTreeMap<i32, Vec<Pid>>,
    cells: &dyn Fn(Pid) -> Vec<Value>,
) -> Vec<Row> {
    let own = children.remove(&parent).unwrap_or_default();
    let row = |pid: Pid, children: &mut _| Row {
        cells: cells(pid),
        children: processes_below(pid.as_raw_nonzero().get(), children, cells),
    };
    own.into_iter().map(|pid| row(pid, children)).collect()
}
