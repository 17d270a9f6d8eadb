use super::*;

#[test]
fn secrets_are_not_written_down() {
    let line =
        "x --token abc --password=hunter2 -H Authorization:Bearer API_TOKEN=q https://u:p@h/x?y a=b --auth";
    let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let expected =
        "x --token *** --password=*** -H Authorization:*** API_TOKEN=*** https://u:***@h/x?y a=b --auth";
    assert_eq!(masked(&words).join(" "), expected);
    let line = "timeout 5 /usr/bin/curl -su me:pw --user=me:pw --us me:pw -Ume:pw --proxy-user=me:pw -b session=x -bs=x --cookie=s=x https://h/x?a=b&api_key=q&Key=x&key=$(id)#access_token=q -d u:p";
    let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let expected = "timeout 5 /usr/bin/curl -su me:*** --user=me:*** --us me:*** -Ume:*** --proxy-user=me:*** -b session=*** -bs=*** --cookie=s=*** https://h/x?a=b&api_key=***&Key=***&key=$(id)#access_token=*** -d u:p";
    assert_eq!(masked(&words).join(" "), expected);
    let token = "ghp_aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vW1xY2";
    let script = format!("curl {token} 'x={token}' https://{token}@host/x y");
    let shown = masked(&["sh".into(), "-c".into(), script, token.into()]);
    assert!(shown.iter().all(|word| !word.contains("aB3dE5fG7")), "{shown:?}");
    assert!(shown[2].starts_with("curl xxxx") && shown[2].ends_with(" y"), "{shown:?}");
}

#[test]
fn of_a_script_secrets_are_hidden_and_what_it_runs_is_not() {
    for (script, expected) in [
        ("API_TOKEN=abc make deploy && git push", "API_TOKEN=*** make deploy && git push"),
        ("alias auth=poweroff\nauth -f", "alias auth=poweroff\nauth -f"),
        ("TOKEN=rm B_TOKEN=-rf; $TOKEN $B_TOKEN src", "TOKEN=rm B_TOKEN=-rf; $TOKEN $B_TOKEN src"),
        ("TOKEN=rm; if true; then \"${TOKEN}\" x; fi", "TOKEN=rm; if true; then \"${TOKEN}\" x; fi"),
        ("TOKEN=6f1ed002ab5595859014ebf0951522d9; $CURL -H $TOKEN", "TOKEN=***; $CURL -H $TOKEN"),
        ("TOKEN=abc; curl -H \"$TOKEN\" h", "TOKEN=***; curl -H \"$TOKEN\" h"),
        ("npm pkg set scripts.auth=evil", "npm pkg set scripts.auth=evil"),
        (
            "AWS_SECRET_ACCESS_KEY=a DB_PASS=b MYSQL_PWD=c x",
            "AWS_SECRET_ACCESS_KEY=*** DB_PASS=*** MYSQL_PWD=*** x",
        ),
        ("curl --anyauth https://x.example/up", "curl --anyauth https://x.example/up"),
        ("id --token /abc+Zx81kQp0aLw93RtYbn47Vd/def", "id --token ***"),
        ("id --token /usr/bin/id", "id --token /usr/bin/id"),
        ("x --token \\ abc; y", "x --token \\ ***; y"),
        ("API_TOKEN=$(cat t) make deploy", "API_TOKEN=$(cat t) make deploy"),
        ("DB_PASSWORD=abc${X:-} make", "DB_PASSWORD=***${X:-} make"),
        ("x; export SECRET=abc; y", "x; export SECRET=***; y"),
        ("X_TOKEN=a;./evil;: && make", "X_TOKEN=***;./evil;: && make"),
        ("x_token=$(touch${IFS}y)\nx", "x_token=$(touch${IFS}y)\nx"),
        (
            "curl -H 'Authorization: Bearer abc' --token x y",
            "curl -H 'Authorization: Bearer ***' --token *** y",
        ),
        ("curl -H \"Authorization: Bearer $(./evil)\" y", "curl -H \"Authorization: Bearer $(./evil)\" y"),
        ("curl -d 'password=a b' h", "curl -d 'password=*** b' h"),
        ("curl -d \"user=x&password=hunter2&t=$(date)\" h", "curl -d \"user=x&password=***&t=$(date)\" h"),
        ("PASSWORD='a;b c' make", "PASSWORD='***;b c' make"),
        ("PASSWORD=a\\ b make", "PASSWORD=***\\ b make"),
        ("x --token \\\n  abc y", "x --token \\\n  *** y"),
        ("x --token \"a b\" y", "x --token \"*** b\" y"),
        ("x --token; ./evil it", "x --token; ./evil it"),
        ("x --no-auth y", "x --no-auth y"),
        ("Fix the auth: it fails with no-auth", "Fix the auth: it fails with no-auth"),
        ("echo auth: >/dev/null|./evil it", "echo auth: >/dev/null|./evil it"),
        (": auth:\ntouch x\n: --token\n./run it", ": auth:\ntouch x\n: --token\n./run it"),
        ("Authorization: Basic abc", "Authorization: Basic ***"),
        ("auth: x; ./evil it", "auth: ***; ./evil it"),
        ("X-Api-Key: ä ö ü", "X-Api-Key: ***"),
        ("passwort=ü token=äö ß", "passwort=ü token=*** ß"),
        ("PASSWORD=\\ä x \\", "PASSWORD=\\ä x \\"),
        ("token=", "token="),
        ("token='", "token='"),
        ("curl -H 'Cookie: a=b; PHPSESSID=c; PATH=d'", "curl -H 'Cookie: a=***; PHPSESSID=***; PATH=d'"),
        ("curl -H 'X-Auth-Token: 6f1ed002ab5595859014ebf0951522d9' h", "curl -H 'X-Auth-Token: ***' h"),
        ("npm --//x.example/:_authToken=abc i", "npm --//x.example/:_authToken=*** i"),
        ("x -secret 6f1ed002ab5595859014ebf0951522d9", "x -secret ***"),
        ("TOKEN=a'b'\"c\" x", "TOKEN=***'***'\"***\" x"),
    ] {
        assert_eq!(scan(script, 0, None), expected, "{script}");
    }
}

