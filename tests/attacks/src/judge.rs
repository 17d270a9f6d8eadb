//! Judges every clause of a row against what was seen.

use std::fs;
use std::net::Ipv4Addr;
use std::net::SocketAddrV4;
use std::net::UdpSocket;
use std::path::Path;
use std::time::Duration;
use std::time::SystemTime;

use crate::Broken;
use crate::places::REPORT;
use crate::places::RunTokens;
use crate::table::Check;
use crate::table::Clause;
use crate::table::Row;
use crate::verdict::Report;
use crate::verdict::Verdict;
use crate::worker::Seen;
use crate::worker::World;

const HOST_LIMIT: f64 = 60.0;
/// Where the world's capture notes what no grant of a network row explains, and an address of its own for a sign of life.
const WIRE: &str = "/tmp/rf/wire.log";
const MARK: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 77), 9);

/// A clause that holds, one that does not (with what was seen), or one that cannot be judged here.
enum Judged {
    Holds,
    Fails(String),
    Skipped,
}

/// Goes through the clauses in their order.
pub(crate) fn report(world: &World, row: &Row, seen: Seen, control: bool) -> Result<Report, Broken> {
    let refused = matches!(seen.ended.exit, 125 | 126);
    // What tier `landlock` cannot hold it refuses whole, and says so.
    let beyond =
        world.hosted && seen.text.contains("tier \\`landlock\\`") | seen.text.contains("tier `landlock`");
    let said = row.may_refuse || beyond && seen.text.contains("error:");
    // A row that calls ringfence itself does so without root's leave.
    let without_leave =
        world.hosted && row.premise.on_host && seen.text.contains("--allow-degraded root-uid");
    let may_not_start = said && refused && !seen.text.trim().is_empty() || without_leave;
    let mut failed = Vec::new();
    let mut waiting = Vec::new();
    let mut verdict = Verdict::Held;
    if !seen.begun && !may_not_start {
        verdict = Verdict::NotJudged;
        let last = seen.text.trim().lines().next().unwrap_or("no message").to_owned();
        failed.push(format!("the attempt did not start (exit {}): {last}", seen.ended.exit));
    } else if seen.ended.timed_out && !control && !has_deadline(row) {
        verdict = Verdict::NotJudged;
        failed.push(format!("did not end within {:.0} s", seen.ended.seconds));
    } else {
        if !control && let Some(then) = &row.premise.then {
            world.shell(then, HOST_LIMIT, &seen.tokens)?;
        }
        for clause in &row.clauses {
            if let Some(stage) = &clause.stage {
                waiting.push(format!("{stage}: {}", clause.text));
                continue;
            }
            if world.hosted && !control && (may_not_start || clause.only_namespace) {
                continue;
            }
            if let Judged::Fails(why) = judge(world, clause, &seen, control)? {
                failed.push(format!("{} -> {why}", clause.text));
            }
        }
        failed.extend(seen.left);
        if !control && row.group == "network" {
            failed.extend(wire()?);
        }
        if !failed.is_empty() {
            verdict = Verdict::Through;
        }
    }
    let output = seen.text.chars().take(6000).collect();
    Ok(Report { id: row.id.clone(), verdict, why: failed, waiting, output, seconds: seen.ended.seconds })
}

fn has_deadline(row: &Row) -> bool {
    row.clauses.iter().any(|clause| matches!(clause.check, Check::Within(_)))
}

fn judge(world: &World, clause: &Clause, seen: &Seen, control: bool) -> Result<Judged, Broken> {
    let places = &world.places;
    Ok(match &clause.check {
        Check::Shows(text) => {
            let wanted = places.fill(text, &seen.tokens);
            unless(seen.text.contains(&wanted), || "not in the output".to_owned())
        }
        Check::Hides(text) => {
            let hidden = places.fill(text, &seen.tokens);
            let line = seen.text.lines().find(|line| line.contains(&hidden));
            line.map_or(Judged::Holds, |line| Judged::Fails(line.chars().take(200).collect()))
        }
        Check::ExitIs(wanted) => {
            unless(seen.ended.exit == *wanted, || format!("exit status {}", seen.ended.exit))
        }
        Check::ExitNotZero => unless(seen.ended.exit != 0, || "exit status 0".to_owned()),
        Check::Within(seconds) => {
            unless(seen.ended.seconds <= *seconds, || format!("{:.1} s", seen.ended.seconds))
        }
        Check::Host(script) if control && needs_ringfence(script) => Judged::Skipped,
        Check::Host(script) => {
            let mut ended = world.shell(script, HOST_LIMIT, &seen.tokens)?;
            // What reached the world's own servers is written down a moment later.
            let arrives = control && ["@SINK@", "@HITLOG@"].iter().any(|log| script.contains(log));
            for _ in 0..if arrives { 20 } else { 0 } {
                if ended.exit != 0 {
                    break;
                }
                std::thread::sleep(Duration::from_millis(100));
                ended = world.shell(script, HOST_LIMIT, &seen.tokens)?;
            }
            unless(ended.exit == 0, || {
                let text = ended.text();
                let shown: String = text.trim().chars().take(200).collect();
                if shown.is_empty() { format!("exit status {}", ended.exit) } else { shown }
            })
        }
        Check::During(script) => match seen.during.iter().find(|(known, _)| known == script) {
            Some((_, held)) => unless(*held, || "failed while the attempt ran".to_owned()),
            None => Judged::Fails("the attempt had ended before the look".to_owned()),
        },
        Check::Diff(_) | Check::Apply(_) if control => Judged::Skipped,
        Check::Diff(text) => {
            let ended = world.shell(&command("diff --stat", &seen.tokens), HOST_LIMIT, &seen.tokens)?;
            let shown = ended.text();
            let wanted = places.fill(text, &seen.tokens);
            unless(ended.exit == 0 && shown.contains(&wanted), || {
                format!("exit status {}: {}", ended.exit, shown.trim().chars().take(200).collect::<String>())
            })
        }
        Check::Apply(wanted) => apply(world, *wanted, &seen.tokens)?,
        Check::Event(..) if control => Judged::Skipped,
        Check::Event(kind, text) => event(world, kind, &places.fill(text, &seen.tokens), &seen.tokens),
        Check::ExitAny | Check::Note => Judged::Skipped,
    })
}

