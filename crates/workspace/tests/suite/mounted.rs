//! The workspace's file system is mounted anew, under another device number: it is the same workspace. Another directory at its path is not.
//!
//! As root, with file systems on loop devices in a mount namespace of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use ringfence_workspace::{Options, Reason, Recovered, Refused, Root, plan_apply_with, plan_undo, recover};

use super::crash::{SETUP, TASK, spawn};
use super::power::{in_a_namespace, shell};
use super::support::{Case, is_root, leftovers, snapshot};

/// A file system in a file, with a case on it.
struct Disk {
    case: Case,
    image: PathBuf,
    at: PathBuf,
    device: u64,
}

impl Disk {
    fn new(home: &Path, options: &str) -> Self {
        let (image, at) = (home.join("image"), home.join("disk"));
        std::fs::create_dir_all(&at).unwrap();
        make(&image, options);
        mount(&image, &at);
        let case = Case::within(&at, SETUP, TASK);
        let device = case.layer.root.device;
        Self { case, image, at, device }
    }

    /// The next loop device is taken before the last one is given back.
    fn again(&mut self) {
        let (image, at) = (self.image.display(), self.at.display());
        shell(&format!("next=$(losetup -f --show {image}); umount {at}; mount $next {at}; losetup -d $next"));
        let device = Root::of(&self.case.host).unwrap().device;
        assert_ne!(device, self.device, "mounted under the same number");
        self.device = device;
    }

    /// Killed when some of it has landed.
    fn interrupt(&self) {
        assert!(!spawn(&self.case, Some(30)).wait().unwrap().success());
        assert_eq!(leftovers(&self.case.host).len(), 1);
        assert_eq!(self.case.read("a"), "two\n");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.at).status();
    }
}

fn make(image: &Path, options: &str) {
    let image = image.display();
    shell(&format!("rm -f {image}; truncate -s 16M {image}; mkfs.ext4 -q -b 1024 {options} {image}"));
}

fn mount(image: &Path, at: &Path) {
    shell(&format!("mount -o loop {} {}", image.display(), at.display()));
}

fn only(refused: &Refused) -> &Reason {
    assert_eq!(refused.refusals.len(), 1, "{refused}");
    &refused.refusals[0].reason
}

fn plan(case: &Case) -> Result<(), Refused> {
    plan_apply_with(&case.layers(), &Options::default()).map(drop)
}

#[test]
fn under_another_number_it_is_recovered_applied_and_undone() {
    if !in_a_namespace("suite::mounted::under_another_number_it_is_recovered_applied_and_undone") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let mut disk = Disk::new(home.path(), "");
    let old = snapshot(&disk.case.host);
    disk.interrupt();
    disk.again();
    assert!(matches!(recover(&disk.case.journal()).unwrap(), Recovered::RolledBack));
    assert!(leftovers(&disk.case.host).is_empty());
    assert_eq!(snapshot(&disk.case.host), old);
    // What it put back has new change times, which were written down with the number of then.
    disk.again();
    disk.case.apply().unwrap();
    assert_ne!(snapshot(&disk.case.host), old);
    disk.again();
    plan_undo(&disk.case.journal(), &[], &[]).unwrap().carry_out(&mut |_| {}).unwrap();
    assert_eq!(snapshot(&disk.case.host), old);
}

#[test]
fn without_times_of_birth_what_we_made_in_it_tells() {
    if !in_a_namespace("suite::mounted::without_times_of_birth_what_we_made_in_it_tells") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let mut disk = Disk::new(home.path(), "-I 128");
    let old = snapshot(&disk.case.host);
    assert_eq!(disk.case.layer.root.born, None);
    disk.interrupt();
    disk.again();
    recover(&disk.case.journal()).unwrap();
    assert_eq!(snapshot(&disk.case.host), old);
    // Nothing of ours is there any more: it is not guessed.
    assert_eq!(*only(&plan(&disk.case).unwrap_err()), Reason::DeviceChanged);
}

#[test]
fn another_file_system_or_an_inode_that_is_used_again_is_another_workspace() {
    if !in_a_namespace(
        "suite::mounted::another_file_system_or_an_inode_that_is_used_again_is_another_workspace",
    ) {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let disk = Disk::new(home.path(), "");
    let host = disk.case.host.display();
    let inode = disk.case.layer.root.inode;
    disk.interrupt();
    let refused = || {
        assert_eq!(Root::of(&disk.case.host).unwrap().inode, inode);
        let before = snapshot(&disk.case.host);
        let journal = std::fs::read(disk.case.journal().join("journal.jsonl"));
        assert_eq!(*only(&recover(&disk.case.journal()).unwrap_err()), Reason::WorkspaceReplaced);
        assert_eq!(*only(&plan(&disk.case).unwrap_err()), Reason::WorkspaceReplaced);
        assert_eq!(snapshot(&disk.case.host), before);
        // It waits for the right one.
        assert_eq!(std::fs::read(disk.case.journal().join("journal.jsonl")).ok(), journal.ok());
    };
    // The journal, elsewhere: what is removed here must not take it along.
    shell(&format!("mv {host} {host}.away; cp -a {host}.away {host}.copy; mv {host}.away {host}"));
    shell(&format!(
        "rm -r {host}; mkdir {host}; [ $(stat -c %i {host}) = {inode} ]; cp -a {host}.copy/. {host}"
    ));
    refused();
    // The same tree, made anew in another file system: the same inode numbers.
    let (other, at) = (home.path().join("other"), disk.at.display());
    make(&other, "");
    shell(&format!(
        "mkdir {0}/at; mount -o loop {1} {0}/at; cd {at}; n=11; top=$(basename $(dirname {host}))
         mkdir {0}/at/$top; while :; do mkdir {0}/at/$top/host; n=$(stat -c %i {0}/at/$top/host); [ $n -ge {inode} ] && break
         mv {0}/at/$top/host {0}/at/$n; done; [ $n = {inode} ]
         cp -a $top/upper $top/apply $top/outside {0}/at/$top; cp -a $top/host/. {0}/at/$top/host; cd /; umount {0}/at; umount {at}",
        home.path().display(),
        other.display(),
    ));
    mount(&other, &disk.at);
    refused();
}

#[test]
fn a_directory_in_its_place_is_another_workspace() {
    if is_root() {
        // The other forms are for root.
        return;
    }
    let case = Case::new(SETUP, TASK);
    assert!(!spawn(&case, Some(30)).wait().unwrap().success());
    let away = case.home.path().join("away");
    std::fs::rename(&case.host, &away).unwrap();
    shell(&format!("cp -a {} {}", away.display(), case.host.display()));
    let before = snapshot(&case.host);
    assert_eq!(*only(&recover(&case.journal()).unwrap_err()), Reason::WorkspaceReplaced);
    assert_eq!(snapshot(&case.host), before);
}