#[test]
fn what_a_shell_would_run_is_shown_in_every_word() {
    let token = "6f1ed002ab5595859014ebf0951522d9";
    for (words, expected) in [
        ("sh·-c·x-token=a;./evil", "sh·-c·x-token=***;./evil"),
        ("sh·-c·X_TOKEN=$(id)", "sh·-c·X_TOKEN=$(id)"),
        ("sh·-c·TOKEN:a|b", "sh·-c·TOKEN:***|b"),
        ("bash·-c·-auth·evil it", "bash·-c·-auth·evil it"),
        ("bash·-secret·evil", "bash·-secret·evil"),
        ("csh·--secret·evil it", "csh·--secret·evil it"),
        ("csh·-x·--secret·evil it", "csh·-x·--secret·evil it"),
        ("python3·-I·x.py·--token·abc", "python3·-I·x.py·--token·***"),
        ("env·-uauth·evil", "env·-uauth·evil"),
        ("sudo·-password·evil", "sudo·-password·evil"),
        ("x·--auth·a; evil", "x·--auth·***; evil"),
        ("x·--auth·$(evil)", "x·--auth·$(evil)"),
        ("x·--auth·./evil it", "x·--auth·./evil it"),
        ("x·--auth·-c·evil", "x·--auth·-c·evil"),
        ("gpg·--passphrase·correct horse battery", "gpg·--passphrase·***"),
        ("bash·-c·-b·x=1;./evil·curl", "bash·-c·-b·x=1;./evil·curl"),
        ("bash·-c·-b·./evil=x·curl", "bash·-c·-b·./evil=x·curl"),
        ("bash·-c·-u·x:$(evil)·curl", "bash·-c·-u·x:$(evil)·curl"),
        ("git·-c·alias.auth=!evil·auth", "git·-c·alias.auth=!evil·auth"),
        ("x://u:$(evil)@h", "x://u:$(evil)@h"),
        ("x://u:a`evil`@h", "x://u:***`evil`@h"),
        ("x://u:a;evil&b|c@h", "x://u:***;evil&b|c@h"),
        ("https://h/?key=a;evil&sig=b", "https://h/?key=***;evil&sig=***"),
        ("X_TOKEN=<(evil)", "X_TOKEN=<(evil)"),
        ("API_TOKEN=a>~/.x", "API_TOKEN=***>~/.x"),
    ] {
        let words: Vec<String> = words.split('·').map(str::to_owned).collect();
        assert_eq!(masked(&words).join("·"), expected);
    }
    let shown = masked(&["bash".into(), "-token".into(), token.into(), format!("x --auth {token}")]);
    assert_eq!(shown.join(" "), "bash -token *** x --auth ***");
    // Quotes that are none, and such as end where one might think that they begin.
    for script in [
        "true \\' TOKEN='; ./evil; '",
        "true $'\\' TOKEN='; ./evil; '",
        "# don't\n: 'TOKEN='; ./evil; ''",
        "echo 'a\\' TOKEN=x; ./evil '",
        "env 'a= 'auth: ./evil ''",
        "env 'a'auth:x=$y ./evil",
        "env A='--token' ./evil",
        "env A=x\\ --token evil",
        "sh -c 'auth: $x; ./evil it'",
        "sh -c \"sh -c 'auth: ;./evil it'\"",
        "eval TOKEN=\\;./evil",
        "${X_TOKEN:-./evil}",
        "${X_TOKEN:=evil}",
        "env {TOKEN=,evil}",
        "env {\"TOKEN=\",evil}",
    ] {
        assert!(masked(&[script.into()]).concat().contains("evil"), "{script}");
    }
}

