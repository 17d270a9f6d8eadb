//! `cargo xtask kernels`: the product on Debian's kernels under QEMU, and docs/kernels.md, which says how it went.

mod fetch;
mod guest;
mod image;
mod outcome;
mod table;
mod variants;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use self::guest::{Accelerator, Machine};
use self::image::Kernel;
use self::outcome::Outcome;
use self::variants::{Must, Rows, SELECTED, VARIANTS, Variant, Who};
use crate::command::{cargo, exists, is_root, root, run, target};
use crate::dist;

/// Series, and the Landlock ABI that they have.
const KERNELS: [(&str, u32); 2] = [("6.1", 2), ("6.12", 6)];

/// Programs and the packages that have them.
const NEEDED: [(&str, &str); 6] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("apt-get", "apt"),
    ("mke2fs", "e2fsprogs"),
    ("depmod", "kmod"),
    ("setpriv", "util-linux"),
    ("xz", "xz-utils"),
];

/// How to call it.
pub(crate) const USAGE: &str =
    "kernels [--long | --quick] [--only 6.1|6.12] [--variant PART-OF-ITS-NAME] [--binary FILE] [--emulate]";

struct Options {
    long: bool,
    only: Option<String>,
    variant: Option<String>,
    binary: Option<PathBuf>,
    emulate: bool,
    /// Without the attack table.
    quick: bool,
}

/// Runs the verb.
pub(crate) fn kernels(args: &[String]) -> Result<ExitCode, String> {
    let options = read(args)?;
    programs()?;
    let binary = match &options.binary {
        Some(binary) => binary.clone(),
        None => dist::build(dist::Form::Whole)?,
    };
    run(cargo().args(["build", "--locked", "-p", "xtask"]))?;
    let work = target().join("kernels");
    let system = work.join("system");
    let busybox =
        fetch::unpacked(first(fetch::packages(&["busybox-static"], &work.join("packages"))?)?.as_path())?
            .join("bin/busybox");
    let runner = target().join("debug/xtask");
    image::system(
        &system,
        &[(&binary, "/usr/bin/ringfence"), (&runner, "/kernels/xtask")],
        &apparmor(&work)?,
    )?;
    let mut places = Vec::new();
    let mut left_out = Vec::new();
    for (series, abi) in
        KERNELS.iter().filter(|(series, _)| options.only.as_ref().is_none_or(|only| only == series))
    {
        let Some(package) = fetch::kernel(series)? else {
            left_out.push(format!("apt's sources have no kernel of the {series} series"));
            continue;
        };
        let tree = fetch::unpacked(&first(fetch::packages(&[&package], &work.join("packages"))?)?)?;
        let kernel = Kernel::of(tree)?;
        let initramfs = work.join(format!("initramfs-{series}.gz"));
        image::initramfs(&busybox, &kernel, &work.join("initramfs"), &initramfs)?;
        let disk = work.join(format!("disk-{series}.img"));
        image::disk(&system, &kernel, &disk)?;
        places.push(Place { series, kernel, initramfs, disk, work: &work, abi: *abi });
    }
    // One processor each.
    let outcomes: Vec<Result<Vec<Outcome>, String>> = std::thread::scope(|scope| {
        let running: Vec<_> = places.iter().map(|place| scope.spawn(|| boots(place, &options))).collect();
        running.into_iter().map(|one| one.join().unwrap_or_else(|_| Err("a boot panicked".into()))).collect()
    });
    let outcomes: Vec<Outcome> =
        outcomes.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
    finish(&outcomes, &left_out, &options)
}

