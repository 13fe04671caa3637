use std::os::fd::AsFd;
use std::sync::mpsc;
use std::thread;

use super::*;

const LOAD_NUMBER: Instruction = Instruction { code: 0x20, jump_true: 0, jump_false: 0, operand: 0 };
const ALLOW: Instruction =
    Instruction { code: 0x06, jump_true: 0, jump_false: 0, operand: libc::SECCOMP_RET_ALLOW };

/// A filter that answers `sethostname` with `action` and allows the rest.
fn on_sethostname(action: u32) -> [Instruction; 4] {
    let number = u32::try_from(libc::SYS_sethostname).unwrap();
    [
        LOAD_NUMBER,
        Instruction { code: 0x15, jump_true: 0, jump_false: 1, operand: number },
        Instruction { operand: action, ..ALLOW },
        ALLOW,
    ]
}

fn sethostname(name: &[u8]) -> Result<libc::c_long, Errno> {
    // SAFETY: the call reads `name.len()` bytes of `name`.
    check(unsafe { libc::syscall(libc::SYS_sethostname, name.as_ptr(), name.len()) })
}

#[test]
fn installed_filter_answers_with_its_errno() {
    // A filter stays for the life of its thread, so it gets one of its own.
    let worker = thread::spawn(|| {
        rustix::thread::set_no_new_privs(true).unwrap();
        let listener = install(&on_sethostname(libc::SECCOMP_RET_ERRNO | 79), Flags::default()).unwrap();
        (listener.is_none(), sethostname(b"x"))
    });
    assert_eq!(worker.join().unwrap(), (true, Err(Errno::from_raw_os_error(79))));
}

#[test]
fn malformed_program_is_refused() {
    let worker = thread::spawn(|| {
        rustix::thread::set_no_new_privs(true).unwrap();
        (install(&[LOAD_NUMBER], Flags::default()).err(), install(&[], Flags::default()).err())
    });
    assert_eq!(worker.join().unwrap(), (Some(Errno::INVAL), Some(Errno::INVAL)));
}

#[test]
fn availability_tells_known_from_unknown() {
    assert_eq!(is_action_available(libc::SECCOMP_RET_ALLOW), Ok(true));
    assert_eq!(is_action_available(libc::SECCOMP_RET_USER_NOTIF), Ok(true));
    assert_eq!(is_action_available(0x1234_0000), Ok(false));
    assert_eq!(are_flags_available(Flags::LOG.union(Flags::SPEC_ALLOW)), Ok(true));
    assert_eq!(are_flags_available(Flags(1 << 31)), Ok(false));
}

#[test]
fn notified_call_gets_the_answer_and_shows_its_arguments() {
    let (send_listener, listener) = mpsc::channel();
    let worker = thread::spawn(move || {
        rustix::thread::set_no_new_privs(true).unwrap();
        let flags = Flags::NEW_LISTENER.union(Flags::SPEC_ALLOW);
        let listener = install(&on_sethostname(libc::SECCOMP_RET_USER_NOTIF), flags).unwrap().unwrap();
        send_listener.send(listener).unwrap();
        [sethostname(b"first"), sethostname(b"second"), sethostname(&[b'x'; 65])]
    });
    let listener = listener.recv().unwrap();
    let listener = listener.as_fd();

    let call = receive(listener).unwrap();
    assert_eq!(i64::from(call.number), libc::SYS_sethostname);
    assert_eq!(call.args[1], 5);
    let mut name = [0; 5];
    read_memory(call.thread, call.args[0], &mut name).unwrap();
    assert_eq!(&name, b"first");
    assert_eq!(read_memory(call.thread, 8, &mut name), Err(Errno::FAULT));
    assert_eq!(is_waiting(listener, call.id), Ok(true));
    respond(listener, call.id, Answer::Value(7)).unwrap();
    assert_eq!(is_waiting(listener, call.id), Ok(false));
    // Whether the worker has woken up and taken the answer yet is a matter of luck: EINPROGRESS until then.
    let again = respond(listener, call.id, Answer::Value(7));
    assert!(matches!(again, Err(Errno::NOENT | Errno::INPROGRESS)), "{again:?}");

    let call = receive(listener).unwrap();
    respond(listener, call.id, Answer::Error(Errno::NOTUNIQ)).unwrap();
    // A name of 65 bytes is too long for the kernel, so letting it go on sets none.
    let call = receive(listener).unwrap();
    respond(listener, call.id, Answer::Continue).unwrap();

    let [first, second, third] = worker.join().unwrap();
    assert_eq!(first, Ok(7));
    assert_eq!(second, Err(Errno::NOTUNIQ));
    // EPERM where the tests don't run as root.
    assert!(matches!(third, Err(Errno::INVAL | Errno::PERM)), "{third:?}");
}