#[test]
fn no_mask_lies_on_what_a_shell_acts_upon() {
    let parts = [
        "TOKEN",
        "=",
        ":",
        " ",
        "'",
        "\"",
        "\\",
        "$",
        "(",
        ")",
        "{",
        "}",
        ";",
        "|",
        "&",
        "<",
        ">",
        "`",
        "\n",
        "a",
        "/",
        "--token",
        "-auth",
        "auth: ",
        "Authorization: Bearer ",
        "cookie: a=b; sid=",
        "https://u:",
        "mysql -p",
        "curl -u a:",
        "-H 'X-Api-Key: ",
        "<<E\n",
        "#",
        "@",
        "?key=",
        "#",
        ",",
    ];
    let acts = |text: &str| -> String {
        text.chars().filter(|letter| "'\"\\$(){};|&<>`\n".contains(*letter)).collect()
    };
    let mut state = 7_u64;
    let mut pick = |most: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(state >> 40).unwrap() % most
    };
    for _ in 0..20_000 {
        let word = |pick: &mut dyn FnMut(usize) -> usize| -> String {
            (0..pick(14)).map(|_| parts[pick(parts.len())]).collect()
        };
        let first = ["curl", "sh", "-b", "-u", "--token", "-auth", "x"][pick(7)].to_owned();
        let words = vec!["curl".to_owned(), first, word(&mut pick), word(&mut pick)];
        for (word, shown) in words.iter().zip(masked(&words)) {
            assert_eq!(acts(word), acts(&shown), "{word:?} {shown:?}");
        }
    }
}

#[test]
fn options_of_commands_in_a_script_are_masked_as_those_of_a_command() {
    for (script, expected) in [
        ("curl -u me:secretpw https://h", "curl -u me:*** https://h"),
        ("cd x && curl -sume:secretpw h | sh", "cd x && curl -sume:*** h | sh"),
        ("mysql -psecretpw db; ls", "mysql -p*** db; ls"),
        ("mysql -p'secret pw' db", "mysql -p'***' db"),
        ("A=b mysql -u x '-psecretpw' db", "A=b mysql -u x '-p***' db"),
        ("mysql -u x -p db", "mysql -u x -p db"),
        ("sshpass -p secretpw ssh -p 22 h", "sshpass -p *** ssh -p 22 h"),
        ("curl -H 'X-Api-Key: secretpw' h", "curl -H 'X-Api-Key: ***' h"),
        ("curl -H 'X-Api-Key: secret pw' h", "curl -H 'X-Api-Key: ***' h"),
        ("curl -H\"X-Api-Key: secretpw\" h", "curl -H\"X-Api-Key: ***\" h"),
        ("curl -H \"X-Api-Key: $KEY\" h", "curl -H \"X-Api-Key: $KEY\" h"),
        ("curl -sb 'a=secretpw; b=c' h x", "curl -sb 'a=***; b=c' h x"),
        ("curl --header 'Cookie: a=secretpw' h x", "curl --header 'Cookie: a=***' h x"),
        ("redis-cli -a secretpw get k", "redis-cli -a *** get k"),
        (
            "docker login -u me -p secretpw r; docker run -p 80:80 x",
            "docker login -u me -p *** r; docker run -p 80:80 x",
        ),
        ("ssh h \"mysql -psecretpw -e 'show'\"", "ssh h \"mysql -p*** -e 'show'\""),
        ("ssh h 'sh -c \"mysql -psecretpw\" x'", "ssh h 'sh -c \"mysql -p***\" x'"),
        ("x=$(curl -u me:secretpw h) y", "x=$(curl -u me:*** h) y"),
        ("echo \"$(curl -u me:secretpw h)\" y", "echo \"$(curl -u me:*** h)\" y"),
        ("ssh h <<'E'\nmysql -psecretpw\nE\nls", "ssh h <<'E'\nmysql -p***\nE\nls"),
        ("cat <<E\ndon't\nE\nmysql -psecretpw", "cat <<E\ndon't\nE\nmysql -p***"),
        ("# don't\nmysql -psecretpw", "# don't\nmysql -p***"),
        (
            "curl -u me:secretpw 2>&1 >f h; mysql 2>/dev/null -psecretpw",
            "curl -u me:*** 2>&1 >f h; mysql 2>/dev/null -p***",
        ),
        ("openssl rsa -passin pass:secretpw -in k", "openssl rsa -passin pass:*** -in k"),
        ("curl -u me:a;./evil it", "curl -u me:***;./evil it"),
        ("curl -u me:\\\nsecret h", "curl -u me:\\\n*** h"),
    ] {
        assert_eq!(masked(&["bash".into(), "-c".into(), script.into()])[2], expected, "{script}");
    }
    let words = |line: &str| -> Vec<String> { line.split(' ').map(str::to_owned).collect() };
    for (line, expected) in [
        ("mysql -psecretpw db", "mysql -p*** db"),
        ("timeout 5 sshpass -psecretpw ssh h -pevil", "timeout 5 sshpass -p*** ssh h -pevil"),
        ("unzip -P secretpw x.zip", "unzip -P *** x.zip"),
    ] {
        assert_eq!(masked(&words(line)).join(" "), expected);
    }
}

