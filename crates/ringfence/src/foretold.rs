//! What a run would say of a command before there is one, for `ringfence explain --command`.

use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use ringfence_confine::{Why, foreseen, is_program};
use ringfence_plan::{Invoker, Plan, Right};
use ringfence_policy::{Access, Decision, Judge, Policy, Reason};

use crate::chain;
use crate::cli::PolicyArguments;
use crate::commands::explain::{plan, real};
use crate::executions::Written;
use crate::remedies::hidden_link;

/// What a run would say of a command: by the rules that its guard would have, where there is one and the host has the file; else by words.
pub(crate) fn start(
    command: &str,
    policy: &Policy,
    (judge, workspace): (&Judge<'_>, &Path),
    (invoker, inside, arguments): (&Invoker, &Invoker, &PolicyArguments),
) -> (Decision, Vec<String>) {
    let decision = judge.run(&meant(command, workspace, invoker));
    let words = ringfence_policy::command_words(command);
    let Some(program) = words.first() else { return (decision, Vec::new()) };
    let Some(file) = chain::named(program, inside) else {
        return (not_found(program, decision, invoker), Vec::new());
    };
    if program.contains('/') && !judge.file(&real(&file), Access::Exec).is_allow() {
        return (decision, Vec::new());
    }
    let plan = plan(policy, invoker, arguments, words.iter().map(OsString::from).collect());
    let guarded = plan.as_ref().is_some_and(|plan| plan.guard.is_some());
    let elsewhere = || elsewhere(program, &file, plan.as_ref()?, (judge, invoker));
    if let Some(why) = no_program(&file, guarded).map(str::to_owned).or_else(elsewhere) {
        return (Decision::Refuse { by: Reason::BuiltIn(why) }, Vec::new());
    }
    let seen = || {
        let plan = plan.as_ref()?;
        if plan.guard.is_none() && policy.commands.is_some() {
            // Landlock alone holds the list: by the file, whatever its name, and the dynamic loaders of what is listed.
            let listed = |file: &Path| {
                let mut rules = plan.landlock.iter().flat_map(|landlock| &landlock.rules);
                rules.any(|(right, path)| *right == Right::Execute && path == file)
            };
            if listed(&real(&file)) {
                return Some(Ok(()));
            }
            // A script that may start needs its interpreter, which is listed by itself or with it.
            let script = chain::first_line(&file);
            if script.is_none() && !decision.is_allow() {
                let wanted = words.iter().map(|word| word.clone().into_bytes()).collect();
                return Some(Err(Why { rule: decision.reason().to_string(), wanted }));
            }
            let (interpreter, argument) = script.filter(|_| decision.is_allow())?;
            return (!listed(&real(&interpreter)))
                .then(|| Err(unlisted(&interpreter, argument, &words, inside)));
        }
        let trees = policy.files.write.iter().map(|rule| rule.value.path.clone());
        let trees: Vec<PathBuf> = trees.chain([plan.workspace.clone()]).map(|path| real(&path)).collect();
        foreseen(plan.guard.as_ref()?, &file, &words, &invoker.cwd, &trees)
    };
    match seen() {
        Some(Ok(())) if !decision.is_allow() => {
            let by = "`[commands]` lets start what it leads to on this host".to_owned();
            (Decision::Allow { by: Reason::BuiltIn(by) }, Vec::new())
        }
        Some(Err(why)) => {
            let wanted: Vec<String> =
                why.wanted.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
            let directory = invoker.cwd.to_string_lossy();
            let trees: Vec<PathBuf> = policy.files.exec.iter().map(|rule| rule.value.path.clone()).collect();
            let path = inside.variables.get(OsStr::new("PATH")).map(OsString::as_os_str);
            let starts = |program: &str| chain::starts(program, path, &trees);
            let written = Written { directory: &directory, workspace, child: false, starts: &starts };
            let remedy = written.remedy(&wanted);
            // By words alone it may be known which line of the policy it is.
            let said = !decision.is_allow() && remedy.is_empty();
            (if said { decision } else { Decision::Refuse { by: Reason::BuiltIn(why.rule) } }, remedy)
        }
        _ => (decision, Vec::new()),
    }
}

/// Who asks, with the PATH by which a run looks for programs.
pub(crate) fn inside(invoker: &Invoker, plan: Option<&Plan>) -> Invoker {
    let own = plan.and_then(|plan| plan.environment.get(OsStr::new("PATH"))).cloned();
    let path = own.or_else(|| std::env::join_paths(invoker.searched()).ok()).unwrap_or_default();
    let mut inside = invoker.clone();
    inside.variables.insert("PATH".into(), path);
    inside
}

/// Of a program that is not there, or is none: what is known beside the rule. A path that leads to nothing yet is judged by its words.
fn not_found(program: &str, decision: Decision, invoker: &Invoker) -> Decision {
    let why = if program.contains('/') {
        match invoker.cwd.join(program).metadata() {
            Ok(found) if found.is_dir() => "it is a directory".to_owned(),
            Ok(found) if found.is_file() => "it lacks the execute permission: chmod +x".to_owned(),
            Ok(_) => "it is no regular file, and nothing else can be executed".to_owned(),
            Err(_) => return decision,
        }
    } else {
        match chain::named(program, invoker) {
            Some(path) => format!(
                "PATH inside does not lead to `{0}`; `ringfence explain --path {0}` says what the policy has of it",
                path.display()
            ),
            None => format!("no directory of PATH has `{program}` here"),
        }
    };
    let by = match decision.is_allow() {
        true => why,
        false if program.contains('/') => format!("{}; and {why}", decision.reason()),
        false => format!("{}; and {why}: a run would not find it", decision.reason()),
    };
    Decision::Refuse { by: Reason::BuiltIn(by) }
}

/// The command with its program's path as the host has it: from the directory where it starts, without `..`.
pub(crate) fn meant(command: &str, workspace: &Path, invoker: &Invoker) -> String {
    let mut words = ringfence_policy::command_words(command);
    let Some(program) = words.first_mut().filter(|program| program.contains('/')) else {
        return command.to_owned();
    };
    let path = Path::new(program.as_str());
    let plain = path.is_absolute() || invoker.cwd == workspace || !invoker.cwd.starts_with(workspace);
    let whole = invoker.cwd.join(path);
    match (whole.parent(), whole.file_name()) {
        (Some(parent), Some(name)) if goes_up(path) || !plain => {
            *program = real(parent).join(name).to_string_lossy().into_owned();
            ringfence_policy::command_line(words.iter())
        }
        _ => command.to_owned(),
    }
}

fn goes_up(path: &Path) -> bool {
    path.components().any(|part| part == Component::ParentDir)
}

/// Why no kernel starts the file, if that is sure.
fn no_program(file: &Path, guarded: bool) -> Option<&'static str> {
    // Nothing that the host registered for it runs where starts are judged (binfmt_misc); elsewhere it may.
    const HANDLERS: &str = "/proc/sys/fs/binfmt_misc";
    let own = |name: OsString| name == "register" || name == "status";
    let mut handlers = std::fs::read_dir(HANDLERS).into_iter().flatten().flatten();
    let mut unsure = || !guarded && handlers.any(|entry| !own(entry.file_name()));
    (!is_program(file) && !unsure()).then_some(
        "it is no program of this machine, and without `#!` no script: name its interpreter, as in `sh SCRIPT`",
    )
}

