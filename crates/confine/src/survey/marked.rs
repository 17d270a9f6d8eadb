//! What exists of the paths that are to be hidden or protected.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ringfence_plan::{DENIED, Invoker, Kind, Marked, Place, Refused, Survey};
use ringfence_policy::{Grant, Mode, PathPattern, PatternSet, Policy, Rule, trail};
use rustix::fs::{self, AtFlags, CWD, FileType};

use super::gitconfig::{self, Obeyed};
use super::hidden::{Hidden, everywhere, known};
use super::place::resolve;
use super::walk::{Seen, entries, walk};
use super::{Look, Shown, grants, homes};

/// Files of a repository that git executes or obeys, below its directory (githooks(5), gitrepository-layout(5)).
const GIT_OBEYS: &[&str] =
    &["hooks", "config", "config.worktree", "info/attributes", "objects/info/alternates"];

pub(super) fn mark(
    policy: &Policy,
    invoker: &Invoker,
    survey: &mut Survey,
    look: Look,
) -> Result<(), Refused> {
    let shown = Shown::of(policy, survey);
    let workspace = survey.workspace.real.clone();
    let mut hidden = Hidden::new(&workspace);
    hidden.note_links(survey);
    survey.notes.extend(known(policy, &survey.known_homes, &shown, &mut hidden)?);
    // Only who grants something later, or wants to be told, needs those that nothing shows.
    if look == Look::Everything || !policy.approvals.read.is_empty() {
        survey.secrets = everywhere(policy, invoker, survey)?;
        grants::grantable_whole(policy, &survey.secrets)?;
    }
    let shut = hidden.shut();
    grants::named_within(policy, invoker, survey, &shut)?;
    grants::through_links(survey, &shut, &policy.home)?;
    if shown.covers(&invoker.state) {
        hidden.hide(&invoker.state, "ringfence's own state");
    }
    let protect: Vec<&PathPattern> = policy.workspace.protect.iter().map(|rule| &rule.value).collect();
    let of_host = policy.workspace.mode != Mode::Temporary;
    let granted = survey.read.iter().chain(&survey.exec).chain(&survey.write);
    let granted: Vec<PathBuf> =
        granted.filter_map(|found| Some(found.place.as_ref()?.real.clone())).collect();
    hidden.hide_literal(policy, &granted);
    let mut protected = Vec::new();
    if of_host {
        for rule in &policy.workspace.protect {
            if rule.value.literal().is_some() {
                protect_path(survey, &mut protected, &rule.value.base(&workspace), rule.value.text());
            }
        }
        obeyed_by_git(invoker, survey, &mut protected, &protect);
    }
    let store = invoker.state.join("walks");
    let shut = walk_patterns(policy, &shown, &workspace, &mut hidden, &mut protected, &store)?;
    survey.notes.extend(not_looked_through(&shut));
    let direct = policy.workspace.mode == Mode::Direct;
    if direct {
        patterns_in_direct(policy, survey, &protected);
    }
    for git in survey.git.iter().filter(|git| !git.read_only) {
        for path in git_obeys(&git.place.real) {
            match kind(&path) {
                Some(kind) => {
                    protected.push(Marked { path, kind, because: "what git executes or obeys".into() });
                }
                // In the view it may appear, and is held back at apply; in a direct workspace nothing could hold it.
                None if direct => survey.absent_protected.push(path.display().to_string()),
                None => {}
            }
        }
    }
    for rule in policy.files.deny.iter().filter(|rule| rule.value.literal().is_none()) {
        let base = rule.value.base(&workspace);
        if rule.value.matches_all_in(&workspace, &base)
            && let Ok(place) = resolve(&base, false)
        {
            hidden.bar(&place, &format!("{DENIED}`{}`", rule.value.text()));
        }
    }
    let granted = survey.read.iter().chain(&survey.exec).chain(&survey.write);
    let others = hidden.hide_other_names(&shown, granted.filter_map(|found| found.place.as_ref()));
    survey.notes.extend(others);
    survey.barred = hidden.barred;
    survey.hidden = hidden.marked.into_values().collect();
    survey.protected = protected;
    if policy.files.deny.iter().any(|rule| rule.value.literal().is_none()) {
        survey.notes.push(
            "`files.deny` patterns hide what exists at the start; files that appear later are not hidden"
                .into(),
        );
    }
    Ok(())
}