#[test]
fn headers_and_json_are_masked_wherever_a_word_has_them() {
    for (line, expected) in [
        (
            "git·-c·http.extraHeader=Authorization: Basic dXNlcjpw·push",
            "git·-c·http.extraHeader=Authorization: Basic ***·push",
        ),
        (
            "git·-c·http.https://github.com/.extraheader=AUTHORIZATION: basic dXNlcjpw·fetch",
            "git·-c·http.https://github.com/.extraheader=AUTHORIZATION: basic ***·fetch",
        ),
        ("wget·--header=Authorization: Bearer secretpw·h", "wget·--header=Authorization: Bearer ***·h"),
        ("wget·--header=X-Api-Key: secret pw·h", "wget·--header=X-Api-Key: ***·h"),
        ("wget·--header=Cookie: a=secretpw; b=c·h", "wget·--header=Cookie: a=***; b=c·h"),
        ("wget·--header=Accept: text/html·h", "wget·--header=Accept: text/html·h"),
        (
            "env·GIT_CONFIG_VALUE_0=Authorization: Basic 6f1ed002ab5595859014ebf0951522d9·git",
            "env·GIT_CONFIG_VALUE_0=Authorization: Basic ***·git",
        ),
        ("curl·-d·{\"password\":\"secretpw\"}·h", "curl·-d·{\"password\":\"***\"}·h"),
        (
            "curl·-d·{\"a\": [1, {\"Pwd\": \"x,y z\"}], \"b\":\"c\"}",
            "curl·-d·{\"a\": [1, {\"Pwd\": \"***\"}], \"b\":\"c\"}",
        ),
        ("curl·-d·{\"a\\\"b\":1,\"pin_token\": 1234}", "curl·-d·{\"a\\\"b\":1,\"pin_token\": ***}"),
        ("curl·--json·{\"apiKey\":\"secretpw\"}", "curl·--json·{\"apiKey\":\"***\"}"),
        ("curl·--json={\"apiKey\": \"secretpw\"}", "curl·--json={\"apiKey\": \"***\"}"),
        (
            "curl·-d{\n  \"a\": true,\n  \"token\": \"secretpw\"\n}",
            "curl·-d{\n  \"a\": true,\n  \"token\": \"***\"\n}",
        ),
        ("ansible·-e·{'ansible_password': 'secretpw'}", "ansible·-e·{'ansible_password': '***'}"),
        ("ansible·-e·{ansible_password: secretpw, a: b}", "ansible·-e·{ansible_password: ***, a: b}"),
        ("x·[{\"token\":\"a\"},{\"token\":\"b\"}]", "x·[{\"token\":\"***\"},{\"token\":\"***\"}]"),
        ("bash·-c·curl -d '{\"password\": \"secret,pw\"}' h", "bash·-c·curl -d '{\"password\": \"***\"}' h"),
        (
            "bash·-c·curl -d \"{\\\"password\\\": \\\"secretpw\\\"}\" h",
            "bash·-c·curl -d \"{\\\"password\\\": \\\"***\\\"}\" h",
        ),
        (
            "bash·-c·git -c 'http.extraHeader=X-Api-Key: secretpw' push",
            "bash·-c·git -c 'http.extraHeader=X-Api-Key: ***' push",
        ),
        ("bash·-c·((; curl -d '{\"token\":\"secretpw\"}'", "bash·-c·((; curl -d '{\"token\":\"***\"}'"),
        (
            "x·{\"max_tokens\":5,\"auth\":true,\"user\":\"a\"}",
            "x·{\"max_tokens\":5,\"auth\":true,\"user\":\"a\"}",
        ),
        // What may be a script for whoever reads it.
        ("sh·-c·A={\"auth\": \"evil\"", "sh·-c·A={\"auth\": \"evil\""),
        ("sh·-c·{ env -u auth: evil it; }", "sh·-c·{ env -u auth: evil it; }"),
        ("sh·-c·{ \"env\" \"-u\" \"auth\": \"evil\"; }", "sh·-c·{ \"env\" \"-u\" \"auth\": \"evil\"; }"),
        ("sh·-c·{\"a\": 1\nenv -u auth: evil it", "sh·-c·{\"a\": 1\nenv -u auth: evil it"),
        ("sh·-c·sh -c 'A={\"auth\": \"evil\"'", "sh·-c·sh -c 'A={\"auth\": \"evil\"'"),
        ("gh·alias·set·auth·evil", "gh·alias·set·auth·evil"),
        ("sh·-c·A_header=auth: evil it", "sh·-c·A_header=auth: evil it"),
        ("sh·-c·env A=\"auth\": \"evil\"", "sh·-c·env A=\"auth\": \"evil\""),
        ("sh·-c·env {A=1\"b,\"auth\":\"x,evil,it}", "sh·-c·env {A=1\"b,\"auth\":\"***,evil,it}"),
        ("sh·-c·{\"auth\":\n\"evil\"; }", "sh·-c·{\"auth\":\n\"evil\"; }"),
        ("sh·-c·{\"auth\":\"$(evil)\"}", "sh·-c·{\"auth\":\"$(evil)\"}"),
    ] {
        let words: Vec<String> = line.split('·').map(str::to_owned).collect();
        assert_eq!(masked(&words).join("·"), expected);
    }
}

