//! Who the process of a container is and what it may do: user, groups, capabilities, limits, scheduling.

use rustix::process::{Gid, Resource};
use skiff_oci::runtime::{
    Capabilities, Capability, IOPriorityClass, LinuxPersonality, LinuxPersonalityDomain, LinuxSchedulerFlag,
    LinuxSchedulerPolicy, PosixRlimitType, Process, Scheduler,
};
use skiff_sys::process::SchedAttr;

use crate::LaunchError;
use crate::step::{CapabilitySets, Identity, Step};

/// Every capability, each at the place of its number (`linux/capability.h`, Linux 6.18).
pub const CAPABILITIES: [Capability; 41] = {
    use Capability::*;
    [
        Chown,
        DacOverride,
        DacReadSearch,
        Fowner,
        Fsetid,
        Kill,
        Setgid,
        Setuid,
        Setpcap,
        LinuxImmutable,
        NetBindService,
        NetBroadcast,
        NetAdmin,
        NetRaw,
        IpcLock,
        IpcOwner,
        SysModule,
        SysRawio,
        SysChroot,
        SysPtrace,
        SysPacct,
        SysAdmin,
        SysBoot,
        SysNice,
        SysResource,
        SysTime,
        SysTtyConfig,
        Mknod,
        Lease,
        AuditWrite,
        AuditControl,
        Setfcap,
        MacOverride,
        MacAdmin,
        Syslog,
        WakeAlarm,
        BlockSuspend,
        AuditRead,
        Perfmon,
        Bpf,
        CheckpointRestore,
    ]
};

/// The bit of `CAP_SYS_ADMIN`.
pub const SYS_ADMIN: u64 = 1 << 21;

/// The largest user or group (R12). Far above it, 2³²−1 is no id at all but the kernel's "no change": a process
/// that shall become that one stays root.
const LARGEST_ID: u32 = 0x7fff_ffff;

/// The capabilities as a bit mask.
///
/// # Errors
/// [`LaunchError::Spec`] for one that this program does not know the number of.
pub fn mask(capabilities: Option<&Capabilities>) -> Result<u64, LaunchError> {
    let mut mask = 0u64;
    for capability in capabilities.into_iter().flatten() {
        let number = CAPABILITIES.iter().position(|known| known == capability).ok_or_else(|| {
            LaunchError::spec("process.capabilities", format!("`CAP_{capability}` has no number here"))
        })?;
        mask |= 1 << number;
    }
    Ok(mask)
}

fn check_id(field: &'static str, id: u32) -> Result<(), LaunchError> {
    if id > LARGEST_ID {
        return Err(LaunchError::spec(field, format!("{id} is larger than {LARGEST_ID}")));
    }
    Ok(())
}

/// The steps from the bounding set to the ambient one, around the change of the user.
///
/// A filter that is installed without `no_new_privs` needs CAP_SYS_ADMIN (`seccomp(2)`), so `kept` stays
/// permitted until exec: exec computes the sets anew, from the bounding set for root and from the ambient
/// set for everybody else (`capabilities(7)`), and it is in neither unless it was asked for.
///
/// # Errors
/// As [`mask`], and [`LaunchError::Spec`] for a user or group that is out of range.
pub fn steps(process: &Process, kept: u64) -> Result<Vec<Step>, LaunchError> {
    let user = process.user();
    let mut groups: Vec<Gid> = Vec::new();
    check_id("process.user.uid", user.uid())?;
    for gid in std::iter::once(user.gid()).chain(user.additional_gids().iter().flatten().copied()) {
        check_id("process.user.gid", gid)?;
        let gid = Gid::from_raw(gid);
        if !groups.contains(&gid) {
            groups.push(gid);
        }
    }
    let identity = Step::Identity(Identity { uid: user.uid(), gid: user.gid(), groups });
    let (bounding, mut sets) = match process.capabilities() {
        // Without the field the process keeps none: the specification leaves it open, runc does so too.
        None => (0, CapabilitySets::default()),
        Some(capabilities) => (
            mask(capabilities.bounding().as_ref())?,
            CapabilitySets {
                effective: mask(capabilities.effective().as_ref())?,
                permitted: mask(capabilities.permitted().as_ref())?,
                inheritable: mask(capabilities.inheritable().as_ref())?,
                ambient: mask(capabilities.ambient().as_ref())?,
            },
        ),
    };
    // The kernel lets nothing be ambient that isn't permitted and inheritable. `runc spec` writes bundles that
    // ask for it, and runc drops it without a word, so such bundles have to start.
    sets.ambient &= sets.permitted & sets.inheritable;
    sets.permitted |= kept;
    sets.effective |= kept;
    Ok(vec![Step::BoundingSet(bounding), identity, Step::Capabilities(sets)])
}

