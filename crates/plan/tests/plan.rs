//! The plan as data: what is decided for a policy, a survey and a host, without any of them being real.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ringfence_plan::syscalls::Variant;
use ringfence_plan::{
    Found, Host, Interpreter, Invoker, Kind, Link, Loader, Marked, Place, Plan, Program, Refused, Request,
    Right, Secrets, Step, Survey, plan,
};
use ringfence_policy::{Commands, Execution, Grant, Mode, Origin, Policy, Rule};

const EXT4: i64 = 0xEF53;
const OVERLAYFS: i64 = 0x794C_7630;

fn origin() -> Origin {
    Origin { source: "p.toml".into(), line: 7 }
}

fn place(path: &str, uid: u32) -> Place {
    Place {
        real: path.into(),
        links: vec![],
        kind: Kind::Directory,
        device: 1,
        inode: 2,
        uid,
        gid: uid,
        mode: 0o755,
        filesystem: EXT4,
        names: 1,
    }
}

fn found(path: &str) -> Found {
    let grant = Grant { path: path.into(), optional: false };
    Found { grant: Rule { value: grant, origin: origin() }, place: Some(place(path, 0)) }
}

fn through(path: &str, link: &str, real: &str, system: bool) -> Found {
    let mut found = found(path);
    let links = vec![Link { path: link.into(), target: real.into(), system }];
    found.place = Some(Place { links, ..place(real, 0) });
    found
}

struct Case {
    policy: Policy,
    survey: Survey,
    host: Host,
    invoker: Invoker,
    request: Request,
}

impl Case {
    fn new(mode: Mode) -> Self {
        let mut policy = Policy::default();
        policy.workspace.mode = mode;
        Self {
            policy,
            survey: Survey {
                workspace: place("/home/u/w", 1000),
                read: vec![],
                exec: vec![found("/usr")],
                write: vec![],
                programs: vec![],
                many: vec![],
                git_core: vec![],
                denied: vec![],
                search_path: vec![("/usr/bin".into(), "/usr/bin".into())],
                hidden: vec![],
                barred: None,
                secrets: Secrets::default(),
                protected: vec![],
                absent_protected: vec![],
                led_to: vec![],
                obeyed: vec![],
                git: vec![],
                git_apart: None,
                homes: vec!["/home/u".into()],
                known_homes: vec!["/home/u".into()],
                mounts: vec![],
                notes: vec![],
            },
            host: Host {
                kernel: (6, 18),
                no_user_namespaces: None,
                landlock: 7,
                seccomp: true,
                overlay: true,
                no_fuse: Some("none".into()),
                proc: true,
                no_control_groups: None,
                yama: 1,
                memfd_noexec: true,
            },
            invoker: Invoker {
                uid: 1000,
                gid: 1000,
                groups: vec![],
                root: false,
                home: "/home/u".into(),
                cwd: "/home/u/w/src".into(),
                state: "/home/u/.local/state/ringfence".into(),
                variables: BTreeMap::new(),
            },
            request: Request {
                base: Vec::new(),
                trust: None,
                command: vec!["true".into()],
                allow_degraded: BTreeSet::new(),
                enter: false,
                aside: "/aside".into(),
                layers: "/home/u/.local/state/ringfence/runs/r".into(),
                unused_id: 0x7000_0001,
                machine_id: "0".repeat(32),
                exposed: Default::default(),
                decoys: BTreeMap::new(),
            },
        }
    }

    fn root(mut self) -> Self {
        (self.invoker.root, self.invoker.uid, self.invoker.gid) = (true, 0, 0);
        (self.invoker.home, self.survey.homes) = ("/root".into(), vec!["/root".into()]);
        self.survey.known_homes = vec!["/root".into()];
        self
    }

    fn plan(&self) -> Result<Plan, Refused> {
        plan(&self.policy, &self.survey, &self.host, &self.invoker, &self.request)
    }
}

fn binds(plan: &Plan) -> Vec<(String, bool, bool)> {
    plan.steps
        .iter()
        .filter_map(|step| match step {
            Step::Bind { path, flags, .. } => {
                Some((path.display().to_string(), flags.read_only, flags.no_exec))
            }
            _ => None,
        })
        .collect()
}