#[test]
fn what_programs_take_for_a_secret_is_masked_in_words_and_in_scripts() {
    for (line, expected) in [
        ("curl --pass secretpw --cert c", "curl --pass *** --cert c"),
        ("curl -E c.pem:secretpw -sx me:secretpw@host:80 h", "curl -E c.pem:*** -sx me:***@host:80 h"),
        ("curl --proxy http://me:secretpw@host:80 h", "curl --proxy http://me:***@host:80 h"),
        ("curl --proxy http://host:80 h", "curl --proxy http://host:80 h"),
        ("npm config set //r/:_authToken secretpw", "npm config set //r/:_authToken ***"),
        ("aws configure set aws_secret_access_key secretpw", "aws configure set aws_secret_access_key ***"),
        ("git config alias.auth evil", "git config alias.auth evil"),
        ("poetry config http-basic.x me secretpw", "poetry config http-basic.x me ***"),
        ("htpasswd -b f u secretpw", "htpasswd -b f u ***"),
        ("htpasswd -nbB u secretpw", "htpasswd -nbB u ***"),
        ("htpasswd -c f u", "htpasswd -c f u"),
        ("mosquitto_pub -h h -P secretpw -t t", "mosquitto_pub -h h -P *** -t t"),
        ("zip -rPsecretpw x y", "zip -rP*** x y"),
        ("zip -rP secretpw x y", "zip -rP *** x y"),
        ("zip -r xP y", "zip -r xP y"),
        ("az login -u me -p secretpw", "az login -u me -p ***"),
        ("openssl dgst -hmac secretpw f", "openssl dgst -hmac *** f"),
        ("openssl mac -macopt hexkey:secretpw f", "openssl mac -macopt hexkey:*** f"),
        ("ldapsearch -xw secretpw -b dc=x", "ldapsearch -xw *** -b dc=x"),
        ("keytool -list -storepass secretpw", "keytool -list -storepass ***"),
        ("rabbitmqctl add_user me secretpw", "rabbitmqctl add_user me ***"),
        ("mysqladmin -u root password secretpw", "mysqladmin -u root password ***"),
        (
            "kubectl create secret generic n --from-literal=k=secretpw",
            "kubectl create secret generic n --from-literal=k=***",
        ),
        ("wp config create --dbpass=secretpw --bypass=x", "wp config create --dbpass=*** --bypass=x"),
    ] {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        assert_eq!(masked(&words).join(" "), expected);
        let script = format!("true && {line}; ls");
        let shown = masked(&["sh".into(), "-c".into(), script]);
        assert_eq!(shown[2], format!("true && {expected}; ls"));
    }
}