/// Why this path does not lead a run to what it leads to here, if it does not.
fn elsewhere(
    program: &str,
    file: &Path,
    plan: &Plan,
    (judge, invoker): (&Judge<'_>, &Invoker),
) -> Option<String> {
    let real = Some(real(file)).filter(|_| program.contains('/'))?;
    if let Some(link) = hidden_link(plan, judge, file) {
        let (link, real) = (link.display(), real.display());
        return Some(format!("no rule of `files` covers `{link}`, a link: it is `{real}` by its own name"));
    }
    let below = real.strip_prefix(&plan.workspace).ok().filter(|_| plan.inside() != plan.workspace)?;
    let leads = match Path::new(program) {
        path if path.is_absolute() => path.strip_prefix(&plan.workspace).is_ok_and(|below| !goes_up(below)),
        path => stays(path, &invoker.cwd, &plan.workspace),
    };
    (!leads).then(|| {
        format!("the task has a copy of the workspace elsewhere in tier `landlock`, where this path does not lead: it is `./{}` from there", below.display())
    })
}

/// Whether a relative path never leaves the workspace on its way.
fn stays(path: &Path, directory: &Path, workspace: &Path) -> bool {
    let mut at = directory.to_path_buf();
    path.components().all(|part| {
        match part {
            Component::ParentDir => drop(at.pop()),
            part => at.push(part),
        }
        at.starts_with(workspace)
    })
}

/// A script whose interpreter is not listed, and the entry that would list both.
fn unlisted(interpreter: &Path, argument: Option<String>, words: &[String], invoker: &Invoker) -> Why {
    let name = interpreter
        .file_name()
        .and_then(OsStr::to_str)
        .filter(|name| chain::named(name, invoker).is_some_and(|found| real(&found) == real(interpreter)));
    let name = name.map_or_else(|| interpreter.to_string_lossy().into_owned(), str::to_owned);
    let wanted = std::iter::once(name).chain(argument).chain(words.iter().cloned());
    Why {
        rule: format!("`commands.allow` does not let `{}` run it", interpreter.display()),
        wanted: wanted.map(String::into_bytes).collect(),
    }
}