#[test]
fn nothing_but_what_is_granted_is_mounted() {
    let plan = Case::new(Mode::Review).plan().unwrap();
    assert_eq!(binds(&plan), [("/usr".to_owned(), true, false)]);
    assert!(
        plan.steps
            .iter()
            .any(|step| matches!(step, Step::Overlay { path, .. } if path == Path::new("/home/u/w")))
    );
    assert_eq!(
        plan.steps.last(),
        Some(&Step::Seal {
            path: "/".into(),
            flags: ringfence_plan::Flags { read_only: true, no_exec: true }
        })
    );
    assert_eq!(plan.directory, Path::new("/home/u/w/src"));
    let names: Vec<_> = plan.environment.keys().map(|name| name.to_str().unwrap()).collect();
    assert_eq!(names, ["HOME", "LOGNAME", "PATH", "SHELL", "TMPDIR", "USER"]);
}

#[test]
fn rules_collapse_into_the_trees_above_them() {
    let mut case = Case::new(Mode::Review);
    case.survey.read = (0..10_000).map(|n| found(&format!("/data/{}/{n}", n % 50))).collect();
    case.survey.read.extend((0..50).map(|n| found(&format!("/data/{n}"))));
    // Read below execute adds nothing; write below execute does.
    case.survey.read.push(found("/usr/share"));
    case.survey.write.push(found("/usr/local/var"));
    let binds = binds(&case.plan().unwrap());
    assert_eq!(binds.len(), 52);
    assert!(binds.contains(&("/usr/local/var".to_owned(), false, true)));
    assert!(!binds.iter().any(|(path, ..)| path == "/usr/share"));
}

#[test]
fn a_name_that_only_begins_like_a_grant_is_no_part_of_it() {
    let mut case = Case::new(Mode::Review);
    case.survey.read = vec![found("/data/a"), found("/data/a-b"), found("/data/a/c")];
    let binds = binds(&case.plan().unwrap());
    assert!(binds.iter().any(|(path, ..)| path == "/data/a-b"));
    assert!(!binds.iter().any(|(path, ..)| path == "/data/a/c"));
}

#[test]
fn more_than_a_thousand_trees_are_an_error_that_names_a_parent() {
    let mut case = Case::new(Mode::Review);
    case.survey.read = (0..1001).map(|n| found(&format!("/data/{n}"))).collect();
    let refused = case.plan().unwrap_err();
    assert!(refused.cause.contains("1000 distinct trees"), "{refused}");
    assert!(refused.remedy.contains("/data "), "{}", refused.remedy);
}

#[test]
fn a_link_grants_its_target_only_if_the_policy_names_it() {
    let mut case = Case::new(Mode::Review);
    case.survey.read = vec![through("/home/u/notes", "/home/u/notes", "/secret", false)];
    assert!(case.plan().unwrap_err().cause.contains("/secret"));
    case.survey.read.push(found("/secret"));
    let plan = case.plan().unwrap();
    assert!(
        plan.steps
            .iter()
            .any(|step| matches!(step, Step::Symlink { path, .. } if path == Path::new("/home/u/notes")))
    );
    // What root laid out, as /bin, is followed.
    case.survey.exec.push(through("/bin", "/bin", "/usr/bin", true));
    assert!(case.plan().is_ok());
}

#[test]
fn root_leaves_kernel_uid_zero_and_maps_what_is_written() {
    let mut case = Case::new(Mode::Direct).root();
    case.survey.workspace = place("/srv/w", 0);
    case.invoker.cwd = "/srv/w".into();
    case.survey.write = vec![found("/srv/out")];
    let plan = case.plan().unwrap();
    assert_eq!((plan.ids.outside_uid, plan.ids.inside_uid, plan.ids.owner_uid), (0x7000_0001, 1000, 0));
    let mapped = |path: &str| plan.trees.iter().find(|tree| tree.host == Path::new(path)).unwrap().mapped;
    assert!(mapped("/srv/w") && mapped("/srv/out"));
    // The system's files are for everybody or for nobody.
    assert!(!mapped("/usr"));
}

/// Its filter is made before the plan is known; another one is made while somebody waits.
#[test]
fn an_ordinary_policy_leads_to_the_usual_filter() {
    let mut case = Case::new(Mode::Review);
    case.policy.from_workspace = true;
    assert_eq!(case.plan().unwrap().filter, Variant::usual(false));
    assert_eq!(case.root().plan().unwrap().filter, Variant::usual(true));
}