#[test]
fn what_follows_an_everyday_construct_is_masked() {
    for begin in [
        "x=1; (( x++ ));",
        "for ((i=0; i<3; i++)); do true; done;",
        "if (( x > (2 + ${#y}) )); then",
        "f() { true; };",
        "function f { echo \"$1\"; };",
        "alias ll='ls -l';",
        "a=(); b=(x 'y z');",
        "echo $((1<<2));",
        "echo $((1 + $((2*3)) + $x)) $(($x + 1)) \"$(( (1+2) * 3 ))\";",
        "x=$((ls; true) | wc -l);",
        "echo ${x:-\"a\"} ${y%\\}*} ${z:-'}'} \"${x:-a b}\" ${x:-$(id -u \"a\")};",
        "echo $'a\\n' \"it's $'\" $'\\\\';",
        "echo `basename \"$x\" '.c'`;",
        "cat <<'END-1.x'\ndon't\nEND-1.x\n",
        "cat <<\\E\ndon't\nE\n",
        "case $x in a|b) true;; *) echo \"no\";; esac;",
        "[[ $x =~ ^(a|b)$ && ! -e f ]] || exit;",
        "set -euo pipefail; trap 'rm -f x' EXIT;",
        "while read -r line; do echo \"$line\"; done < <(ls);",
    ] {
        let script = format!("{begin} mysql -uroot -phunter2 db");
        let expected = format!("{begin} mysql -uroot -p*** db");
        assert_eq!(masked(&["bash".into(), "-c".into(), script])[2], expected);
    }
    // In what is run within, too; and of what cannot be told, what looks like a secret.
    for (script, expected) in [
        ("deploy() { mysql -phunter2; }; deploy x", "deploy() { mysql -p***; }; deploy x"),
        ("x=`mysql -phunter2 -e q`; ls", "x=`mysql -p*** -e q`; ls"),
        (
            "echo \"${x:-\"a\"}\"; mysql -p6f1ed002ab5595859014ebf0951522d9",
            "echo \"${x:-\"a\"}\"; mysql -p***",
        ),
    ] {
        assert_eq!(masked(&["bash".into(), "-c".into(), script.into()])[2], expected);
    }
}

#[test]
fn what_a_script_runs_is_no_option_of_another_command() {
    for script in [
        "mysql() { \"${1#-p}\"; }; mysql -pevil",
        "mysql ( ) { :; } ; mysql -pevil",
        "alias mysql='exec'; mysql -pevil",
        "set -- mysql -pevil; ${2#-p}",
        "x $'a\\' mysql -p'; evil it'",
        "echo 'mysql -p'; evil it",
        "echo mysql \\\n; sh -pevil x",
        ": mysql\nsh -pevil x",
        ": mysql # \nsh -pevil x",
        "curl -u a:$(evil it) h",
        "mysql -p`evil it`",
        "mysql -p;evil it",
        "mysql -p <(evil it)",
        "cat <<E\n'\nE\nevil mysql '-p'",
        "echo \"${x:-\"}\" mysql -p\"; evil it\"",
        "echo $((1<<2)) mysql\nevil -p",
        "run() { \"${@#-p}\"; }; run mysql -pevil",
        "function run { \"${@#-p}\"; }; run mysql -pevil",
        "run() { \"${@#-p}\"; }; bash -c 'run mysql -pevil'",
        "run() { \"${@#-p}\"; }; x=`run mysql -pevil`",
        "a() { :; } ; b () ( \"${@#-p}\" ); a; b mysql -pevil",
        "alias q=\"echo '\"; q mysql -p'; evil it",
        "alias run='exec '; run mysql -pevil",
        "alias fn=function\nfn run { \"${@#-p}\"; }\nrun mysql -pevil",
        "a/run() { \"${@#-p}\"; }; a/run mysql -pevil",
        "cat <<\"E F\"\n'\nE\nmysql -p'\nE F\nevil it",
        "alias q='echo #'; q mysql \\\n-p; evil it",
        "x $'a\\\\\\' mysql -p'; evil it'",
        "((x<<2)) mysql -p\nevil it\n2))\n",
        "echo $((a) ; mysql -p ; evil it)",
        "x=mysql; echo $(($x -pevil) )",
        "echo `x ' mysql -p`; evil it'",
        "echo \"${x#'\"'} mysql -p\"; evil it'",
        "${ x; } mysql -p; evil it",
    ] {
        assert!(masked(&["sh".into(), "-c".into(), script.into()]).concat().contains("evil"), "{script}");
    }
}

