//! The columns of `skiff lsns`, and where their values come from.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use rustix::process::Pid;
use skiff_sys::ns::Kind;
use skiff_sys::{procfs, users};

use super::netnsid;
use crate::commands::containers::Containers;
use crate::commands::namespaces::{Namespace, command_of};
use crate::output::{Align, one_line};

/// What can be printed about a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// Inode number.
    Ns,
    /// Kind.
    Type,
    /// A file that stands for it.
    Path,
    /// How many processes are in it.
    Nprocs,
    /// The lowest process number in it.
    Pid,
    /// The parent of that process.
    Ppid,
    /// Its command line.
    Command,
    /// Its user's number.
    Uid,
    /// Its user's name.
    User,
    /// What the network subsystem calls it.
    Netnsid,
    /// Where it is mounted.
    Nsfs,
    /// The namespace around it.
    Pns,
    /// The user namespace that owns it.
    Ons,
    /// The container that it belongs to.
    Container,
}

/// The end of the help text.
pub const HELP: &str = "Columns (--output):
  NS         number of the namespace (inode)      COMMAND    command line of PID
  TYPE       kind of namespace                    UID, USER  user of PID
  PATH       file that stands for it              NETNSID    number in the network subsystem
  NPROCS     how many processes are in it         NSFS       where it is mounted
  PID        lowest process number in it          PNS, ONS   namespace around it, its owner
  PPID       parent of PID                        CONTAINER  container that PID is in";

/// What is printed about the processes of one namespace.
pub const OF_PROCESSES: [Column; 4] = [Column::Pid, Column::Ppid, Column::User, Column::Command];

/// What is printed when nothing else is asked for.
pub fn default_set(kinds: &[Kind], has_containers: bool) -> Vec<Column> {
    let mut columns = vec![Column::Ns, Column::Type, Column::Nprocs, Column::Pid, Column::User];
    if kinds.contains(&Kind::Net) {
        columns.extend([Column::Netnsid, Column::Nsfs]);
    }
    if has_containers {
        columns.push(Column::Container);
    }
    columns.push(Column::Command);
    columns
}

/// The value of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// There is none.
    None,
    /// A number.
    Number(u64),
    /// Text on one line.
    Text(String),
    /// Several texts.
    Lines(Vec<String>),
}

impl Column {
    /// Every column, in the order of `--output-all`.
    pub const ALL: [Self; 14] = [
        Self::Ns,
        Self::Type,
        Self::Path,
        Self::Nprocs,
        Self::Pid,
        Self::Ppid,
        Self::Command,
        Self::Uid,
        Self::User,
        Self::Netnsid,
        Self::Nsfs,
        Self::Pns,
        Self::Ons,
        Self::Container,
    ];

