//! `ringfence plan`: the list of steps for a reader.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use ringfence_policy::CommandRules;
use serde::Serializer;
use serde::ser::{SerializeMap, SerializeSeq};

use crate::hosted::{COPY, Hidden};
use crate::steps::{Flags, Step, Tree};
use crate::syscalls::{self, Answer};
use crate::void::{Content, Node};
use crate::{Plan, Right};

impl fmt::Display for Plan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = &self.ids;
        writeln!(out, "tier        {}", self.tier)?;
        writeln!(
            out,
            "ids         {}:{} inside is {}:{} to the kernel{}",
            ids.inside_uid,
            ids.inside_gid,
            ids.outside_uid,
            ids.outside_gid,
            if ids.mapped { format!(", {}:{} on disk", ids.owner_uid, ids.owner_gid) } else { String::new() }
        )?;
        if !self.groups.is_empty() {
            let groups: Vec<_> = self.groups.iter().map(u32::to_string).collect();
            writeln!(out, "groups      {} (they stay)", groups.join(" "))?;
        }
        match &self.hosted {
            None => {
                writeln!(
                    out,
                    "namespaces  user mount pid ipc uts net cgroup; host name `{}`",
                    self.host_name
                )?;
            }
            Some(_) => writeln!(out, "namespaces  the host's")?,
        }
        writeln!(out, "workspace   {} ({})", escape(&self.workspace), mode(self.mode))?;
        writeln!(out, "command     {}", shown(&self.command))?;
        writeln!(out, "in          {}", escape(&self.directory))?;
        writeln!(out, "\nenvironment")?;
        for (name, value) in &self.environment {
            writeln!(out, "  {}={}", name.to_string_lossy(), escape(value))?;
        }
        match &self.void {
            None if self.hosted.is_some() => writeln!(out, "\nroot, which is the host's")?,
            Some(_) => writeln!(out, "\nroot, which sees who looks for what is not in it")?,
            None => writeln!(out, "\nroot")?,
        }
        for node in self.void.iter().flatten() {
            writeln!(out, "  {}", describe_node(node))?;
        }
        for step in &self.steps {
            writeln!(out, "  {}", describe(step, &self.trees))?;
        }
        self.print_hosted(out)?;
        match &self.landlock {
            Some(landlock) => {
                let files = if landlock.files { "" } else { ", no rights on files" };
                writeln!(out, "\nlandlock ABI {}{files}", landlock.abi)?;
                for (right, path) in &landlock.rules {
                    writeln!(out, "  {:8} {}", right_name(*right), escape(path))?;
                }
                for path in &landlock.except {
                    writeln!(out, "  not      {}", escape(path))?;
                }
                if landlock.scoped {
                    writeln!(out, "  signals and abstract sockets end at the sandbox")?;
                }
            }
            None => writeln!(out, "\nlandlock: none")?,
        }
        let count = |answer| syscalls::list().iter().filter(|call| call.answer == answer).count();
        writeln!(
            out,
            "\nsystem calls  {} allowed, {} refused, {} absent; {} instructions",
            count(Answer::Allow),
            count(Answer::Refuse),
            count(Answer::Absent),
            syscalls::program(self.filter).len()
        )?;
        match &self.network {
            Some(rules) => {
                let names = match &self.hosted {
                    Some(_) => "whomever they are asked of".to_owned(),
                    None => format!("asked of {}", crate::RESOLVER),
                };
                writeln!(out, "network       by the gateway alone, names {names}")?;
                for line in rules.describe() {
                    writeln!(out, "  {line}")?;
                }
            }
            None if self.hosted.is_some() => writeln!(out, "network       none")?,
            None => writeln!(out, "network       none but its own loopback")?,
        }
        self.print_guard(out)?;
        writeln!(
            out,
            "also          no_new_privs, no capabilities, core dumps off, descriptors above 2 closed{}",
            if self.filter.memfd_noexec { ", vm.memfd_noexec = 2" } else { "" }
        )?;
        for degraded in &self.degraded {
            writeln!(out, "degraded      {}: {}", degraded.name, degraded.effect)?;
        }
        for note in self.git_fails.iter().chain(&self.notes) {
            writeln!(out, "note          {}", escape(note))?;
        }
        Ok(())
    }
}

