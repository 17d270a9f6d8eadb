//! landlock(7): the question which ABI there is, and entering a domain; rulesets are the `landlock` crate's.

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::{Errno, check};

/// Puts the calling thread into a ruleset's domain, for good; no_new_privs must be set.
///
/// # Errors
/// EPERM without no_new_privs, E2BIG for more than 16 domains.
pub fn restrict_self(ruleset: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: takes a descriptor and flags, and touches no memory of ours.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0u32) }).map(drop)
}

/// Adds to a ruleset what is allowed below the object that a descriptor names.
///
/// # Errors
/// EINVAL for rights that the ruleset does not handle, or that do not apply to a file.
pub fn allow_beneath(ruleset: BorrowedFd<'_>, access: u64, object: BorrowedFd<'_>) -> Result<(), Errno> {
    /// `struct landlock_path_beneath_attr` (landlock_add_rule(2)).
    #[repr(C, packed)]
    struct Beneath {
        access: u64,
        parent: i32,
    }
    const PATH_BENEATH: u32 = 1; // LANDLOCK_RULE_PATH_BENEATH
    let rule = Beneath { access, parent: object.as_raw_fd() };
    // SAFETY: the kernel reads one structure of this layout, which lives until the call returns.
    let result = unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), PATH_BENEATH, &raw const rule, 0u32)
    };
    check(result).map(drop)
}

/// The highest ABI of this kernel; 0 where Landlock is missing or not enabled.
#[must_use]
pub fn abi() -> u32 {
    const VERSION: u32 = 1; // LANDLOCK_CREATE_RULESET_VERSION
    // SAFETY: with this flag the kernel takes a null pointer and size 0 and only returns a number.
    let result =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0usize, VERSION) };
    check(result).ok().and_then(|abi| u32::try_from(abi).ok()).unwrap_or(0)
}
