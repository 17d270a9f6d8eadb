//! Secrets that programs are handed in forms of their own, and what only looks like one.

use super::masked;

fn shown(words: &[&str]) -> Vec<String> {
    masked(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
}

/// In words, and in a script.
fn says(line: &str, expected: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!(shown(&words).join(" "), expected);
    let script = format!("true && {line}; ls");
    assert_eq!(shown(&["sh", "-c", &script])[2], format!("true && {expected}; ls"));
}

#[test]
fn a_key_in_the_place_of_a_user_is_one() {
    for (line, expected) in [
        ("curl -u sk_live_abcdef123456: h", "curl -u ***: h"),
        ("curl -uSeCrEt99: h", "curl -u***: h"),
        ("curl --user=SeCrEt99: h", "curl --user=***: h"),
        ("curl -u 0a1b2c3d4e:api_token h", "curl -u ***:*** h"),
        ("curl -u 0a1b2c3d4e:X h", "curl -u ***:*** h"),
        ("http -a SeCrEt99: h", "http -a ***: h"),
        ("curl -u name h", "curl -u name h"),
        ("curl -u root: h", "curl -u root: h"),
        ("curl -u me@host.example: h", "curl -u me@host.example: h"),
        ("curl -u me:X h", "curl -u me:*** h"),
        ("curl -E cert2024: h", "curl -E cert2024: h"),
        (
            "git ls-remote https://SeCrEt99:x-oauth-basic@github.com/a/b",
            "git ls-remote https://***:***@github.com/a/b",
        ),
        (
            "git remote-https origin https://SeCrEt99:x-oauth-basic@github.com/a/b",
            "git remote-https origin https://***:***@github.com/a/b",
        ),
        (
            "git clone https://k3jd83hdk29dkw93kdls02kdl29dk3jd83hdk29dkw93kdls02kd@dev.azure.com/x",
            "git clone https://***@dev.azure.com/x",
        ),
        (
            "pip install --extra-index-url https://Zx9k3jd83hdk29dk@h/s x",
            "pip install --extra-index-url https://***@h/s x",
        ),
        ("pip install -i https://SeCrEt99:@h/s x", "pip install -i https://***:@h/s x"),
        (
            "git -c url.https://SeCrEt99:x-oauth-basic@github.com/.insteadOf=https://github.com/ fetch",
            "git -c url.https://***:***@github.com/.insteadOf=https://github.com/ fetch",
        ),
        ("git clone https://x-access-token:SeCrEt99@h/x", "git clone https://x-access-token:***@h/x"),
        ("git clone https://acme@dev.azure.com/x", "git clone https://acme@dev.azure.com/x"),
        ("git clone ssh://git@h/x", "git clone ssh://git@h/x"),
        ("curl https://first.last2024@h/x", "curl https://first.last2024@h/x"),
    ] {
        says(line, expected);
    }
}

/// What a shell would start is not masked.
#[test]
fn parameters_that_a_shell_reads_are_shown() {
    for script in
        ["x=https://a&sid=id;$sid", "x=http://a;k=x?&pass=id;${pass}", "true https://a&code=id&&$code"]
    {
        assert_eq!(shown(&["sh", "-c", script])[2], script);
    }
    assert_eq!(shown(&["curl", "https://a/?sid=id&x=$y"])[1], "https://a/?sid=***&x=$y");
    let hook = "https://HOOKS.slack.com/services/T0/B0/xyz";
    assert_eq!(shown(&["curl", hook])[1], "https://HOOKS.slack.com/services/T0/B0/***");
}

#[test]
fn what_stands_behind_an_equals_sign_is_the_password_only_where_that_was_said() {
    for (statement, expected) in [
        ("alter database key set libraries = 'evil'", "alter database key set libraries = 'evil'"),
        (
            "create view v as select * from u where password is null and name = 'alice'",
            "create view v as select * from u where password is null and name = 'alice'",
        ),
        ("create login a with password = N'Secret1'", "create login a with password = N'***'"),
        ("alter user a password E'abc'", "alter user a password E'***'"),
        ("set password for root@localhost = 'abc'", "set password for root@localhost = '***'"),
    ] {
        assert_eq!(shown(&["psql", "-c", statement])[2], expected);
    }
}

#[test]
fn signatures_and_addresses_that_are_secrets_are_masked() {
    for (line, expected) in [
        (
            "curl https://h/?X-Amz-Credential=AK/2024/s3&X-Amz-Security-Token=a&X-Amz-Signature=fe5f80",
            "curl https://h/?X-Amz-Credential=AK/2024/s3&X-Amz-Security-Token=***&X-Amz-Signature=***",
        ),
        ("curl https://h/a?X-Goog-Signature=a&sig=b", "curl https://h/a?X-Goog-Signature=***&sig=***"),
        (
            "curl https://hooks.slack.com/services/T01/B01/SeCrEt99",
            "curl https://hooks.slack.com/services/T01/B01/***",
        ),
        (
            "curl https://hooks.slack.com/triggers/T01/2/SeCrEt99",
            "curl https://hooks.slack.com/triggers/T01/2/***",
        ),
        (
            "curl https://discord.com/api/webhooks/1234/SeCrEt99?wait=true",
            "curl https://discord.com/api/webhooks/1234/***?wait=true",
        ),
        (
            "curl https://discord.com/api/v10/webhooks/1/SeCrEt99",
            "curl https://discord.com/api/v10/webhooks/1/***",
        ),
        (
            "curl https://acme.webhook.office.com/webhookb2/a@b/IncomingWebhook/c/d",
            "curl https://acme.webhook.office.com/webhookb2/***",
        ),
        ("curl https://api.telegram.org/bot12:SeCrEt99/getMe", "curl https://api.telegram.org/bot***/getMe"),
        (
            "env A=https://hooks.slack.com/services/a/b/SeCrEt99 x",
            "env A=https://hooks.slack.com/services/a/b/*** x",
        ),
        ("https://hooks.slack.com/services/a/b/evil", "https://hooks.slack.com/services/a/b/evil"),
        (
            "env https://hooks.slack.com/services/a/b/evil x",
            "env https://hooks.slack.com/services/a/b/evil x",
        ),
        (
            "nice --nobody-knows https://hooks.slack.com/services/a/b/evil",
            "nice --nobody-knows https://hooks.slack.com/services/a/b/evil",
        ),
        (
            "bash -x https://hooks.slack.com/services/a/b/evil",
            "bash -x https://hooks.slack.com/services/a/b/evil",
        ),
        ("curl https://hooks.slack.com/services", "curl https://hooks.slack.com/services"),
        ("curl https://discord.com/api/users/1234/x", "curl https://discord.com/api/users/1234/x"),
        (
            "curl https://hooks.slack.com.x.example/services/a/b/c",
            "curl https://hooks.slack.com.x.example/services/a/b/c",
        ),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(shown(&words).join(" "), expected);
    }
    says(
        "curl -d a https://hooks.slack.com/services/T01/B01/SeCrEt99",
        "curl -d a https://hooks.slack.com/services/T01/B01/***",
    );
    for script in [
        "true; https://hooks.slack.com/services/a/b/evil",
        "A=https://hooks.slack.com/services/a/b/evil; $A",
        "run() { \"$1\"; }; run https://hooks.slack.com/services/a/b/evil",
    ] {
        assert_eq!(shown(&["sh", "-c", script])[2], script);
    }
}

#[test]
fn options_and_variables_of_such_names_hold_secrets() {
    for (line, expected) in [
        (
            "skopeo copy --src-creds u:secretpw --dest-creds=u:secretpw a b",
            "skopeo copy --src-creds u:*** --dest-creds=u:*** a b",
        ),
        ("skopeo inspect --creds u:secretpw a", "skopeo inspect --creds u:*** a"),
        ("podman pull --creds u:secretpw a", "podman pull --creds u:*** a"),
        ("osslsigncode sign -pass secretpw -in x", "osslsigncode sign -pass *** -in x"),
        ("prog --pwd secretpw x", "prog --pwd *** x"),
        ("prog --pwd=secretpw x", "prog --pwd=*** x"),
        ("prog --db-pwd=secretpw x", "prog --db-pwd=*** x"),
        ("prog --pwd /srv/x --pwd=./y", "prog --pwd /srv/x --pwd=./y"),
        (
            "env PASS=a SIGNING_KEY=b ENCRYPTION_KEY=c CREDENTIALS=d PW=e x",
            "env PASS=*** SIGNING_KEY=*** ENCRYPTION_KEY=*** CREDENTIALS=*** PW=*** x",
        ),
        (
            "env PWD=x COMPASS=n GOOGLE_APPLICATION_CREDENTIALS=key.json y",
            "env PWD=x COMPASS=n GOOGLE_APPLICATION_CREDENTIALS=key.json y",
        ),
    ] {
        says(line, expected);
    }
    for script in ["PASS=rm; $PASS -rf x", "PW=evil; if true; then $PW; fi", "alias pass=evil\npass x"] {
        assert_eq!(shown(&["sh", "-c", script])[2], script);
    }
}

#[test]
fn passwords_in_statements_are_masked() {
    for (words, expected) in [
        ("psql·-c·ALTER USER a PASSWORD 'X y'", "psql·-c·ALTER USER a PASSWORD '***'"),
        (
            "psql·-Atc·create role a with login password 'X'",
            "psql·-Atc·create role a with login password '***'",
        ),
        (
            "psql·--command=ALTER ROLE a ENCRYPTED PASSWORD 'X'; select 'b'",
            "psql·--command=ALTER ROLE a ENCRYPTED PASSWORD '***'; select 'b'",
        ),
        (
            "sudo·-u·postgres·psql·-c·ALTER USER a PASSWORD 'X'",
            "sudo·-u·postgres·psql·-c·ALTER USER a PASSWORD '***'",
        ),
        (
            "mysql·-e·CREATE USER a IDENTIFIED BY 'X'; GRANT ALL ON b TO c IDENTIFIED BY 'Y'",
            "mysql·-e·CREATE USER a IDENTIFIED BY '***'; GRANT ALL ON b TO c IDENTIFIED BY '***'",
        ),
        (
            "mysql·-e·ALTER USER 'a'@'h' IDENTIFIED WITH p BY 'X'",
            "mysql·-e·ALTER USER 'a'@'h' IDENTIFIED WITH p BY '***'",
        ),
        (
            "mysql·-e·SET PASSWORD FOR 'a'@'h' = PASSWORD('X')",
            "mysql·-e·SET PASSWORD FOR 'a'@'h' = PASSWORD('***')",
        ),
        ("mysql·-e·set password='X'", "mysql·-e·set password='***'"),
        ("sqlcl·x", "sqlcl·x"),
        ("usql·-c·alter user a identified by tiger", "usql·-c·alter user a identified by ***"),
        ("sqlite3·db·PRAGMA key='X'", "sqlite3·db·PRAGMA key='***'"),
        (
            "psql·-c·ALTER USER a PASSWORD 'it''s X' VALID UNTIL '2026'",
            "psql·-c·ALTER USER a PASSWORD '***''***' VALID UNTIL '2026'",
        ),
        (
            "bash·-c·psql -c \"ALTER USER a PASSWORD 'X'\"; ls",
            "bash·-c·psql -c \"ALTER USER a PASSWORD '***'\"; ls",
        ),
        // What is none, and what may be run.
        ("psql·-c·select 'password', 'X'", "psql·-c·select 'password', 'X'"),
        ("psql·-c·ALTER USER a PASSWORD NULL", "psql·-c·ALTER USER a PASSWORD NULL"),
        ("psql·-c·\\! env -u PASSWORD 'evil'", "psql·-c·\\! env -u PASSWORD 'evil'"),
        (
            "mysql·-e·alter user a \\! env -u PASSWORD 'evil'",
            "mysql·-e·alter user a \\! env -u PASSWORD 'evil'",
        ),
        ("mysql·-e·set x\nsystem env -u PASSWORD 'evil'", "mysql·-e·set x\nsystem env -u PASSWORD 'evil'"),
        ("sqlite3·db·.shell env -u PASSWORD 'evil'", "sqlite3·db·.shell env -u PASSWORD 'evil'"),
        (
            "psql·-c·create function f() as $$ run password 'evil' $$",
            "psql·-c·create function f() as $$ run password 'evil' $$",
        ),
        ("sudo·-p·create PASSWORD 'evil it'", "sudo·-p·create PASSWORD 'evil it'"),
        ("bash·-c·alter user a password 'evil'", "bash·-c·alter user a password 'evil'"),
    ] {
        let words: Vec<&str> = words.split('·').collect();
        assert_eq!(shown(&words).join("·"), expected);
    }
}

#[test]
fn what_a_program_starts_is_called_whichever_program_that_is() {
    for (line, expected) in [
        ("find . -name x -exec mysql -psecretpw {} ;", "find . -name x -exec mysql -p*** {} ;"),
        (
            "find . -exec env A=b curl -u a:secretpw {} + -print",
            "find . -exec env A=b curl -u a:*** {} + -print",
        ),
        (
            "find . -execdir true ; -ok redis-cli -a secretpw ; -printf x",
            "find . -execdir true ; -ok redis-cli -a *** ; -printf x",
        ),
        ("taskset 1 mysql -psecretpw", "taskset 1 mysql -p***"),
        ("taskset -ac 0,1 mysql -psecretpw", "taskset -ac 0,1 mysql -p***"),
        ("chrt -f 1 mysql -psecretpw", "chrt -f 1 mysql -p***"),
        ("prlimit --nofile=1 -n5 --core mysql -psecretpw", "prlimit --nofile=1 -n5 --core mysql -p***"),
        ("setpriv --reuid 1 --clear-groups mysql -psecretpw", "setpriv --reuid 1 --clear-groups mysql -p***"),
        ("chroot --userspec=a:b /x mysql -psecretpw", "chroot --userspec=a:b /x mysql -p***"),
        ("strace -f -o x -u root mysql -psecretpw", "strace -f -o x -u root mysql -p***"),
        ("ltrace -f mysql -psecretpw", "ltrace -f mysql -p***"),
        ("watch -n 1 mysql -psecretpw", "watch -n 1 mysql -p***"),
        ("runuser -u x -- mysql -psecretpw", "runuser -u x -- mysql -p***"),
        ("systemd-run --user -q -p A=b mysql -psecretpw", "systemd-run --user -q -p A=b mysql -p***"),
        ("parallel -j 2 mysql -psecretpw ::: a", "parallel -j 2 mysql -p*** ::: a"),
        ("firejail mysql -psecretpw", "firejail mysql -p***"),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(shown(&words).join(" "), expected);
    }
    for line in [
        "find . -exec mysql -e q ; -printf x",
        "find . -exec sh -pevil ;",
        "find . -name mysql -prune",
        "taskset -p mysql -pevil",
        "strace -u mysql sh -pevil",
        "prlimit --pid mysql sh -pevil",
        "chroot mysql sh -pevil",
        "watch -n mysql sh -pevil",
        "setpriv --nobody-knows mysql -pevil",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(shown(&words).join(" "), line);
    }
}

/// What says where a secret lies holds none, and options that have one asked for take nothing.
#[test]
fn what_only_names_a_secret_is_shown() {
    for line in [
        "docker build --secret id=k,src=/home/u/.ssh/id_rsa .",
        "docker build --secret type=env,id=k .",
        "podman run --secret mysecret,target=/etc/cron.d/x img",
        "ansible-playbook --ask-vault-password evil.yml",
        "cryptsetup --verify-passphrase luksFormat /dev/sda",
    ] {
        says(line, line);
    }
    for (line, expected) in [
        ("app --private_key hunter2abc", "app --private_key ***"),
        ("env SECRET_KEY_BASE=hunter2abc app", "env SECRET_KEY_BASE=*** app"),
        ("env PRIVATE_KEY=0x4c0883a69102 app", "env PRIVATE_KEY=*** app"),
        ("app --secret hunter2abc", "app --secret ***"),
        ("app --token id=hunter2abc", "app --token ***"),
        ("app --verify-token hunter2abc", "app --verify-token ***"),
        ("app --secret id=k3jd83hdk29dkw93kdls02kdl29dk3jd83", "app --secret ***"),
    ] {
        says(line, expected);
    }
}

#[test]
fn long_ones_are_read_in_time_that_grows_with_them() {
    let begun = std::time::Instant::now();
    for part in [
        "https://a:x@",
        "https://hooks.slack.com/services/",
        "://",
        "https://h/?X-Amz-Signature=",
        "alter user a password 'x';",
        "alter ' ",
        "password ",
        "identified by ",
        "credentials=a.json,",
        "--pwd a ",
    ] {
        let long = part.repeat(200_000 / part.len());
        let _ = shown(&["psql", "-c", &long]);
        let _ = shown(&["curl", "-u", &long]);
    }
    let _ = shown(&["find", "-exec"].repeat(100_000));
    let _ = shown(&["find", "-exec", "mysql", "-pa", ";"].repeat(40_000));
    let _ = shown(&["watch", "strace", "chrt", "1"].repeat(50_000));
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}