/// What a reader would not expect to be hidden.
fn not_looked_through(shut: &[PathBuf]) -> Option<String> {
    let first = shut.first()?.display();
    let others = if shut.len() > 1 { format!(" and {} more", shut.len() - 1) } else { String::new() };
    Some(format!(
        "{first}{others}: hidden, for what lies there cannot be listed, nor, therefore, held against `files.deny`: give yourself the right to read and search it"
    ))
}

/// In a direct workspace mounts hold what is there; a pattern that finds nothing holds nothing.
fn patterns_in_direct(policy: &Policy, survey: &mut Survey, protected: &[Marked]) {
    let patterns = policy.workspace.protect.iter().map(|rule| &rule.value);
    let mut found = false;
    for pattern in patterns.filter(|pattern| pattern.literal().is_none()) {
        let because = format!("workspace.protect `{}`", pattern.text());
        if protected.iter().any(|marked| marked.because == because) {
            found = true;
        } else {
            survey.absent_protected.push(pattern.text().to_owned());
        }
    }
    if found {
        survey.notes.push(
            "in mode `direct`, `workspace.protect` patterns hold what exists at the start; what is new is not held".into(),
        );
    }
    if policy.workspace.protect.iter().any(|rule| rule.value.text().contains(".git")) {
        survey
            .notes
            .push("in mode `direct` nothing keeps the task from making a new `.git/commondir`".into());
    }
}

/// What git executes or obeys in the workspace by other names than those in `.git`. Always held back at an apply; where the
/// policy protects git's own names, as these are.
fn obeyed_by_git(
    invoker: &Invoker,
    survey: &mut Survey,
    protected: &mut Vec<Marked>,
    protect: &[&PathPattern],
) {
    let workspace = survey.workspace.real.clone();
    let own = workspace.join(".git");
    let mut directories = vec![own.clone()];
    directories.extend(survey.git.iter().map(|git| git.place.real.clone()));
    let Obeyed { hooks, files } =
        gitconfig::obeyed(&workspace, &directories, &homes::workers(invoker, survey.workspace.uid));
    // Single hooks are often links to scripts in the tree.
    let linked = directories.iter().flat_map(|directory| {
        let own = ["hooks", "config", "info/attributes"].map(|name| directory.join(name));
        own.into_iter().chain(entries(&directory.join("hooks")).into_iter().map(|(path, _)| path))
    });
    let linked = linked.filter(|path| std::fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()));
    let asked = |name: &str| protect.iter().any(|pattern| pattern.matches(&workspace, &own.join(name)));
    let (of_hooks, of_config) = (asked("hooks"), asked("config"));
    let common = own.join("commondir");
    if (of_hooks || of_config) && kind(&common).is_some() {
        protect_path(survey, protected, &common, ".git/commondir");
    }
    let all = hooks.into_iter().chain(linked).map(|path| (path, of_hooks, "a hook of git"));
    let all = all.chain(files.into_iter().map(|path| (path, of_config, "git's configuration names it")));
    for (path, asked, why) in all.collect::<Vec<_>>() {
        // Whoever replaces a link on the way leads git elsewhere, too.
        let trail = trail(&path).unwrap_or_default();
        for path in [&path].into_iter().chain(&trail) {
            if path == &workspace {
                survey.notes.push(
                    "core.hooksPath is the workspace itself: its hooks cannot be told from its files".into(),
                );
            } else if let Ok(inside) = path.strip_prefix(&workspace)
                && !path.starts_with(&own)
            {
                let pattern = ringfence_plan::as_pattern(inside);
                if survey.obeyed.contains(&pattern) || survey.led_to.contains(&pattern) {
                    continue;
                }
                if asked {
                    protect_path(survey, protected, path, why);
                    survey.led_to.push(pattern);
                } else {
                    survey.obeyed.push(pattern);
                }
            }
        }
    }
}

/// Those files of a repository, and of the worktrees and submodules it keeps.
fn git_obeys(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = GIT_OBEYS.iter().map(|name| directory.join(name)).collect();
    for (worktree, _) in entries(&directory.join("worktrees")) {
        paths.extend(["commondir", "gitdir", "config.worktree"].map(|name| worktree.join(name)));
    }
    for (module, _) in entries(&directory.join("modules")) {
        paths.extend(["hooks", "config"].map(|name| module.join(name)));
    }
    paths
}

