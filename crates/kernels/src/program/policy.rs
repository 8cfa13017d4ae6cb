//! When programs are compiled to machine code.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// When programs are compiled to machine code, on machines that can run it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum MachineCode {
    /// Never: all programs are interpreted.
    Never = 1,
    /// After they have run often, or over many elements.
    WhenItPays = 2,
    /// Before they first run.
    AtOnce = 3,
}

static MACHINE_CODE: AtomicU8 = AtomicU8::new(0);

/// When programs are compiled: the value of [`set_machine_code`], else that of the environment variable
/// `COVECTOR_MACHINE_CODE` (`never` or `at-once`), else [`MachineCode::WhenItPays`]. Results are the same, bit for bit.
pub fn machine_code() -> MachineCode {
    match MACHINE_CODE.load(Relaxed) {
        1 => MachineCode::Never,
        2 => MachineCode::WhenItPays,
        3 => MachineCode::AtOnce,
        _ => {
            let when = match std::env::var("COVECTOR_MACHINE_CODE").as_deref() {
                Ok("never") => MachineCode::Never,
                Ok("at-once") => MachineCode::AtOnce,
                _ => MachineCode::WhenItPays,
            };
            set_machine_code(when);
            when
        }
    }
}

/// Sets when programs are compiled; see [`machine_code`].
pub fn set_machine_code(when: MachineCode) {
    MACHINE_CODE.store(when as u8, Relaxed);
}