/// What went out that no grant explains: the capture is heard to be awake, and must have noted nothing else.
fn wire() -> Result<Option<String>, Broken> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.send_to(b"mark", MARK)?;
    let mark = format!("{} 17 {}", MARK.ip(), MARK.port());
    for _ in 0..200 {
        let log = fs::read_to_string(WIRE)?;
        if log.contains(&mark) {
            let other = log.lines().find(|line| *line != mark && !line.starts_with(&MARK.ip().to_string()));
            return Ok(other.map(|line| format!("a packet went out (address, protocol, port): {line}")));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(Some("the capture of the world's packets is blind".to_owned()))
}

/// In the log of the row's own run.
fn event(world: &World, kind: &str, text: &str, run: &RunTokens) -> Judged {
    let Some(id) = &run.id else { return Judged::Fails("there is no run".to_owned()) };
    let log = world.places.state().join("runs").join(id).join("events.jsonl");
    let log = fs::read_to_string(&log).unwrap_or_default();
    let kind = format!("\"kind\":\"{kind}\"");
    let found = log.lines().any(|line| line.contains(&kind) && line.contains(text));
    unless(found, || {
        let kinds = log.lines().filter_map(|line| line.split("\"kind\":\"").nth(1)?.split('"').next());
        format!("not in the record, which has {}", kinds.collect::<Vec<_>>().join(", "))
    })
}

fn apply(world: &World, wanted: Option<bool>, run: &RunTokens) -> Result<Judged, Broken> {
    // A refusal means something only if there is something to apply.
    let known = world.shell(&command("diff --stat", run), HOST_LIMIT, run)?;
    if known.exit != 0 {
        let said: String = known.text().trim().chars().take(120).collect();
        return Ok(Judged::Fails(format!("there is nothing to apply: {said}")));
    }
    let work = world.places.work();
    let before = crate::footprint::files(&work, &[]);
    let ended = world.shell(&command("apply", run), HOST_LIMIT, run)?;
    let said: String = ended.text().trim().chars().take(160).collect();
    if ended.exit != 0 {
        let changed = crate::footprint::changed(&before, &crate::footprint::files(&work, &[]));
        if !changed.is_empty() && wanted.is_some() {
            return Ok(Judged::Fails(format!("refused, yet it changed {}", changed.join(", "))));
        }
    }
    Ok(match wanted {
        Some(true) => unless(ended.exit == 0, || format!("exit status {}: {said}", ended.exit)),
        Some(false) => unless(ended.exit != 0, || "it was applied".to_owned()),
        None => Judged::Skipped,
    })
}

fn command(verb: &str, run: &RunTokens) -> String {
    let id = run.id.as_deref().unwrap_or_default();
    format!("@RF@ {verb} {id}")
}

fn needs_ringfence(script: &str) -> bool {
    script.contains("@RF@") || script.contains("@SBX@")
}

fn unless(holds: bool, why: impl FnOnce() -> String) -> Judged {
    if holds { Judged::Holds } else { Judged::Fails(why()) }
}

/// The id of the last run: from its report, else the newest directory among the recorded runs.
pub(crate) fn run_id(state: &Path) -> Option<String> {
    let report = fs::read_to_string(REPORT).ok();
    let value = report.and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
    let named = value.and_then(|value| {
        ["run", "id", "sandbox"].iter().find_map(|key| value.get(key)?.as_str().map(str::to_owned))
    });
    named.or_else(|| {
        let newest = newest(&state.join("runs"), &|path| path.is_dir(), 1)?;
        newest.file_name()?.to_str().map(str::to_owned)
    })
}

/// The newest log below the state directory.
pub(crate) fn newest_log(state: &Path) -> Option<String> {
    let found = newest(state, &|path| path.extension().is_some_and(|end| end == "jsonl"), 5)?;
    Some(found.display().to_string())
}

fn newest(root: &Path, wanted: &dyn Fn(&Path) -> bool, depth: usize) -> Option<std::path::PathBuf> {
    let mut best: Option<(SystemTime, std::path::PathBuf)> = None;
    let mut open = vec![(root.to_owned(), depth)];
    while let Some((directory, depth)) = open.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(data) = fs::symlink_metadata(&path) else { continue };
            if data.is_dir() && depth > 1 {
                open.push((path.clone(), depth - 1));
            }
            if let Ok(time) = data.modified()
                && wanted(&path)
                && best.as_ref().is_none_or(|(known, _)| time >= *known)
            {
                best = Some((time, path));
            }
        }
    }
    best.map(|(_, path)| path)
}