impl Plan {
    fn print_guard(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.guard.iter().flat_map(CommandRules::describe) {
            writeln!(out, "each exec     {line}")?;
        }
        if let Some(hosted) = self.hosted.as_ref().filter(|_| self.filter.mapped) {
            let names =
                |paths: &[PathBuf]| -> String { paths.iter().map(escape).collect::<Vec<_>>().join(", ") };
            write!(out, "each mapping  code from what is executable")?;
            if !hosted.libraries.is_empty() {
                let (trees, not) = (names(&hosted.libraries), names(&hosted.searched));
                write!(out, ", and from {trees} but for {not}")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    /// What tier `landlock` has in place of mounts.
    fn print_hosted(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(hosted) = &self.hosted else { return Ok(()) };
        for path in &hosted.own {
            writeln!(out, "  mkdir    {}", escape(path))?;
        }
        for layer in &self.layers {
            let copy = layer.directory.join(COPY);
            writeln!(out, "  copy     {} to {}", escape(&layer.host), escape(&copy))?;
        }
        for (path, target) in &hosted.links {
            writeln!(out, "  link     {} -> {}", escape(path), escape(target))?;
        }
        for Hidden { path, because } in &hosted.hidden {
            writeln!(out, "  hide     {} ({because})", escape(path))?;
        }
        Ok(())
    }

    /// One step of the root's construction, for a message.
    #[must_use]
    pub fn describe(&self, index: usize) -> String {
        self.steps.get(index).map_or_else(|| "a step of the plan".into(), |step| describe(step, &self.trees))
    }
}

fn describe(step: &Step, trees: &[Tree]) -> String {
    let host = |index: &usize| trees.get(*index).map_or_else(String::new, |tree| escape(&tree.host));
    let mapped =
        |index: &usize| if trees.get(*index).is_some_and(|tree| tree.mapped) { ", idmapped" } else { "" };
    match step {
        Step::Directory { path, mode } => format!("mkdir    {} {mode:o}", escape(path)),
        Step::File { path, contents } if contents.is_empty() => format!("touch    {}", escape(path)),
        Step::File { path, contents } => format!("write    {} ({} bytes)", escape(path), contents.len()),
        Step::Symlink { path, target } => format!("link     {} -> {}", escape(path), escape(target)),
        Step::Tmpfs { path, size, flags, over, .. } => {
            let over = if *over { ", over what is there" } else { "" };
            format!("tmpfs    {} {} MiB{}{over}", escape(path), size >> 20, flags_text(*flags))
        }
        Step::Bind { tree, path, flags } => {
            let from = host(tree);
            let from = if from == escape(path) { String::new() } else { format!(" from {from}") };
            format!("bind     {}{from}{}{}", escape(path), flags_text(*flags), mapped(tree))
        }
        Step::Device { path } => format!("device   {}", escape(path)),
        Step::Terminals { path } => format!("devpts   {}", escape(path)),
        Step::Processes { path, masked } => {
            format!("proc     {}{}", escape(path), if *masked { " masked" } else { " as it is" })
        }
        Step::Overlay { path, lower, flags, .. } => {
            format!("overlay  {} over {}{}{}", escape(path), host(lower), flags_text(*flags), mapped(lower))
        }
        Step::Watch { path } => format!("watch    {}", escape(path)),
        Step::Cover { path, with } => format!("cover    {} with {}", escape(path), escape(with)),
        Step::Hide { path, because, .. } => format!("hide     {} ({because})", escape(path)),
        Step::Pin { path, flags } if flags.read_only => {
            format!("protect  {}{}", escape(path), flags_text(*flags))
        }
        Step::Pin { path, .. } => format!("hold     {}", escape(path)),
        Step::Seal { path, flags } => format!("seal     {}{}", escape(path), flags_text(*flags)),
    }
}

fn describe_node(Node { path, content }: &Node) -> String {
    let path = escape(path);
    match content {
        Content::Asked { .. } => format!("asked    {path}"),
        Content::Directory { mode } => format!("has      {path}/ {mode:o}"),
        Content::File { decoy: true, .. } => format!("decoy    {path}"),
        Content::File { bytes, .. } => format!("has      {path} ({} bytes)", bytes.len()),
        Content::Refusals => format!("has      {path} (what was refused)"),
        Content::Hidden { .. } => format!("refuses  {path}"),
        Content::Link { target } => format!("has      {path} -> {}", escape(target)),
    }
}

fn flags_text(flags: Flags) -> &'static str {
    match (flags.read_only, flags.no_exec) {
        (true, true) => " ro,noexec",
        (true, false) => " ro",
        (false, true) => " noexec",
        (false, false) => "",
    }
}

fn right_name(right: Right) -> &'static str {
    match right {
        Right::Read => "read",
        Right::Write | Right::Own => "write",
        Right::Execute => "execute",
        Right::Device => "use",
        Right::Layer => "layer",
    }
}

fn mode(mode: ringfence_policy::Mode) -> &'static str {
    use ringfence_policy::Mode;
    match mode {
        Mode::Review => "review: copy-on-write, lands by apply",
        Mode::Discard => "discard: copy-on-write, thrown away",
        Mode::Direct => "direct: the host's files",
        Mode::Read => "read-only",
        Mode::Temporary => "temporary: empty, in memory",
    }
}

/// A path or value without bytes that act on a terminal.
pub(crate) fn escape(text: impl AsRef<std::ffi::OsStr>) -> String {
    let mut out = String::new();
    for character in text.as_ref().to_string_lossy().chars() {
        let hidden =
            matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if character.is_control() || hidden {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

fn shown(command: &[OsString]) -> String {
    command.iter().map(escape).collect::<Vec<_>>().join(" ")
}

pub(crate) fn variables<S: Serializer>(
    map: &BTreeMap<OsString, OsString>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut out = serializer.serialize_map(Some(map.len()))?;
    for (name, value) in map {
        out.serialize_entry(&name.to_string_lossy(), &value.to_string_lossy())?;
    }
    out.end()
}

pub(crate) fn guard<S: Serializer>(rules: &Option<CommandRules>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(rules.iter().flat_map(CommandRules::describe))
}

pub(crate) fn words<S: Serializer>(words: &[OsString], serializer: S) -> Result<S::Ok, S::Error> {
    let mut out = serializer.serialize_seq(Some(words.len()))?;
    for word in words {
        out.serialize_element(&word.to_string_lossy())?;
    }
    out.end()
}
