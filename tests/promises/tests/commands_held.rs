//! Threads that are held at the end of their execve: whoever never comes there holds up nobody.

use ringfence_promises::Place;

/// Processes whose first thread fails to execve and ends while another lives: no wait tells of that.
const ZOMBIES: &str = r#"
import ctypes, os, threading, time
libc = ctypes.CDLL(None)
def one():
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    words = (ctypes.c_char_p * 2)(b"true", None)
    libc.syscall(59 if os.uname().machine == "x86_64" else 221, b"/usr/bin/true", words, ctypes.c_void_p(1))
    libc.syscall(60 if os.uname().machine == "x86_64" else 93, 0)
for n in range(70):
    if os.fork() == 0:
        one()
time.sleep(1)
child = os.fork()
if child == 0:
    os.execv("/usr/bin/true", ["true"])
for n in range(200):
    done, status = os.waitpid(child, os.WNOHANG)
    if done:
        break
    time.sleep(0.1)
print("started", status) if done else print("held up")
os.killpg(0, 9)
"#;

#[test]
fn who_never_comes_to_the_end_of_an_execve_holds_up_nobody() {
    let place = Place::new().in_tier(module_path!());
    place.write("zombies.py", ZOMBIES);
    let policy = "[commands]\ndeny = [\"curl\"]";
    let outcome = crate::commands::start(&place, policy, &["/usr/bin/python3", "-u", "zombies.py"]);
    assert_eq!(outcome.out, "started 0\n", "{outcome:?}");
}

/// One of them ends the others at the end of its execve; nothing that judges those may wait for that.
#[test]
fn threads_that_start_programs_at_once_hang_nobody_and_innocent_ones_live() {
    let place = Place::new().in_tier(module_path!());
    place.write("threads.c", include_str!("threads.c"));
    place.host("cc -O1 -pthread -o threads threads.c");
    let policy = "[commands]\ndeny = [\"curl\"]\nfrom_workspace = true\n[limits]\ntime = \"50s\"";
    for command in [&["60", "6", "0"][..], &["60", "1", "90"], &["60", "1", "90", "vfork"]] {
        let since = std::time::Instant::now();
        let outcome = crate::commands::start(&place, policy, &[&["./threads"], command].concat());
        assert_eq!(outcome.out, "60 well\n", "{command:?}: {outcome:?}");
        // Those that wait do so for longer.
        assert!(since.elapsed() < std::time::Duration::from_secs(30), "{command:?}: {:?}", since.elapsed());
    }
}

/// Who was let go and who has its number since are two: the second is looked at when it starts something.
#[test]
fn a_number_that_was_let_go_is_no_leave_for_who_has_it_next() {
    let place = Place::new().in_tier(module_path!());
    place.write("loose.c", include_str!("loose.c"));
    place.host("cc -O1 -pthread -o loose loose.c");
    let policy = "[commands]\nallow = [\"sh -c *\", \"printenv *\"]\nfrom_workspace = true";
    for others in ["40", "0"] {
        let since = std::time::Instant::now();
        let outcome = crate::commands::start(&place, policy, &["./loose", others]);
        assert_eq!(outcome.out, "", "beside {others}: {outcome:?}");
        assert!(since.elapsed() < std::time::Duration::from_secs(15), "{others}: {:?}", since.elapsed());
        let cleaned = place.told("exec.clean");
        assert!(
            cleaned.iter().any(|event| event.to_string().contains("PYTHONPATH")),
            "{cleaned:?} {outcome:?}"
        );
    }
}

/// Programs are told of a few at a time: in their order, before what is refused after them, and soon where nothing follows.
#[test]
fn what_starts_is_told_in_order_and_soon() {
    let place = Place::new().in_tier(module_path!());
    let script = "/usr/bin/true; /usr/bin/curl 2>/dev/null; /usr/bin/uname >/dev/null; sleep 4; /usr/bin/id >/dev/null";
    let policy = place.policy("[commands]\ndeny = [\"curl\"]");
    let arguments = ["run", "--quiet", "--policy", &policy, "--workspace", ".", "--", "sh", "-c", script];
    let mut run = place.command(&arguments).spawn().unwrap();
    let files = || -> Vec<String> {
        let kinds = ["process.start", "exec.deny"];
        let told =
            place.events().into_iter().filter(|event| kinds.contains(&event["kind"].as_str().unwrap()));
        told.map(|event| event["detail"]["file"].as_str().unwrap().rsplit('/').next().unwrap().to_owned())
            .collect()
    };
    let since = std::time::Instant::now();
    while !files().contains(&"sleep".to_owned()) {
        assert!(since.elapsed() < std::time::Duration::from_secs(20), "{:?}", files());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(!files().contains(&"id".to_owned()), "{:?}", files());
    assert!(run.wait().unwrap().success());
    assert_eq!(files(), ["dash", "true", "curl", "uname", "sleep", "id"]);
}

/// What started before the supervisor ended all of it is written down, whatever init had no time for.
#[test]
fn no_start_is_lost_when_a_limit_ends_the_run() {
    let place = Place::new().in_tier(module_path!());
    let script = "i=0; while :; do i=$((i+1)); /usr/bin/true $i; echo $i; done";
    let policy = "[commands]\ndeny = [\"nosuchprogram-x?\"]\n[limits]\ntime = \"1s\"";
    let mut printed = 0;
    for _ in 0..6 {
        let outcome = crate::commands::start(&place, policy, &["bash", "-c", script]);
        printed += outcome.out.lines().last().unwrap().parse::<usize>().unwrap();
    }
    let starts = place.told("process.start");
    let starts = starts.iter().filter(|event| event["file"].as_str().unwrap().ends_with("/true")).count();
    assert!(starts >= printed && printed > 30, "{printed} were printed, {starts} are written down");
}

/// Nor is an end: of what somebody killed just before the command ended, and of what that left.
#[test]
fn each_start_has_its_end() {
    let place = Place::new().in_tier(module_path!());
    let script = "for i in $(seq 300); do /bin/sleep 100 & done; sleep 1; kill -9 $(jobs -p); /bin/sleep 100 & sleep 1; exit 0";
    let outcome =
        crate::commands::start(&place, "[commands]\ndeny = [\"nosuchprogram-x?\"]", &["bash", "-c", script]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let [starts, ends] = ["process.start", "process.end"].map(|kind| place.told(kind).len());
    assert!(starts == ends && starts > 200, "{starts} starts, {ends} ends");
}
