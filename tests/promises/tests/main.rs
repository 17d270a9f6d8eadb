//! The ten promises, one file each, and what surrounds them, on the real binary.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

mod abi;
mod agreement;
mod asked;
mod asked_anew;
mod asked_at_terminal;
mod aws;
mod bad_input;
mod beforehand;
mod branches;
mod ceiling;
mod certificates;
mod chaos;
mod check;
mod checkpoints;
mod cleanup;
mod closed;
mod commands;
mod commands_foretold;
#[expect(clippy::duplicate_mod, reason = "the same promises in the other tier")]
#[path = "commands_foretold.rs"]
mod commands_foretold_landlock;
mod commands_git;
#[expect(clippy::duplicate_mod, reason = "the same promises in the other tier")]
#[path = "commands_git.rs"]
mod commands_git_landlock;
mod commands_granted;
#[expect(clippy::duplicate_mod, reason = "the same promises in the other tier")]
#[path = "commands_granted.rs"]
mod commands_granted_landlock;
mod commands_held;
#[expect(clippy::duplicate_mod, reason = "the same promises in the other tier")]
#[path = "commands_held.rs"]
mod commands_held_landlock;
mod commands_hosted;
mod commands_inner;
#[expect(clippy::duplicate_mod, reason = "the same promises in the other tier")]
#[path = "commands_inner.rs"]
mod commands_inner_landlock;
#[expect(clippy::duplicate_mod, reason = "the same promises in the other tier")]
#[path = "commands.rs"]
mod commands_landlock;
mod commands_pipes;
#[expect(clippy::duplicate_mod, reason = "the same promises in the other tier")]
#[path = "commands_pipes.rs"]
mod commands_pipes_landlock;
mod commands_remedies;
#[expect(clippy::duplicate_mod, reason = "the same promises in the other tier")]
#[path = "commands_remedies.rs"]
mod commands_remedies_landlock;
mod commands_scripts;
#[expect(clippy::duplicate_mod, reason = "the same promises in the other tier")]
#[path = "commands_scripts.rs"]
mod commands_scripts_landlock;
mod commands_shells;
#[expect(clippy::duplicate_mod, reason = "the same promises in the other tier")]
#[path = "commands_shells.rs"]
mod commands_shells_landlock;
mod commands_variables;
#[expect(clippy::duplicate_mod, reason = "the same promises in the other tier")]
#[path = "commands_variables.rs"]
mod commands_variables_landlock;
mod commands_words;
#[expect(clippy::duplicate_mod, reason = "the same promises in the other tier")]
#[path = "commands_words.rs"]
mod commands_words_landlock;
mod container;
mod containers;
mod credentials;
mod credentials_granted;
mod credentials_kept;
mod crowded;
mod dangers;
mod decoys;
mod denied;
#[expect(clippy::duplicate_mod, reason = "the same promises in the other tier")]
#[path = "denied.rs"]
mod denied_landlock;
mod descriptors;
mod doctor;
mod git_over_ssh;
mod gpg;
mod grantable;
#[expect(clippy::duplicate_mod, reason = "the same promises in the other tier")]
#[path = "grantable.rs"]
mod grantable_landlock;
mod grants;
mod grants_secrets;
mod homes;
mod in_part;
mod init;
mod inspection;
mod interactive;
mod keyring;
mod kills;
mod landing;
mod landlock;
mod landlock_network;
mod landlock_root;
mod leaks;
mod leaks_known;
mod leaks_landing;
mod leaks_printed;
#[expect(clippy::duplicate_mod, reason = "the same promises in the other tier")]
#[path = "leaks_printed.rs"]
mod leaks_printed_landlock;
mod limits;
mod links;
#[expect(clippy::duplicate_mod, reason = "the same promises in the other tier")]
#[path = "links.rs"]
mod links_landlock;
mod listed;
#[expect(clippy::duplicate_mod, reason = "the same promises in the other tier")]
#[path = "listed.rs"]
mod listed_landlock;
mod many;
mod merges;
mod modes;
mod named;
mod nested;
mod network;
mod network_bounds;
mod network_evasions;
mod network_granted;
mod network_told;
#[expect(clippy::duplicate_mod, reason = "the same promises in the other tier")]
#[path = "network_told.rs"]
mod network_told_landlock;
mod npm;
mod oauth;
mod offered;
mod offered_files;
#[expect(clippy::duplicate_mod, reason = "the same promises in the other tier")]
#[path = "offered.rs"]
mod offered_landlock;
mod overlays;
#[expect(clippy::duplicate_mod, reason = "the same promises in the other tier")]
#[path = "overlays.rs"]
mod overlays_landlock;
mod p01_fail_closed;
mod p02_no_path_out;
mod p03_no_secrets_in;
mod p04_nothing_outlives;
mod p05_nothing_lost;
mod p06_nothing_unseen;
mod p07_explained;
mod p08_near_zero_cost;
mod p09_no_helpers;
mod p10_enforcer_confined;
mod probe;
mod publishing;
mod quota;
mod races;
mod renames;
mod secret_directories;
#[expect(clippy::duplicate_mod, reason = "the same promises in the other tier")]
#[path = "secret_directories.rs"]
mod secret_directories_landlock;
mod snapshot;
mod spiffe;
mod ssh;
mod switches;
mod syscalls;
mod terminal;
mod told_scripts;
#[expect(clippy::duplicate_mod, reason = "the same promises in the other tier")]
#[path = "told_scripts.rs"]
mod told_scripts_landlock;
mod told_small;
mod undone;
mod void;
mod watch_writes;
mod words;

/// Each promise has its file, and each file is part of this program.
#[test]
fn no_promise_is_forgotten() {
    let own = include_str!("main.rs");
    for number in 1..=10 {
        let prefix = format!("mod p{number:02}_");
        assert!(own.contains(&prefix), "{prefix}");
    }
    let security = include_str!("../../../SECURITY.md");
    for number in 1..=10 {
        assert!(security.contains(&format!("\n{number}. **")), "SECURITY.md lacks promise {number}");
    }
}