/// The steps that set the resource limits of the configuration.
///
/// # Errors
/// [`LaunchError::Spec`] when a soft limit is above its hard one or a limit is listed twice.
pub fn rlimits(process: &Process) -> Result<Vec<Step>, LaunchError> {
    let mut steps = Vec::new();
    let mut seen = Vec::new();
    for rlimit in process.rlimits().iter().flatten() {
        let known = RLIMITS.into_iter().find(|(_, typ, _)| *typ == rlimit.typ());
        let (name, _, resource) = known
            .ok_or_else(|| LaunchError::spec("process.rlimits", format!("{} is unknown", rlimit.typ())))?;
        if seen.contains(&name) {
            return Err(LaunchError::spec("process.rlimits", format!("`{name}` is listed twice")));
        }
        seen.push(name);
        if rlimit.soft() > rlimit.hard() {
            return Err(LaunchError::spec(
                "process.rlimits",
                format!("`{name}`: the soft limit is above the hard limit"),
            ));
        }
        let limit = |value: u64| (value != u64::MAX).then_some(value);
        steps.push(Step::Rlimit { name, resource, limits: (limit(rlimit.soft()), limit(rlimit.hard())) });
    }
    Ok(steps)
}

/// Every resource limit: its name without `RLIMIT_`, as the specification has it, and for the system call.
pub const RLIMITS: [(&str, PosixRlimitType, Resource); 16] = {
    use PosixRlimitType as Kind;
    [
        ("cpu", Kind::RlimitCpu, Resource::Cpu),
        ("fsize", Kind::RlimitFsize, Resource::Fsize),
        ("data", Kind::RlimitData, Resource::Data),
        ("stack", Kind::RlimitStack, Resource::Stack),
        ("core", Kind::RlimitCore, Resource::Core),
        ("rss", Kind::RlimitRss, Resource::Rss),
        ("nproc", Kind::RlimitNproc, Resource::Nproc),
        ("nofile", Kind::RlimitNofile, Resource::Nofile),
        ("memlock", Kind::RlimitMemlock, Resource::Memlock),
        ("as", Kind::RlimitAs, Resource::As),
        ("locks", Kind::RlimitLocks, Resource::Locks),
        ("sigpending", Kind::RlimitSigpending, Resource::Sigpending),
        ("msgqueue", Kind::RlimitMsgqueue, Resource::Msgqueue),
        ("nice", Kind::RlimitNice, Resource::Nice),
        ("rtprio", Kind::RlimitRtprio, Resource::Rtprio),
        ("rttime", Kind::RlimitRttime, Resource::Rttime),
    ]
};

/// The steps for scheduler and io priority.
///
/// # Errors
/// [`LaunchError::Spec`] for values out of the ranges of `sched_setattr(2)` and `ioprio_set(2)`.
pub fn scheduling(process: &Process) -> Result<Vec<Step>, LaunchError> {
    let mut steps = Vec::new();
    if let Some(scheduler) = process.scheduler() {
        steps.push(Step::Scheduler(sched_attr(scheduler)?));
    }
    if let Some(priority) = process.io_priority() {
        let class = match priority.class() {
            IOPriorityClass::IoprioClassRt => 1,
            IOPriorityClass::IoprioClassBe => 2,
            IOPriorityClass::IoprioClassIdle => 3,
        };
        let level = u16::try_from(priority.priority())
            .ok()
            .filter(|level| *level < 8)
            .ok_or_else(|| LaunchError::spec("process.ioPriority.priority", "must be between 0 and 7"))?;
        steps.push(Step::IoPriority(class, level));
    }
    Ok(steps)
}