fn protect_path(survey: &mut Survey, protected: &mut Vec<Marked>, path: &Path, text: &str) {
    let trail = trail(path).unwrap_or_default();
    // A link on the way cannot be held by a mount: the path counts as absent.
    match kind(path).filter(|_| trail.len() <= 1) {
        Some(kind) => protected.push(Marked {
            path: path.to_path_buf(),
            kind,
            because: format!("workspace.protect `{text}`"),
        }),
        None => survey.absent_protected.push(text.to_owned()),
    }
    if trail.len() <= 1 {
        return;
    }
    // What links lead to is what counts in the end, there already or not; they themselves are held back by their names.
    for at in &trail {
        if let Ok(inside) = at.strip_prefix(&survey.workspace.real)
            && *at != survey.workspace.real
        {
            let pattern = ringfence_plan::as_pattern(inside);
            if survey.led_to.contains(&pattern) {
                continue;
            }
            survey.led_to.push(pattern);
            if let Some(kind) = kind(at) {
                let because = format!("workspace.protect `{text}`, which leads here");
                protected.push(Marked { path: at.clone(), kind, because });
            }
        }
    }
}

/// What is at a path, itself and not what a link leads to; a link cannot be held by a mount and counts as absent.
fn kind(path: &Path) -> Option<Kind> {
    let stat = fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Some(Kind::Directory),
        FileType::RegularFile => Some(Kind::File),
        _ => None,
    }
}

/// Those with wildcards.
fn wild(list: &[Rule<PathPattern>]) -> Vec<PathPattern> {
    list.iter().map(|rule| &rule.value).filter(|pattern| pattern.literal().is_none()).cloned().collect()
}

/// Hides what grants lead to and patterns deny: files that are named by themselves, and what lies where links lead. Returns what was
/// found of directories. `workspace`: where it is shown.
fn denied_grants<'a>(
    policy: &Policy,
    workspace: Option<&Path>,
    of: impl Fn(bool) -> &'a Vec<PathPattern>,
    hidden: &mut Hidden,
) -> Vec<Tree> {
    let files = &policy.files;
    let lists = [&files.read, &files.exec, &files.write].into_iter().enumerate();
    let rules = lists.flat_map(|(list, rules)| rules.iter().map(move |rule| (list, rule)));
    let own = |rule: &Rule<Grant>| !rule.origin.source.starts_with("preset ");
    let rules = rules.filter(|(_, rule)| !of(own(rule)).is_empty());
    let found: Vec<(Place, bool, usize)> = rules
        .filter_map(|(list, rule)| Some((resolve(&rule.value.path, false).ok()?, own(rule), list)))
        .collect();
    for (place, own, _) in found.iter().filter(|(place, ..)| place.kind != Kind::Directory) {
        hidden.hide_file(place, of(*own));
    }
    let mut only_linked = BTreeSet::new();
    for (place, own, list) in found.iter().filter(|(place, ..)| !place.links.is_empty()) {
        // A grant by a link takes nothing away from one that needs none.
        let names = |(other, own, of): &(Place, bool, usize)| {
            let same = *list == READ || of == list;
            same && *own && other.links.is_empty() && place.real.starts_with(&other.real)
        };
        let named = found.iter().any(names)
            || *list == READ && workspace.is_some_and(|workspace| place.real.starts_with(workspace));
        hidden.hide_linked(place, of(*own), named);
        if !named && *own {
            only_linked.insert(place.real.clone());
        }
    }
    let directories = found.into_iter().filter(|(place, ..)| place.kind == Kind::Directory);
    let tree = |(place, own, _): (Place, bool, usize)| {
        let from_root = only_linked.contains(&place.real);
        Tree { root: place.real, own, from_root }
    };
    directories.map(tree).collect()
}

/// A tree that is walked.
struct Tree {
    root: PathBuf,
    /// The policy's own author granted it: patterns that begin anywhere count in it.
    own: bool,
    /// Nothing but a link leads there: they count from the root.
    from_root: bool,
}

/// The first of the lists of `files`; what the others grant can be read too.
const READ: usize = 0;