#[test]
fn hostile_scripts_are_read_in_little_time() {
    let begun = std::time::Instant::now();
    for part in [
        "$(",
        "\"$(",
        "'",
        "\"",
        "`a",
        "<<E\n",
        "mysql -p ",
        "${",
        "a;",
        "( ",
        "sh -c \"",
        "\\\"",
        "$((",
        "curl -H a: ",
        "mysql ",
        "((",
        "$((1)",
        "${x:-",
        "f() {",
        "f(){ a b; };",
        "$'",
        "`",
        "echo \"${x:-\"a\"}\";",
        "alias a=b;",
        "{\"a\":",
        "[{\"token\":\"a\"},",
        "x=header=",
    ] {
        let script = part.repeat((64 << 10) / part.len());
        assert!(!masked(&["sh".into(), "-c".into(), script]).is_empty());
    }
    // As many words with secrets as a command can have.
    let words: Vec<String> =
        ["curl"].into_iter().chain(["-u", "a:b"].repeat(100_000)).map(str::to_owned).collect();
    assert!(masked(&words).iter().all(|word| word != "a:b"));
    // As many variables as letters, and as many names of secrets; commands without an end.
    for part in ["a$", "token=b ", "token=$", ": token=b a$ ", "-p x ", "{token=b,", "Cookie: a=b; "] {
        let _ = masked(&["sh".to_owned(), "-c".to_owned(), part.repeat(200_000 / part.len())]);
        println!("{part}: {:?}", begun.elapsed());
    }
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
}

#[test]
fn a_command_of_many_words_is_read_in_time_that_grows_with_it() {
    let begun = std::time::Instant::now();
    for word in ["a ", "b ", "c ", "d "] {
        let script = word.repeat((60 << 10) / word.len());
        assert!(!masked(&["/usr/bin/true".into(), script]).is_empty());
    }
    assert!(begun.elapsed().as_secs() < 8, "{:?}", begun.elapsed());
}

#[test]
fn a_program_is_one_where_it_is_called_and_what_it_does_where_that_stands() {
    for line in [
        "env -C htpasswd bash -b evil.sh",
        "xargs -a useradd -p evil",
        "ssh vault login evil",
        "env -C mongo bash -p evil",
        "time -o mongo -p evil",
        "cargo test -p login smoke",
        "cargo run --bin login serve",
        "npm run config auth dev",
        "npm -w config run auth dev",
        "docker run -p 80:80 login",
        "docker compose -p mysql up exec mysql -pevil",
        "docker compose --nobody-knows mysql exec mysql -pevil",
        "docker mysql compose exec mysql -pevil",
        "docker compose run --entrypoint mysql sh -pevil",
        "flock mysql -c bash -pevil",
        "poetry run http-basic.x evil",
        "bash x mysql -pevil",
        "nobody-knows mysql -pevil",
        "timeout --nobody-knows mysql 5 sh -pevil",
        "sudo -u mysql bash -pevil",
        "bash -u a:evil curl",
    ] {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        assert_eq!(masked(&words).join(" "), line);
        let script = format!("true && {line}; ls");
        assert_eq!(masked(&["sh".into(), "-c".into(), script.clone()])[2], script);
    }
    for line in [
        "env -i -- A=b mysql -pSECRET",
        "env -uX -C d A=b mysql -pSECRET",
        "timeout -k 2 --signal=KILL 3s nice -n 5 nohup mysql -pSECRET",
        "sudo -nu root stdbuf -oL mysql -pSECRET",
        "xargs -0 -n 1 redis-cli -a SECRET",
        "sshpass -p SECRET ssh -p 22 h mysql -pSECRET",
        "ssh -i k u@h -p 22 mysql -pSECRET -e q",
        "docker exec -it db mysql -pSECRET",
        "docker --context c exec -u root -e A=b db mysql -pSECRET",
        "docker compose exec -T db mysql -pSECRET",
        "docker --context c compose -f f.yml -p n run --rm -e A=b db mysql -pSECRET",
        "docker compose run --entrypoint sh --service-ports -q --cap-add X --pull=always db mysql -pSECRET",
        "docker compose --compatibility --progress plain exec db mysql -pSECRET",
        "docker-compose --profile x -H x --tls --log-level INFO exec db mysql -pSECRET",
        "docker -D -H x -l debug compose exec db mysql -pSECRET",
        "docker run --entrypoint sh --mount m --read-only db mysql -pSECRET",
        "flock -w 5 l mysql -pSECRET",
        "flock l timeout 5 mysql -pSECRET",
        "env SSHPASS=SECRET sshpass -e ssh h",
        "kubectl -n x exec -it pod -c db -- mysql -pSECRET",
        "cargo +nightly -q login SECRET",
        "vault login -method=token SECRET",
        "npm --prefix d config set //r/:_authToken SECRET",
        "python3 -m pip config set global.token SECRET",
        "git -C d --no-pager config x.token SECRET",
        "helm registry login -u me -p SECRET r",
        "rabbitmqctl -n node change_password me SECRET",
        "kubectl -n x create secret generic n --from-literal=k=SECRET",
        "gh secret set N -b SECRET",
    ] {
        let words: Vec<String> = line.split(' ').map(|word| word.replace("SECRET", "secretpw")).collect();
        let expected = line.replace("SECRET", "***");
        assert_eq!(masked(&words).join(" "), expected);
        for begin in ["true &&", "A=b", "if x; then", "while ! ", "f() {", "exec"] {
            let script = format!("{begin} {}; ls", words.join(" "));
            let shown = masked(&["sh".into(), "-c".into(), script]);
            assert_eq!(shown[2], format!("{begin} {expected}; ls"));
        }
    }
}