fn finish(outcomes: &[Outcome], left_out: &[String], options: &Options) -> Result<ExitCode, String> {
    let text = table::table(outcomes, left_out, &options.form());
    print!("{text}");
    if options.only.is_none() && options.variant.is_none() {
        fs::write(root().join("docs/kernels.md"), &text).map_err(|e| format!("docs/kernels.md: {e}"))?;
    }
    let wrong: Vec<String> =
        outcomes.iter().flat_map(Outcome::wrong).chain(left_out.iter().cloned()).collect();
    for line in &wrong {
        eprintln!("wrong: {line}");
    }
    println!("{} outcomes, {} wrong", outcomes.len(), wrong.len());
    Ok(if wrong.is_empty() && !outcomes.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Options {
    /// What the table says of itself.
    fn form(&self) -> String {
        let binary =
            if self.binary.is_some() { "a build that was named" } else { "the static release binary" };
        let rows = match (self.long, self.quick) {
            (true, _) => "every row of the attack table that can run there",
            (false, true) => "without the attack table",
            (false, false) => "with selected rows of the attack table",
        };
        format!("This run: {binary}, {rows}.")
    }
}

fn read(args: &[String]) -> Result<Options, String> {
    let mut options =
        Options { long: false, only: None, variant: None, binary: None, emulate: false, quick: false };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().cloned().ok_or_else(|| format!("`{arg}` needs a value"));
        match arg.as_str() {
            "--long" => options.long = true,
            "--emulate" => options.emulate = true,
            "--quick" => options.quick = true,
            "--only" => options.only = Some(value()?),
            "--variant" => options.variant = Some(value()?),
            "--binary" => options.binary = Some(PathBuf::from(value()?)),
            _ => return Err(format!("`{arg}` is unknown; usage: {USAGE}")),
        }
    }
    Ok(options)
}

fn programs() -> Result<(), String> {
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|(program, _)| !exists(program) && !Path::new("/usr/sbin").join(program).exists())
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !is_root() || !exists("apt-get") {
        return Err(format!("missing packages: {list}; install them with: apt-get install {list}"));
    }
    run(Command::new("apt-get").args(["update", "-qq"]))?;
    run(Command::new("apt-get")
        .args(["install", "-y", "-qq", "--no-install-recommends"])
        .args(&missing)
        .env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Its parser, for the guest alone.
fn apparmor(work: &Path) -> Result<Vec<PathBuf>, String> {
    fetch::packages(&["apparmor", "libapparmor1"], &work.join("packages"))
}

fn first(found: Vec<PathBuf>) -> Result<PathBuf, String> {
    found.into_iter().next().ok_or_else(|| "apt-get download left no file".to_owned())
}

/// A kernel with what it boots from.
struct Place<'a> {
    series: &'static str,
    kernel: Kernel,
    initramfs: PathBuf,
    disk: PathBuf,
    work: &'a Path,
    abi: u32,
}

fn boots(place: &Place<'_>, options: &Options) -> Result<Vec<Outcome>, String> {
    let series = place.series;
    let chosen: Vec<&Variant> = VARIANTS
        .iter()
        .filter(|variant| options.variant.as_ref().is_none_or(|part| variant.name.contains(part.as_str())))
        .collect();
    let mut by_boot: BTreeMap<usize, Vec<&Variant>> = BTreeMap::new();
    for variant in chosen {
        let order = VARIANTS.iter().position(|other| other.boot == variant.boot).unwrap_or_default();
        by_boot.entry(order).or_default().push(variant);
    }
    let mut accelerators = vec![Accelerator::Emulated];
    if !options.emulate && fs::OpenOptions::new().write(true).open("/dev/kvm").is_ok() {
        accelerators.push(Accelerator::Kvm);
    }
    let mut outcomes = Vec::new();
    for variants in by_boot.values() {
        let Some(boot) = variants.first().map(|variant| variant.boot) else { continue };
        let list: String = variants.iter().map(|variant| line(variant, place.abi, options)).collect();
        let kernel = place.kernel.image();
        let machine = Machine {
            kernel: &kernel,
            initramfs: &place.initramfs,
            disk: &place.disk,
            variants: &list,
            line: boot.line,
            scratch: place.work.join(format!("boot-{series}-{}", boot.name)),
        };
        let began = Instant::now();
        let limit = Duration::from_secs(if options.long { 4 * 3600 } else { 1800 });
        let mut said = (Vec::new(), false);
        while let Some(accelerator) = accelerators.last().copied() {
            println!("boot {series} {}: {} variants, {}", boot.name, variants.len(), accelerator.name());
            said = guest::boot(&machine, accelerator, limit)?;
            // A device that opens is not yet a processor that runs.
            if said.1 || !said.0.is_empty() || accelerators.len() == 1 {
                break;
            }
            println!("  {series}: this /dev/kvm does not bring a guest up: emulated from here on");
            accelerators.pop();
        }
        println!("  {series} {}: {} s", boot.name, began.elapsed().as_secs());
        if !said.1 {
            eprintln!(
                "  it did not come to its end; its console is {}",
                machine.scratch.join("console").display()
            );
        }
        for variant in variants {
            outcomes.push(Outcome::read(series, place.abi, variant, &said.0));
        }
    }
    Ok(outcomes)
}

/// What the guest is told of a variant.
fn line(variant: &Variant, abi: u32, choice: &Options) -> String {
    let tier = |who| match (variant.must)(abi, who) {
        Must::Work(tier, _) => tier,
        Must::Refuse(_) => "-",
    };
    let ids = |ids: &[&str]| ids.iter().map(|id| format!("--id {id} ")).collect::<String>();
    let rows = match variant.rows {
        Rows::None => String::new(),
        _ if choice.quick => String::new(),
        Rows::These(some) => ids(some),
        // Without an id it is the whole table.
        Rows::Selected if choice.long => "--jobs 1".to_owned(),
        Rows::Selected => ids(SELECTED),
    };
    // That an attack works there is shown once a kernel: in the first variant, where user namespaces can be had for that.
    let first = VARIANTS.first().is_some_and(|first| first.name == variant.name);
    let options = if first { "" } else { "--no-control" };
    let fields =
        [variant.name, variant.before, variant.after, rows.trim(), tier(Who::User), tier(Who::Root), options];
    format!("{}\n", fields.join("|"))
}