/// One walk of the workspace, and of trees that the policy's own author granted, for all patterns with wildcards. Returns the
/// directories that are hidden because nobody can say what lies in them.
fn walk_patterns(
    policy: &Policy,
    shown: &Shown,
    workspace: &Path,
    hidden: &mut Hidden,
    protected: &mut Vec<Marked>,
    store: &Path,
) -> Result<Vec<PathBuf>, Refused> {
    let (deny, protect) = (wild(&policy.files.deny), wild(&policy.workspace.protect));
    let mut shut = Vec::new();
    if deny.is_empty() && protect.is_empty() {
        return Ok(shut);
    }
    // What a preset grants is walked for patterns that say where they begin: those count everywhere.
    let anchored = |pattern: &&PathPattern| pattern.base(Path::new("")).is_absolute();
    let everywhere: Vec<PathPattern> = deny.iter().filter(anchored).cloned().collect();
    let of = |own: bool| if own { &deny } else { &everywhere };
    let found = denied_grants(policy, shown.is(workspace).then_some(workspace), of, hidden);
    let meets = |root: &Path| {
        let bases = everywhere.iter().map(|pattern| pattern.base(root));
        bases.into_iter().any(|base| base.starts_with(root) || root.starts_with(&base))
    };
    let mut trees = found;
    trees.retain(|tree| shown.covers(&tree.root) && (tree.own || meets(&tree.root)));
    if shown.is(workspace) {
        trees.push(Tree { root: workspace.to_path_buf(), own: true, from_root: false });
    }
    let counted: Vec<PathPattern> =
        deny.iter().map(|pattern| pattern.from_root().unwrap_or_else(|| pattern.clone())).collect();
    for Tree { root, own, from_root } in trees {
        let deny = if from_root && own { &counted } else { of(own) };
        // Relative patterns count from the tree they are looked for in.
        let set = |list: &[PathPattern]| {
            PatternSet::new(list, &root).map_err(|error| {
                Refused::host("patterns this large", error.to_string(), "use fewer or shorter patterns")
            })
        };
        let (deny_set, protect_set) = (set(deny)?, set(&protect)?);
        let is_workspace = root == workspace;
        for pattern in of(own) {
            let base = pattern.base(&root);
            // Of a tree that a rule grants, too; the workspace itself stays.
            let elsewhere = base != root || !is_workspace && pattern.base(Path::new("")).is_absolute();
            if elsewhere && base.is_dir() && pattern.matches_all_in(&root, &base) {
                hidden.hide(&base, &format!("{DENIED}`{}`", pattern.text()));
            }
        }
        let wanted: Vec<String> = [(deny, "hide"), (&protect, "protect")]
            .into_iter()
            .flat_map(|(list, why)| list.iter().map(move |pattern| (pattern, why)))
            .filter(|(_, why)| is_workspace || *why == "hide")
            .map(|(pattern, why)| format!("{why} {} {}", pattern.base(&root).display(), pattern.text()))
            .collect();
        let unread = walk(&root, &wanted, Some(store), &mut |path, file_type| {
            // A directory whose every child is denied is hidden itself, or an empty one would take new files.
            let all_below = || deny_set.matching_all_in(path);
            let directory = file_type == FileType::Directory;
            if let Some(number) =
                deny_set.matching_itself(path).or_else(|| if directory { all_below() } else { None })
            {
                let text = deny.get(number).map_or("", PathPattern::text);
                hidden.hide(path, &format!("{DENIED}`{text}`"));
                return Seen::Marked;
            }
            if is_workspace
                && let Some(number) = protect_set.matching_itself(path)
                && let Some(kind) = kind(path)
            {
                let text = protect.get(number).map_or("", PathPattern::text);
                protected.push(Marked {
                    path: path.to_path_buf(),
                    kind,
                    because: format!("workspace.protect `{text}`"),
                });
                return Seen::Marked;
            }
            if directory { Seen::Below } else { Seen::Nothing }
        });
        let reaches = |path: &Path, pattern: &PathPattern| {
            let base = pattern.base(&root);
            base.starts_with(path) || path.starts_with(&base)
        };
        for path in unread {
            if let Some(pattern) = deny.iter().find(|pattern| reaches(&path, pattern)) {
                hidden.hide(&path, &format!("{DENIED}`{}`", pattern.text()));
                shut.push(path);
            } else if is_workspace && let Some(pattern) = protect.iter().find(|one| reaches(&path, one)) {
                let because = format!("workspace.protect `{}`", pattern.text());
                protected.push(Marked { path, kind: Kind::Directory, because });
            }
        }
    }
    Ok(shut)
}