#[test]
fn what_cannot_be_idmapped_is_named() {
    let mut case = Case::new(Mode::Direct).root();
    case.survey.workspace.filesystem = OVERLAYFS;
    let refused = case.plan().unwrap_err();
    assert!(refused.cause.contains("overlayfs"), "{refused}");
    case.policy.workspace.mode = Mode::Read;
    assert!(case.plan().is_ok());
    case.survey.write = vec![Found {
        place: Some(Place { filesystem: OVERLAYFS, ..place("/srv/out", 0) }),
        ..found("/srv/out")
    }];
    assert!(case.plan().unwrap_err().cause.contains("overlayfs"));
}

#[test]
fn a_host_that_lacks_something_is_refused_by_its_name() {
    let refused = |change: fn(&mut Host)| {
        let mut case = Case::new(Mode::Review);
        change(&mut case.host);
        case.plan().unwrap_err().part
    };
    let old = |host: &mut Host| (host.no_user_namespaces, host.landlock) = (Some("x".into()), 5);
    assert!(refused(old).contains("tier `landlock`"));
    assert!(refused(|host| host.seccomp = false).contains("seccomp"));
    assert!(refused(|host| (host.proc, host.seccomp) = (false, false)).contains("seccomp"));
    assert!(refused(|host| host.overlay = false).contains("overlayfs"));
    let mut case = Case::new(Mode::Direct);
    (case.host.overlay, case.host.landlock) = (false, 0);
    let plan = case.plan().unwrap();
    assert_eq!(plan.degraded[0].name, "landlock");
    case.policy.commands = Some(Commands { allow: vec![] });
    assert!(case.plan().unwrap_err().part.contains("Landlock"));
    let mut case = Case::new(Mode::Direct);
    case.request.allow_degraded.insert("everything".into());
    assert!(case.plan().is_err());
}

#[test]
fn workspaces_that_cannot_be_one() {
    for path in ["/", "/etc", "/home/u", "/home"] {
        let mut case = Case::new(Mode::Direct);
        case.survey.workspace = place(path, 1000);
        assert!(case.plan().is_err(), "{path}");
    }
    let mut case = Case::new(Mode::Review);
    case.survey.workspace.kind = Kind::Special;
    assert!(case.plan().is_err());
    case = Case::new(Mode::Review);
    case.invoker.state = "/home/u/w/.state".into();
    assert!(case.plan().unwrap_err().remedy.contains("RINGFENCE_STATE"));
    case = Case::new(Mode::Review);
    case.invoker.cwd = "/srv".into();
    assert!(case.plan().unwrap_err().cause.contains("outside the workspace"));
    case.request.enter = true;
    assert_eq!(case.plan().unwrap().directory, Path::new("/home/u/w"));
}

#[test]
fn protected_paths_are_held_with_every_directory_above_them() {
    let mut case = Case::new(Mode::Direct);
    let path = PathBuf::from("/home/u/w/a/b/hooks");
    case.survey.protected = vec![Marked { path, kind: Kind::Directory, because: "x".into() }];
    let plan = case.plan().unwrap();
    let pins: Vec<_> = plan
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::Pin { path, flags } => Some((path.to_str().unwrap(), flags.read_only)),
            _ => None,
        })
        .collect();
    assert_eq!(pins, [("/home/u/w/a", false), ("/home/u/w/a/b", false), ("/home/u/w/a/b/hooks", true)]);
    // What does not exist cannot be held in a direct workspace.
    case.survey.absent_protected = vec![".github".into()];
    assert!(case.plan().unwrap_err().cause.contains(".github"));
    case.policy.workspace.mode = Mode::Review;
    assert!(case.plan().is_ok());
}

#[test]
fn only_what_shows_the_host_is_hidden_and_last() {
    let mut case = Case::new(Mode::Direct);
    let hide = |path: &str| Marked { path: path.into(), kind: Kind::File, because: "x".into() };
    case.survey.hidden =
        vec![hide("/home/u/w/.env"), hide("/home/u/.ssh/id"), hide("/usr/x"), hide("/srv/y")];
    let plan = case.plan().unwrap();
    let hidden: Vec<_> = plan
        .steps
        .iter()
        .filter_map(|step| if let Step::Hide { path, .. } = step { path.to_str() } else { None })
        .collect();
    assert_eq!(hidden, ["/home/u/w/.env", "/usr/x"]);
    let workspace = plan
        .steps
        .iter()
        .position(|step| matches!(step, Step::Bind { path, .. } if path == Path::new("/home/u/w")));
    assert!(
        workspace.is_some()
            && workspace < plan.steps.iter().position(|step| matches!(step, Step::Hide { .. }))
    );
}