#[test]
fn no_value_of_a_document_is_masked_that_somebody_may_run() {
    for line in [
        "bash·-c·PATH=.; {token:evil,-rf}",
        "bash·-c·PATH=.; {\"token\":\"evil\",\"-rf\":\"x\"}",
        "bash·-c·{\"token\":\"evil\",-rf}",
        "bash·-x·-c·--·{'token':'evil',-rf}",
        "python3·-c·{'token':os.system('rm -rf x')}",
        "python3·-c·[{'token':exec}['token']('x')]",
        "python3·-c·[{'token': exec}['token']('x')]",
        "python3·-W·ignore·-c·{'token':'evil'}",
        "python3·-c{'token':'evil'}",
        "nobody-knows·{'token':os.system('rm -rf x')}",
        "nobody-knows·[{'token': exec}['token']('x')]",
        "nobody-knows·{'token': 'x'.evil(it)}",
        "nobody-knows·{token:1234,-rf}",
        "nobody-knows·bash·-c·{'token':'evil',-rf}",
        "ssh·h·{\"token\":\"evil\",-rf}",
        "bash·-c·true && eval '{token:evil,-rf}'",
        "ssh·h·[{'token': exec}['token']('x')]",
        "nobody-knows·-e·{ansible_password: evil}",
        "bash·-c·true && python3 -c \"{'token':'evil'}\"; ls",
    ] {
        let words: Vec<String> = line.split('·').map(str::to_owned).collect();
        assert_eq!(masked(&words).join("·"), line);
    }
    for (line, expected) in [
        ("curl·-d·{'token': 6f1ed002ab5595859014ebf0951522d9}", "curl·-d·{'token': ***}"),
        ("python3·-c·{'token':'6f1ed002ab5595859014ebf0951522d9'}", "python3·-c·{'token':'***'}"),
        ("python3·x.py·-d·{'token':'secretpw', 'a': b}", "python3·x.py·-d·{'token':'***', 'a': b}"),
        ("sudo·curl·--json={\"token\":\"secretpw\"}·h", "sudo·curl·--json={\"token\":\"***\"}·h"),
        ("env·A=b·curl·-d{'token':'secretpw'}·h", "env·A=b·curl·-d{'token':'***'}·h"),
        (
            "sudo·ansible-playbook·x·-e·{a_password: pw, a: b}",
            "sudo·ansible-playbook·x·-e·{a_password: ***, a: b}",
        ),
        ("bash·-c·curl -d {\"token\":\"secretpw\"} h", "bash·-c·curl -d {\"token\":\"***\"} h"),
    ] {
        let words: Vec<String> = line.split('·').map(str::to_owned).collect();
        assert_eq!(masked(&words).join("·"), expected);
    }
}