fn sched_attr(scheduler: &Scheduler) -> Result<SchedAttr, LaunchError> {
    let policy = match scheduler.policy() {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        LinuxSchedulerPolicy::SchedIso => {
            return Err(LaunchError::spec("process.scheduler.policy", "Linux has no `SCHED_ISO`"));
        }
        LinuxSchedulerPolicy::SchedIdle => 5,
        LinuxSchedulerPolicy::SchedDeadline => 6,
    };
    let flags = scheduler.flags().iter().flatten().fold(0, |flags, flag| {
        flags
            | match flag {
                LinuxSchedulerFlag::SchedResetOnFork => 0x01,
                LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
                LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
                LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
                LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
                LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
                LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
            }
    });
    let priority = u32::try_from(scheduler.priority().unwrap_or(0))
        .map_err(|_| LaunchError::spec("process.scheduler.priority", "must not be negative"))?;
    Ok(SchedAttr {
        policy,
        flags,
        nice: scheduler.nice().unwrap_or(0),
        priority,
        runtime: scheduler.runtime().unwrap_or(0),
        deadline: scheduler.deadline().unwrap_or(0),
        period: scheduler.period().unwrap_or(0),
    })
}

/// The argument of `personality(2)` for `linux.personality`.
///
/// # Errors
/// [`LaunchError::Spec`] for flags: the specification reserves them and defines none.
pub fn personality(personality: &LinuxPersonality) -> Result<u64, LaunchError> {
    if personality.flags().iter().flatten().next().is_some() {
        return Err(LaunchError::spec("linux.personality.flags", "no flag is defined"));
    }
    Ok(match personality.domain() {
        LinuxPersonalityDomain::PerLinux => 0,
        LinuxPersonalityDomain::PerLinux32 => 8,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_oci::runtime::{LinuxCapabilitiesBuilder, PosixRlimitBuilder, ProcessBuilder, UserBuilder};

    #[test]
    fn every_capability_of_the_specification_has_its_kernel_number() {
        let one = |capability| mask(Some(&[capability].into_iter().collect())).unwrap();
        assert_eq!(one(Capability::Chown), 1);
        assert_eq!(one(Capability::SysAdmin), SYS_ADMIN);
        assert_eq!(one(Capability::CheckpointRestore), 1 << 40);
        assert_eq!(one(Capability::AuditRead), 1 << 37);
    }

    #[test]
    fn the_group_list_contains_the_primary_group_once() {
        let user = UserBuilder::default().uid(5u32).gid(7u32).additional_gids(vec![9u32, 7]).build().unwrap();
        let process = ProcessBuilder::default().user(user).cwd("/").build().unwrap();
        let steps = steps(&process, 0).unwrap();
        let Some(Step::Identity(identity)) = steps.get(1) else { panic!("{steps:?}") };
        let groups: Vec<_> = identity.groups.iter().map(|gid| gid.as_raw()).collect();
        assert_eq!(groups, [7, 9]);
    }

    #[test]
    fn r12_no_number_means_whoever_it_was() {
        type Change = fn(UserBuilder) -> UserBuilder;
        let changes: [Change; 4] = [
            |user| user.uid(u32::MAX),
            |user| user.uid(1u32 << 31),
            |user| user.gid(u32::MAX),
            |user| user.additional_gids(vec![u32::MAX]),
        ];
        for change in changes {
            let user = change(UserBuilder::default().uid(5u32).gid(7u32)).build().unwrap();
            let process = ProcessBuilder::default().user(user).cwd("/").build().unwrap();
            assert!(matches!(steps(&process, 0), Err(LaunchError::Spec { .. })));
        }
    }

    #[test]
    fn sys_admin_is_kept_for_the_filter_but_not_in_the_bounding_set() {
        // The builder's own defaults are three capabilities in every set.
        let caps = LinuxCapabilitiesBuilder::default()
            .bounding([Capability::Chown].into_iter().collect::<Capabilities>())
            .permitted(Capabilities::new())
            .effective(Capabilities::new())
            .inheritable(Capabilities::new())
            .ambient([Capability::Chown].into_iter().collect::<Capabilities>())
            .build()
            .unwrap();
        let process = ProcessBuilder::default().capabilities(caps).cwd("/").build().unwrap();
        let steps = steps(&process, SYS_ADMIN).unwrap();
        assert!(matches!(steps[0], Step::BoundingSet(1)));
        let Step::Capabilities(sets) = steps[2] else { panic!("{steps:?}") };
        assert_eq!((sets.permitted & SYS_ADMIN, sets.ambient), (SYS_ADMIN, 0));
    }

    #[test]
    fn a_soft_limit_above_the_hard_one_is_refused() {
        let limit = PosixRlimitBuilder::default()
            .typ(PosixRlimitType::RlimitNofile)
            .soft(10u64)
            .hard(5u64)
            .build()
            .unwrap();
        let process = ProcessBuilder::default().rlimits(vec![limit]).cwd("/").build().unwrap();
        assert!(rlimits(&process).is_err());
    }
}