#[test]
fn named_programs_alone_may_be_executed() {
    let mut case = Case::new(Mode::Review);
    case.policy.commands = Some(Commands { allow: vec![] });
    let file = |path: &str| Place { kind: Kind::File, ..place(path, 0) };
    case.survey.programs = vec![Program {
        name: "make".into(),
        origin: origin(),
        place: file("/usr/bin/make"),
        shared: false,
        loader: Some(Loader::Dynamic(file("/usr/lib/ld.so"))),
        interpreters: vec![],
        pinned: vec![],
        grantable: false,
    }];
    let plan = case.plan().unwrap();
    let binds = binds(&plan);
    assert!(binds.contains(&("/usr/bin".to_owned(), true, true)));
    assert!(binds.contains(&("/usr/bin/make".to_owned(), true, false)));
    let rules = &plan.landlock.as_ref().unwrap().rules;
    let execute: Vec<_> = rules
        .iter()
        .filter(|(right, _)| *right == Right::Execute)
        .map(|(_, path)| path.to_str().unwrap())
        .collect();
    assert_eq!(execute, ["/usr/bin/make", "/usr/lib/ld.so"]);
    assert_eq!(plan.guard, None);
    // The interpreter of a script is for that alone, which somebody must look at.
    case.survey.programs[0].loader = Some(Loader::Script("/usr/bin/sh".into()));
    case.survey.programs[0].interpreters = vec![Interpreter {
        place: file("/usr/bin/sh"),
        name: b"/bin/sh".to_vec(),
        loader: None,
        before: vec![],
    }];
    case.policy.commands = Some(Commands { allow: vec![Rule { value: "make".into(), origin: origin() }] });
    let plan = case.plan().unwrap();
    assert!(plan.landlock.unwrap().rules.contains(&(Right::Execute, "/usr/bin/sh".into())));
    let rules = plan.guard.unwrap();
    let ask = |file: &str, words: &[&str]| {
        let arguments: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let file = file.as_bytes();
        let execution =
            Execution { file, arguments: &arguments, directory: b"/", first: false, within: false };
        (rules.script(&execution).is_ok(), rules.judge(&execution, |path| Some(path.to_vec())).is_ok())
    };
    assert_eq!(ask("/usr/bin/make", &["make", "x"]), (true, true));
    assert_eq!(ask("/usr/bin/sh", &["/bin/sh", "/usr/bin/make", "x"]), (false, true));
    // Another name makes another program of it.
    assert_eq!(ask("/usr/bin/sh", &["sh", "/usr/bin/make", "x"]), (false, false));
    assert_eq!(ask("/usr/bin/sh", &["-sh", "/usr/bin/make", "x"]), (false, false));
    assert_eq!(ask("/usr/bin/sh", &["/tmp/bin/sh", "/usr/bin/make", "x"]), (false, false));
    assert_eq!(ask("/usr/bin/sh", &["sh", "/w/make"]), (false, false));
    assert_eq!(ask("/usr/bin/sh", &["sh", "-c", "/usr/bin/make"]), (false, false));
}

#[test]
fn the_workspace_is_executable_only_where_the_policy_says_so() {
    let executable = |from_workspace| {
        let mut case = Case::new(Mode::Direct);
        case.policy.from_workspace = from_workspace;
        let plan = case.plan().unwrap();
        let rule = (Right::Execute, PathBuf::from("/home/u/w"));
        let bind = binds(&plan).into_iter().find(|(path, ..)| path == "/home/u/w").unwrap();
        (plan.landlock.unwrap().rules.contains(&rule), !bind.2)
    };
    assert_eq!(executable(true), (true, true));
    assert_eq!(executable(false), (false, false));
}

#[test]
fn a_reader_and_a_program_can_read_it() {
    let plan = Case::new(Mode::Review).plan().unwrap();
    let text = plan.to_string();
    for part in
        ["tier        namespace", "overlay  /home/u/w", "bind     /usr ro", "landlock ABI 7", "system calls"]
    {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}

#[test]
fn paths_do_not_reach_a_terminal_raw() {
    let mut case = Case::new(Mode::Review);
    case.survey.read = vec![found("/data/\u{1b}[2J\u{202e}x")];
    let text = case.plan().unwrap().to_string();
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'));
}