    /// Its heading.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ns => "NS",
            Self::Type => "TYPE",
            Self::Path => "PATH",
            Self::Nprocs => "NPROCS",
            Self::Pid => "PID",
            Self::Ppid => "PPID",
            Self::Command => "COMMAND",
            Self::Uid => "UID",
            Self::User => "USER",
            Self::Netnsid => "NETNSID",
            Self::Nsfs => "NSFS",
            Self::Pns => "PNS",
            Self::Ons => "ONS",
            Self::Container => "CONTAINER",
        }
    }

    /// The column that is called `name`, in whatever case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|column| column.name().eq_ignore_ascii_case(name))
    }

    /// To which side its values are pushed.
    pub const fn align(self) -> Align {
        match self {
            Self::Ns
            | Self::Nprocs
            | Self::Pid
            | Self::Ppid
            | Self::Uid
            | Self::Netnsid
            | Self::Pns
            | Self::Ons => Align::Right,
            _ => Align::Left,
        }
    }

    /// Its value for a namespace.
    pub fn of(self, namespace: &Namespace, facts: &Facts) -> Value {
        let relation = |inode: Option<skiff_sys::ns::Inode>| Value::Number(inode.map_or(0, |inode| inode.0));
        match self {
            Self::Ns => Value::Number(namespace.inode.0),
            Self::Type => Value::Text(namespace.kind.file_name().to_owned()),
            Self::Path => {
                namespace.path().map_or(Value::None, |path| text(path.as_os_str().as_encoded_bytes()))
            }
            Self::Nprocs => Value::Number(namespace.pids.len().try_into().unwrap_or(u64::MAX)),
            Self::Netnsid if namespace.kind == Kind::Net => facts.netnsid(namespace),
            Self::Nsfs if !namespace.mounts.is_empty() => {
                let path = |path: &std::path::PathBuf| one_line(path.as_os_str().as_encoded_bytes());
                Value::Lines(namespace.mounts.iter().map(path).collect())
            }
            Self::Netnsid | Self::Nsfs => Value::None,
            Self::Pns => relation(namespace.parent),
            Self::Ons => relation(namespace.owner),
            Self::Container => {
                facts.container_of(namespace).map_or(Value::None, |name| text(name.as_bytes()))
            }
            _ => namespace.pids.first().map_or(Value::None, |pid| self.of_process(*pid, namespace, facts)),
        }
    }

    /// Its value for one process in a namespace.
    pub fn of_process(self, pid: Pid, namespace: &Namespace, facts: &Facts) -> Value {
        let uid = || procfs::status(pid).ok().map(|status| status.uids[0]);
        let number = |number: i32| u64::try_from(number).map_or(Value::None, Value::Number);
        match self {
            Self::Pid => number(pid.as_raw_nonzero().get()),
            Self::Ppid => procfs::stat(pid).map_or(Value::None, |stat| number(stat.parent)),
            Self::Command => Value::Text(command_of(pid)),
            Self::Uid => uid().map_or(Value::None, |uid| Value::Number(uid.into())),
            Self::User => uid().map_or(Value::None, |uid| Value::Text(facts.user(uid))),
            Self::Container => {
                facts.containers.name_of(pid).map_or(Value::None, |name| text(name.as_bytes()))
            }
            _ => self.of(namespace, facts),
        }
    }
}

fn text(bytes: &[u8]) -> Value {
    Value::Text(one_line(bytes))
}

/// What is looked up at most once.
pub struct Facts {
    containers: Containers,
    users: OnceCell<BTreeMap<u32, String>>,
    netns: OnceCell<Option<netnsid::Socket>>,
}

impl Facts {
    /// Facts about the processes of `containers`, and of the rest of the machine.
    pub fn new(containers: Containers) -> Self {
        Self { containers, users: OnceCell::new(), netns: OnceCell::new() }
    }

    /// The container that the namespace is of: that of its first process.
    pub fn container_of(&self, namespace: &Namespace) -> Option<String> {
        self.containers.name_of(*namespace.pids.first()?)
    }

    /// The login name of `uid`, or the number.
    fn user(&self, uid: u32) -> String {
        let users = self.users.get_or_init(|| {
            let text = std::fs::read("/etc/passwd").unwrap_or_default();
            // The first entry of a number is its name, as in the C library.
            users::users(&text)
                .map(|users| {
                    users.fold(BTreeMap::new(), |mut names, user| {
                        names.entry(user.uid).or_insert(user.name);
                        names
                    })
                })
                .unwrap_or_default()
        });
        users.get(&uid).cloned().unwrap_or_else(|| uid.to_string())
    }

    fn netnsid(&self, namespace: &Namespace) -> Value {
        let socket = self.netns.get_or_init(|| netnsid::Socket::open().ok());
        let answer = namespace.open().ok().zip(socket.as_ref()).map(|(file, socket)| socket.id_of(&file));
        match answer {
            Some(Ok(Some(id))) => Value::Text(id.to_string()),
            Some(Ok(None)) => Value::Text("unassigned".to_owned()),
            Some(Err(_)) | None => Value::None,
        }
    }
}
