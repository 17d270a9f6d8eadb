//! What the exec guard judges by: the policy's rules, with the files that the survey found for them.

use std::collections::HashMap;
use std::path::Path;

use ringfence_policy::{
    Children, CommandPattern, CommandRules, Digest, Ground, Interpreted, Lists, Named, Policy, Rule,
};

use crate::Exposed;
use crate::survey::{Interpreter, Loader, Place, Program, Survey};
use crate::temporary::VAR_TMP;

/// Whether only listed programs may start at all: then Landlock and the mounts hold the list, too.
pub(crate) fn listed(policy: &Policy) -> bool {
    policy.commands.is_some() && policy.guard.children != Children::Free
}

/// Whether there is no memfd_create: it makes files that no mount and no rule about paths keeps a loader from. What the task writes runs with
/// `commands.from_workspace` alone, and beside a list that only Landlock holds not even then.
pub(crate) fn no_memfd(policy: &Policy, guarded: bool) -> bool {
    !policy.from_workspace || policy.commands.is_some() && !guarded
}

/// In tier `namespace`: everything is where the host has it, and mounts forbid what no list names.
pub(crate) fn mounted(survey: &Survey) -> Ground<'_> {
    let temporary = ["/tmp", VAR_TMP].map(Path::new).to_vec();
    Ground { workspace: &survey.workspace.real, copy: None, home: None, temporary }
}

pub(crate) fn rules(
    policy: &Policy,
    survey: &Survey,
    exposed: &Exposed,
    ground: Ground<'_>,
) -> Option<CommandRules> {
    let lists = policy.commands.iter().flat_map(|commands| &commands.allow);
    let lists = lists
        .chain(policy.guard.children.programs())
        .chain(&policy.guard.deny)
        .chain(&policy.approvals.commands);
    let entries: HashMap<&str, &Rule<String>> = lists.map(|entry| (entry.value.as_str(), entry)).collect();
    let mut loaders: Vec<&Path> = Vec::new();
    let with: Vec<_> =
        survey.programs.iter().map(|program| (program, interpreters(program, survey))).collect();
    let allow: Vec<Named<'_>> = with
        .iter()
        .filter_map(|(program, interpreted)| {
            let interpreted = interpreted.iter().map(|interpreter| Interpreted {
                file: &interpreter.place.real,
                identity: (interpreter.place.device, interpreter.place.inode),
                name: &interpreter.name,
                before: &interpreter.before,
            });
            Some(Named {
                entry: entries.get(program.name.as_str())?,
                file: &program.place.real,
                identity: (program.place.device, program.place.inode),
                shared: program.shared,
                interpreted: interpreted.collect(),
                pinned: pinned(program),
            })
        })
        .collect();
    let deny: Vec<Named<'_>> = survey
        .denied
        .iter()
        .filter_map(|program| {
            let entry = entries.get(program.name.as_str())?;
            Some(Named {
                entry,
                file: &program.place.real,
                identity: (program.place.device, program.place.inode),
                shared: program.shared,
                interpreted: Vec::new(),
                pinned: Vec::new(),
            })
        })
        .collect();
    for program in survey.programs.iter().chain(&survey.denied) {
        if let Some(Loader::Dynamic(place)) = &program.loader {
            loaders.push(&place.real);
        }
    }
    loaders.sort_unstable();
    loaders.dedup();
    let many = survey.many.iter().map(|many| (many.identity, many.file.as_path())).collect();
    let starting = survey.many.iter().filter(|many| many.dynamic).map(|many| many.file.as_path()).collect();
    let assigned = exposed.variables.iter().map(|(name, value)| format!("{name}={value}").into_bytes());
    // git sets it for what it starts, whoever began it.
    let git = survey.git_core.iter();
    let git = git.map(|path| [b"GIT_EXEC_PATH=", path.as_os_str().as_encoded_bytes()].concat());
    let assigned = assigned.chain(git).collect();
    CommandRules::of(policy, ground, Lists { allow: &allow, deny: &deny, many, starting, assigned }, &loaders)
}

fn pinned(program: &Program) -> Vec<(&Path, Digest)> {
    program.pinned.iter().map(|(path, digest)| (path.as_path(), *digest)).collect()
}

/// The files that the kernel opens to start listed programs: themselves, loaders, and interpreters, which run nothing but what the
/// guard lets them.
pub(crate) fn started(survey: &Survey) -> impl Iterator<Item = &Place> {
    survey.programs.iter().flat_map(|program| {
        let loader = match &program.loader {
            Some(Loader::Dynamic(place)) => Some(place),
            _ => None,
        };
        let interpreters = interpreters(program, survey);
        let interpreters =
            interpreters.into_iter().flat_map(|one| [Some(&one.place), one.loader.as_ref()]).flatten();
        std::iter::once(&program.place).chain(loader).chain(interpreters)
    })
}

/// What runs a script that is listed, as far as the list does not name it itself.
pub(crate) fn interpreters<'a>(program: &'a Program, survey: &Survey) -> Vec<&'a Interpreter> {
    let open = |interpreter: &&Interpreter| {
        survey.programs.iter().any(|other| {
            !other.grantable
                && other.place.real == interpreter.place.real
                && CommandPattern::parse(&other.name, "/").is_ok_and(|pattern| pattern.any_arguments())
        })
    };
    program.interpreters.iter().filter(|interpreter| !open(interpreter)).collect()
}
