//! landlock_create_ruleset(2): only the question which ABI there is; the rest is the `landlock` crate's.

use crate::check;

/// The highest ABI of this kernel; 0 where Landlock is missing or not enabled.
#[must_use]
pub fn abi() -> u32 {
    const VERSION: u32 = 1; // LANDLOCK_CREATE_RULESET_VERSION
    // SAFETY: with this flag the kernel takes a null pointer and size 0 and only returns a number.
    let result =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0usize, VERSION) };
    check(result).ok().and_then(|abi| u32::try_from(abi).ok()).unwrap_or(0)
}
